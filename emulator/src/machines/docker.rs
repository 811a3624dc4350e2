//! Docker containers as machines.
//!
//! Everything goes through the engine's API, nothing through local paths, so a remote engine (`DOCKER_HOST`) serves
//! as well. A machine is a container whose first process is the agent; its standard input and output are the stream.
//! No port is published, no volume mounted: what a machine writes is in its own layer, and a snapshot is a commit.

mod containers;
mod engine;
mod images;
mod labels;
mod network;
mod notes;
mod plan;
mod probe;
mod prune;
mod snapshots;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{InspectContainerOptions, StopContainerOptionsBuilder};
use bytes::Bytes;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::containers::{Container, Containers};
use self::engine::{ACT, ASK, bounded};
use self::images::Images;
pub use self::images::{OnProgress, Progress};
use self::network::Bridge;
use self::plan::{Limits, Plan};
use self::snapshots::Snapshots;
use super::templates::DEFAULT_TEMPLATE;
use super::{
    AgentStream, Base, Found, HostKind, MachineError, MachineHost, MachineSpec, Note, NoteLevel,
    Pruned, Sealed, Started, TemplateReadiness,
};

/// Between TERM and KILL when a machine is stopped: the agent gives its processes two seconds and then ends.
const STOP_SECONDS: i32 = 3;

/// How to use an engine.
pub struct DockerConfig {
    /// The id of the data directory: only its own things are ever seen or removed.
    pub owner: String,
    /// The engine, as `DOCKER_HOST` names it; `None` asks the environment, then the local socket.
    pub engine: Option<String>,
    /// Images by template id, instead of the built-in ones.
    pub image_overrides: BTreeMap<String, String>,
    /// Hears of images being built or pulled.
    pub progress: Option<OnProgress>,
    /// The agent's ELF.
    pub agent: Bytes,
}

/// Machines on a Docker engine.
pub struct DockerHost {
    docker: Docker,
    owner: String,
    limits: Limits,
    images: Images,
    containers: Arc<Containers>,
    snapshots: Snapshots,
    bridge: Bridge,
    /// Removals of what a dropped create has left; each has a bound.
    leftovers: TaskTracker,
}

impl DockerHost {
    /// Connects. The error says what is wrong and what can be done.
    pub async fn connect(config: DockerConfig) -> Result<Self, MachineError> {
        let docker = engine::connect(config.engine.as_deref()).await?;
        let info = bounded("asking the Docker engine about itself", ASK, docker.info())
            .await
            .map_err(|failed| MachineError::Unavailable(failed.to_string()))?;
        if info.os_type.as_deref().is_some_and(|os| os != "linux") {
            return Err(MachineError::Unavailable(
                "the Docker engine runs Windows containers; machines are Linux".to_owned(),
            ));
        }
        let owner = config.owner;
        Ok(Self {
            limits: Limits::of(&info),
            images: Images::new(
                docker.clone(),
                owner.clone(),
                config.image_overrides,
                config.agent,
                config.progress,
            ),
            containers: Arc::new(Containers::new(docker.clone(), owner.clone())),
            snapshots: Snapshots::new(docker.clone(), owner.clone()),
            bridge: Bridge::default(),
            leftovers: TaskTracker::new(),
            docker,
            owner,
        })
    }

    /// Makes a template's or a snapshot's image ready, as the first create would: builds or pulls what is missing.
    pub async fn prepare(&self, template: &str) -> Result<(), MachineError> {
        self.images.ready(template).await.map(drop)
    }

    async fn image(&self, base: &Base) -> Result<(String, Option<Bytes>), MachineError> {
        match base {
            Base::Template(template) => Ok((self.images.ready(template).await?, None)),
            // The machine may have changed the agent's file, or an older emulator put it there.
            Base::Snapshot(snapshot) => {
                Ok((self.snapshots.image(*snapshot).await?, Some(self.images.agent_tar()?)))
            }
        }
    }

    /// Makes and starts; once more if a network or an image was removed under our feet.
    async fn make(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        let secret = secret()?;
        let mut again = true;
        loop {
            let (image, agent) = self.image(&spec.base).await?;
            let plan = Plan::new(spec, image, secret.clone(), self.limits);
            let network = self.bridge.id(&self.docker).await;
            let made = async {
                let id = self.containers.make(&plan, &network, agent).await?;
                self.containers.start(&id).await
            };
            match made.await {
                Ok(stream) => return Ok(Started { stream, enforced: plan.enforced() }),
                Err(failed) if failed.is_missing() && again => {
                    again = false;
                    self.bridge.forget().await;
                    self.discard(spec.id).await?;
                }
                Err(failed) => return Err(failed.into()),
            }
        }
    }

    /// Removes every container of a machine.
    async fn discard(&self, machine: Uuid) -> Result<(), MachineError> {
        discard(&self.containers, machine).await
    }

    /// Brings a machine into a state in which it may be already.
    async fn bring(&self, id: Uuid, to: Aim) -> Result<(), MachineError> {
        let container = self.containers.find(id).await?;
        if to.reached(&container) {
            return Ok(());
        }
        let call = async {
            match to {
                Aim::Frozen => self.docker.pause_container(&container.id).await,
                Aim::Running => self.docker.unpause_container(&container.id).await,
                Aim::Stopped => {
                    let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS).build();
                    self.docker.stop_container(&container.id, Some(options)).await
                }
            }
        };
        match bounded("bringing a machine into another state", ACT, call).await {
            Ok(()) => Ok(()),
            Err(failed) if failed.is_missing() => Err(MachineError::NotFound(id)),
            // Somebody else was quicker.
            Err(failed) if failed.is_conflict() && to.reached(&self.containers.find(id).await?) => {
                Ok(())
            }
            Err(failed) => Err(failed.into()),
        }
    }
}

