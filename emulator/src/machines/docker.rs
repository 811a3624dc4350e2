//! Docker containers as machines.
//!
//! Everything goes through the engine's API, nothing through local paths, so a remote engine (`DOCKER_HOST`) serves
//! as well. A machine is a container whose first process is the agent; its standard input and output are the stream.
//! No port is published, no volume mounted: what a machine writes is in its own layer, and a snapshot is a commit.

mod containers;
mod engine;
mod images;
mod labels;
mod look;
mod machine;
mod network;
mod notes;
mod plan;
mod probe;
mod prune;
mod snapshots;
mod squash;
mod stream;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use miosa_agent::protocol::Entry;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::engine::{ASK, bounded};
pub use self::images::{OnProgress, Progress};
use self::machine::{Aim, Engine};
use super::templates::DEFAULT_TEMPLATE;
use super::{
    AgentStream, Enforced, Found, HostKind, MachineError, MachineHost, MachineSpec, Note,
    NoteLevel, Opened, Pruned, Sealed, Shape, Started, TemplateReadiness,
};

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
    /// Most layers of a snapshot's image: with more it is made flat.
    pub deepest: usize,
}

impl DockerConfig {
    /// The engine of the environment and the built-in images.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            engine: None,
            image_overrides: BTreeMap::new(),
            progress: None,
            deepest: snapshots::DEEPEST,
        }
    }
}

/// Machines on a Docker engine.
pub struct DockerHost {
    engine: Arc<Engine>,
    /// What goes on when its caller has gone; every step of it has a bound.
    tasks: TaskTracker,
}

impl DockerHost {
    /// Connects. The error says what is wrong and what can be done.
    pub async fn connect(config: DockerConfig) -> Result<Self, MachineError> {
        Ok(Self { engine: Arc::new(Engine::connect(config).await?), tasks: TaskTracker::new() })
    }

    /// Removes what an emulator that died has left beside its machines. Call it before anything else, holding the
    /// data directory.
    pub async fn sweep(&self) -> Result<(), MachineError> {
        prune::torn_looks(&self.engine).await.map(drop)
    }

    /// Makes a template's image ready, as the first create would: builds or pulls what is missing.
    pub async fn prepare(&self, template: &str) -> Result<(), MachineError> {
        self.engine.images.ready(template).await.map(drop)
    }

    /// Waits for creates and restores whose callers have gone.
    pub async fn settled(&self, within: Duration) -> Result<(), MachineError> {
        self.tasks.close();
        let settled = tokio::time::timeout(within, self.tasks.wait()).await;
        self.tasks.reopen();
        settled.map_err(|_| MachineError::TimedOut { what: "machines being made", after: within })
    }

    /// Runs `work` to its end even if the caller goes away: the engine would not stop halfway either.
    /// `unclaimed` is what is done with a machine that nobody waits for any more.
    async fn to_its_end<W, U>(&self, work: W, unclaimed: U) -> Result<Started, MachineError>
    where
        W: Future<Output = Result<Started, MachineError>> + Send + 'static,
        U: Future<Output = ()> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.tasks.spawn(async move {
            if let Err(Ok(_started)) = answer.send(work.await) {
                unclaimed.await;
            }
        });
        answered
            .await
            .unwrap_or_else(|_| Err(MachineError::Host("the work on it broke off".to_owned())))
    }
}

#[async_trait]
impl MachineHost for DockerHost {
    fn kind(&self) -> HostKind {
        HostKind::Docker
    }

    async fn notes(&self) -> Vec<Note> {
        let docker = &self.engine.docker;
        match bounded("asking the Docker engine about itself", ASK, docker.info()).await {
            Ok(info) => {
                let default = self.engine.images.readiness(DEFAULT_TEMPLATE).await;
                notes::of(&info, &default, self.engine.bridge.why_not_ours().await)
            }
            Err(failed) => vec![Note {
                level: NoteLevel::Broken,
                topic: "engine",
                text: format!("the Docker engine does not answer: {failed}"),
            }],
        }
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        self.engine.images.readiness(template).await
    }

    async fn image(&self, image: &str) -> TemplateReadiness {
        self.engine.images.image_readiness(image).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        let (engine, spec) = (self.engine.clone(), spec.clone());
        let (later, machine) = (engine.clone(), spec.id);
        let unclaimed = async move {
            if let Err(error) = later.remove(machine).await {
                tracing::warn!(%machine, %error, "a container is left of a create that was given up");
            }
        };
        let work = Box::pin(async move { engine.create(&spec).await });
        self.to_its_end(work, unclaimed).await
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        self.engine.start(id).await
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        self.engine.attach(id).await
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        self.engine.bring(id, Aim::Frozen).await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        self.engine.bring(id, Aim::Running).await
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        self.engine.bring(id, Aim::Stopped).await
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        self.engine.remove(id).await
    }

    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        let container = self.engine.containers.find(id).await?;
        self.engine.snapshots.seal(&container, snapshot).await
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        let engine = self.engine.clone();
        let work = Box::pin(async move { engine.restore(id, snapshot).await });
        // It runs, as it did before; who comes back attaches to it.
        self.to_its_end(work, async {}).await
    }

    async fn resize(&self, id: Uuid, shape: Shape) -> Result<Option<Enforced>, MachineError> {
        self.engine.resize(id, shape).await
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        self.engine.snapshots.remove(snapshot).await
    }

    async fn list_sealed(&self, snapshot: Uuid, path: &str) -> Result<Vec<Entry>, MachineError> {
        look::list(&self.engine, &self.tasks, snapshot, path).await
    }

    async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError> {
        look::open(&self.engine, &self.tasks, snapshot, path).await
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        self.engine.list().await
    }

    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        self.engine.snapshots.list().await
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        prune::prune(&self.engine).await
    }
}
