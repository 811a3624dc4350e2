//! What is done with one machine on an engine: its container is made, started, replaced, removed.

use bollard::Docker;
use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{InspectContainerOptions, StopContainerOptionsBuilder};
use bytes::Bytes;
use uuid::Uuid;

use super::containers::{Container, Containers};
use super::engine::{ACT, ASK, bounded, connect};
use super::images::Images;
use super::network::Bridge;
use super::plan::{Limits, Plan};
use super::snapshots::Snapshots;
use super::{DockerConfig, labels, plan};
use crate::machines::agent::ELF;
use crate::machines::{
    AgentStream, Base, Enforced, Found, MachineError, MachineSpec, Shape, Started,
};

/// Between TERM and KILL when a machine is stopped: the agent gives its processes two seconds and then ends.
const STOP_SECONDS: i32 = 3;

/// An engine, and what one data directory has on it.
pub struct Engine {
    /// The connection.
    pub docker: Docker,
    /// The data directory's id.
    pub owner: String,
    /// What containers can be held to.
    pub limits: Limits,
    /// What machines start from.
    pub images: Images,
    /// The machines.
    pub containers: Containers,
    /// Their sealed copies.
    pub snapshots: Snapshots,
    /// Their network.
    pub bridge: Bridge,
}

impl Engine {
    /// Connects; see [`super::DockerHost::connect`].
    pub async fn connect(config: DockerConfig) -> Result<Self, MachineError> {
        let docker = connect(config.engine.as_deref()).await?;
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
                Bytes::from_static(ELF),
                config.progress,
            ),
            containers: Containers::new(docker.clone(), owner.clone()),
            snapshots: Snapshots::new(docker.clone(), owner.clone(), config.deepest),
            bridge: Bridge::default(),
            docker,
            owner,
        })
    }

    /// See [`MachineHost::create`](crate::machines::MachineHost::create).
    pub async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        if !self.containers.list(Some(spec.id)).await?.is_empty() {
            return Err(MachineError::Host(format!("there is a machine {} already", spec.id)));
        }
        let made = self.make(spec).await;
        if made.is_err()
            && let Err(error) = self.discard(spec.id).await
        {
            tracing::warn!(machine = %spec.id, %error, "a container is left of a create that failed");
        }
        made
    }

    async fn image(&self, base: &Base) -> Result<(String, Option<Bytes>), MachineError> {
        match base {
            Base::Template(template) => Ok((self.images.ready(template).await?, None)),
            Base::Image(image) => Ok((self.images.ready_image(image).await?, None)),
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
        for container in self.containers.list(Some(machine)).await? {
            self.containers.remove(&container.id).await?;
        }
        Ok(())
    }

    /// See [`MachineHost::remove`](crate::machines::MachineHost::remove).
    pub async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        self.discard(id).await?;
        // It may have been the last one on a snapshot that is removed already.
        self.snapshots.sweep().await.map(drop)
    }

    /// See [`MachineHost::start`](crate::machines::MachineHost::start).
    pub async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
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
            match self.containers.start(&container.id).await {
                Err(failed) if failed.is_missing() => {
                    self.bridge.rejoin(&self.docker, &container.id).await?;
                    self.containers.start(&container.id).await?
                }
                started => started?,
            }
        };
        Ok(Started { stream, enforced })
    }

    /// See [`MachineHost::resize`](crate::machines::MachineHost::resize). The engine keeps what it is told for the next
    /// start.
    pub async fn resize(&self, id: Uuid, shape: Shape) -> Result<Option<Enforced>, MachineError> {
        let container = self.containers.find(id).await?;
        let inspected =
            self.docker.inspect_container(&container.id, None::<InspectContainerOptions>);
        let pids = bounded("looking at a container", ASK, inspected)
            .await?
            .host_config
            .and_then(|host| host.pids_limit);
        let (nano_cpus, memory) = self.limits.of_shape(shape);
        let update = ContainerUpdateBody {
            nano_cpus,
            memory,
            memory_swap: memory,
            ..ContainerUpdateBody::default()
        };
        let updated = self.docker.update_container(&container.id, update);
        match bounded("changing a container's limits", ACT, updated).await {
            Ok(()) => {}
            Err(failed) if failed.is_missing() => return Err(MachineError::NotFound(id)),
            Err(failed) => return Err(failed.into()),
        }
        Ok(container.alive().then(|| plan::enforced(nano_cpus, memory, pids)))
    }

    /// See [`MachineHost::attach`](crate::machines::MachineHost::attach).
    pub async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        let container = self.containers.find(id).await?;
        if !container.alive() || container.frozen() {
            let state = if container.frozen() { "frozen" } else { "not running" };
            return Err(MachineError::AgentUnreachable(format!("the machine is {state}")));
        }
        self.containers.connect(&container).await
    }

    /// See [`MachineHost::restore`](crate::machines::MachineHost::restore).
    pub async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
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

    /// See [`MachineHost::list`](crate::machines::MachineHost::list).
    pub async fn list(&self) -> Result<Vec<Found>, MachineError> {
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

    /// Brings a machine into a state in which it may be already.
    pub async fn bring(&self, id: Uuid, to: Aim) -> Result<(), MachineError> {
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
pub enum Aim {
    /// Processes stand where they are.
    Frozen,
    /// They run.
    Running,
    /// There are none.
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

/// 32 random bytes in hex.
fn secret() -> Result<String, MachineError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| MachineError::Host(format!("no random bytes: {error}")))?;
    Ok(labels::hex(&bytes))
}