/// A state to bring a machine into.
#[derive(Clone, Copy)]
enum Aim {
    Frozen,
    Running,
    Stopped,
}

impl Aim {
    fn reached(self, container: &Container) -> bool {
        match self {
            Self::Frozen => container.frozen(),
            Self::Running => container.alive() && !container.frozen(),
            Self::Stopped => !container.alive(),
        }
    }
}

async fn discard(containers: &Containers, machine: Uuid) -> Result<(), MachineError> {
    for container in containers.list(Some(machine)).await? {
        containers.remove(&container.id).await?;
    }
    Ok(())
}

/// 32 random bytes in hex.
fn secret() -> Result<String, MachineError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| MachineError::Host(format!("no random bytes: {error}")))?;
    Ok(labels::hex(&bytes))
}

/// Removes what a create has made so far when the create is dropped midway.
struct Unfinished<'a> {
    host: &'a DockerHost,
    machine: Option<Uuid>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let (Some(machine), Ok(runtime)) = (self.machine, tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let containers = self.host.containers.clone();
        let removal = async move {
            // The engine may still be at it: what appears within the bound is removed too, the rest at start-up.
            if let Err(error) = discard(&containers, machine).await {
                tracing::warn!(%machine, %error, "a container is left of a create that was given up");
            }
        };
        self.host.leftovers.spawn_on(removal, &runtime);
    }
}

#[async_trait]
impl MachineHost for DockerHost {
    fn kind(&self) -> HostKind {
        HostKind::Docker
    }

    async fn notes(&self) -> Vec<Note> {
        match bounded("asking the Docker engine about itself", ASK, self.docker.info()).await {
            Ok(info) => {
                let default = self.images.readiness(DEFAULT_TEMPLATE).await;
                notes::of(&info, &default, self.bridge.why_not_ours().await)
            }
            Err(failed) => vec![Note {
                level: NoteLevel::Broken,
                topic: "engine",
                text: format!("the Docker engine does not answer: {failed}"),
            }],
        }
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        self.images.readiness(template).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        if !self.containers.list(Some(spec.id)).await?.is_empty() {
            return Err(MachineError::Host(format!("there is a machine {} already", spec.id)));
        }
        let mut unfinished = Unfinished { host: self, machine: Some(spec.id) };
        let made = self.make(spec).await;
        // Where the removal fails, it is tried once more in the background.
        if made.is_ok() || self.discard(spec.id).await.is_ok() {
            unfinished.machine = None;
        }
        made
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        let container = self.containers.find(id).await?;
        let inspected =
            self.docker.inspect_container(&container.id, None::<InspectContainerOptions>);
        let host = bounded("looking at a container", ASK, inspected)
            .await?
            .host_config
            .unwrap_or_default();
        let enforced = plan::enforced(host.nano_cpus, host.memory, host.pids_limit);
        let stream = if container.alive() {
            self.attach(id).await?
        } else {
            self.containers.put_agent(&container.id, self.images.agent_tar()?).await?;
            self.containers.start(&container.id).await?
        };
        Ok(Started { stream, enforced })
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        let container = self.containers.find(id).await?;
        if !container.alive() || container.frozen() {
            let state = if container.frozen() { "frozen" } else { "not running" };
            return Err(MachineError::AgentUnreachable(format!("the machine is {state}")));
        }
        self.containers.connect(&container).await
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        self.bring(id, Aim::Frozen).await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        self.bring(id, Aim::Running).await
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        self.bring(id, Aim::Stopped).await
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        self.discard(id).await?;
        // It may have been the last one on a snapshot that is removed already.
        self.snapshots.sweep().await.map(drop)
    }

    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        let container = self.containers.find(id).await?;
        self.snapshots.seal(&container, snapshot).await
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        let image = self.snapshots.image(snapshot).await?;
        let mut all = self.containers.list(Some(id)).await?.into_iter();
        let old = all.next().ok_or(MachineError::NotFound(id))?;
        for torn in all {
            self.containers.remove(&torn.id).await?;
        }
        let inspected = self.docker.inspect_container(&old.id, None::<InspectContainerOptions>);
        let inspected = bounded("looking at a container", ASK, inspected).await?;
        let plan = Plan::replacing(&inspected, image).ok_or_else(|| {
            MachineError::Host(format!("the container {} is not as we made it", old.id))
        })?;
        // The new one is whole before the old one goes: until then, a crash leaves the machine as it was.
        let network = self.bridge.id(&self.docker).await;
        let agent = self.images.agent_tar()?;
        let new = match self.containers.make(&plan, &network, Some(agent)).await {
            Ok(new) => new,
            Err(failed) => {
                let name = plan.name(&self.owner);
                self.containers.remove(&name).await?;
                return Err(failed.into());
            }
        };
        self.containers.remove(&old.id).await?;
        let stream = self.containers.start(&new).await?;
        Ok(Started { stream, enforced: plan.enforced() })
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        self.snapshots.remove(snapshot).await
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        let mut all = self.containers.list(None).await?;
        // Of two containers of one machine, the first is the machine.
        all.dedup_by_key(|container| container.machine);
        Ok(all
            .into_iter()
            .map(|container| Found {
                id: container.machine,
                operation: container.labels.get(labels::OPERATION).and_then(|id| id.parse().ok()),
                alive: container.alive(),
                frozen: container.frozen(),
            })
            .collect())
    }

    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        self.snapshots.list().await
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        prune::prune(&self.docker, &self.owner, &self.images, &self.containers, &self.snapshots)
            .await
    }
}
