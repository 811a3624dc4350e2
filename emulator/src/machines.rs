//! Where sandboxes live.
//!
//! A machine is a Linux environment with its own files, processes and network, and an agent as its first
//! process. A [`MachineHost`] makes, freezes, copies and removes machines; everything that happens *inside*
//! one (commands, files, ports) goes through its [`Agent`], the same for every host. [`Machines`] pairs
//! the two: it knows the running agents and is what the rest of the program calls.
//!
//! Nothing here knows of organizations, states or the API: a machine is a directory or a container with an id.

pub mod agent;
pub mod docker;
pub mod host;
pub mod namespace;
pub mod registry;
pub mod sealed;
pub mod templates;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use miosa_agent::protocol::Entry;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use uuid::Uuid;

pub use agent::Agent;
pub use registry::Machines;
pub use sealed::Opened;

/// Both directions of the stream to an agent.
pub trait AgentIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AgentIo for T {}

/// A stream to a machine's agent, not yet spoken on.
pub type AgentStream = Box<dyn AgentIo>;

/// Which kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// Containers of a Docker engine.
    Docker,
    /// Linux namespaces, no daemon.
    Namespace,
    /// Plain processes of this computer, unconfined: only when asked for by name.
    Host,
}

/// What a machine may use. Nominal: what the API promises; see [`Enforced`] for what the host holds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mb: u32,
    /// Disk in MiB.
    pub disk_mb: u32,
}

/// What the host really enforces of a [`Shape`]; `None` where it cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// CPUs, clamped to the host's.
    pub vcpus: Option<u32>,
    /// Memory in MiB.
    pub memory_mb: Option<u32>,
    /// Disk in MiB.
    pub disk_mb: Option<u32>,
    /// Processes.
    pub processes: Option<u32>,
}

/// What a machine's files start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// A template of the catalogue, by its canonical id (`miosa-sandbox`).
    Template(String),
    /// A snapshot that this host has sealed.
    Snapshot(Uuid),
    /// An image of the host's engine, by the name that the engine knows or can pull (`node:22-bookworm`).
    Image(String),
}

/// A machine to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The machine's id: that of the sandbox.
    pub id: Uuid,
    /// The operation that makes it, so that start-up can tell a finished one from a torn one.
    pub operation: Uuid,
    /// What its files start from.
    pub base: Base,
    /// What it may use.
    pub shape: Shape,
    /// Environment of every command in it.
    pub env: BTreeMap<String, String>,
    /// Its host name: letters, digits and dashes.
    pub hostname: String,
}

/// A machine that runs, with the stream to its agent.
pub struct Started {
    /// The stream.
    pub stream: AgentStream,
    /// What the host enforces.
    pub enforced: Enforced,
}

/// A machine that the host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: Uuid,
    /// The operation that made it.
    pub operation: Option<Uuid>,
    /// Whether its processes are there (running or frozen).
    pub alive: bool,
    /// Whether they are frozen.
    pub frozen: bool,
}

/// A sealed copy of a machine's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Bytes that this copy adds to what it is based on.
    pub size_bytes: u64,
}

/// What [`MachineHost::prune`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Each thing, in words.
    pub removed: Vec<String>,
    /// Bytes given back, where the host can tell.
    pub bytes: Option<u64>,
}

/// Something a person should know about this host (`doctor` prints them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// `ok`, `limited` (works, with a limit that is named) or `broken`.
    pub level: NoteLevel,
    /// What it is about: `cpu`, `memory`, `disk`, `network`, `images`, …
    pub topic: &'static str,
    /// A sentence, with what to do where something can be done.
    pub text: String,
}

/// How bad a [`Note`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteLevel {
    /// Works.
    Ok,
    /// Works with a limit.
    Limited,
    /// Does not work.
    Broken,
}

/// Whether a template can be started here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "readiness", content = "reason")]
pub enum TemplateReadiness {
    /// Its image and tools are there.
    FastReady,
    /// The first create builds or fetches something.
    ColdBootOnly,
    /// It cannot be started, and why (tools that it promises are absent, no image).
    Missing(String),
}

/// The refusal of a host that has no images.
fn no_image(readiness: TemplateReadiness, image: &str) -> MachineError {
    let TemplateReadiness::Missing(reason) = readiness else {
        return MachineError::Host(format!("{image} should not be there"));
    };
    MachineError::TemplateMissing { template: image.to_owned(), reason }
}

/// Why a host or an agent could not do it.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// No such machine or snapshot on this host.
    #[error("no such machine or snapshot: {0}")]
    NotFound(Uuid),
    /// The template cannot be started here.
    #[error("template {template} is not available: {reason}")]
    TemplateMissing {
        /// The template.
        template: String,
        /// Why, and what to do.
        reason: String,
    },
    /// There is no host that could make machines, and why.
    #[error("no machines: {0}")]
    Unavailable(String),
    /// The agent does not answer, or its stream is closed.
    #[error("the machine's agent does not answer: {0}")]
    AgentUnreachable(String),
    /// The agent answered that it could not.
    #[error("{}", .0.message)]
    Agent(miosa_agent::protocol::Failure),
    /// It took longer than its bound.
    #[error("{what} took longer than {after:?}")]
    TimedOut {
        /// What.
        what: &'static str,
        /// The bound.
        after: Duration,
    },
    /// The host failed; the text is for the log.
    #[error("{0}")]
    Host(String),
}

/// Where machines are made. Every call is idempotent as far as its words allow: removing what is gone is `Ok`.
#[async_trait]
pub trait MachineHost: Send + Sync {
    /// Which kind.
    fn kind(&self) -> HostKind;

    /// What a person should know: limits that cannot be enforced, tools that lack, what to do.
    async fn notes(&self) -> Vec<Note>;

    /// Whether `template` can be started, without starting it.
    async fn template(&self, template: &str) -> TemplateReadiness;

    /// Whether a machine can start from an image of this name, without starting it. Only an engine has images.
    async fn image(&self, image: &str) -> TemplateReadiness {
        TemplateReadiness::Missing(format!(
            "{image} is no template, and images need Docker: this host has none"
        ))
    }

    /// Makes the machine, starts it and its agent. On failure nothing is left.
    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError>;

    /// Starts a machine whose processes have ended, on its own files.
    async fn start(&self, id: Uuid) -> Result<Started, MachineError>;

    /// A fresh stream to the agent of a machine that lives on after a restart of the emulator.
    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError>;

    /// Stops every process where it stands; memory stays.
    async fn freeze(&self, id: Uuid) -> Result<(), MachineError>;

    /// Lets them go on.
    async fn thaw(&self, id: Uuid) -> Result<(), MachineError>;

    /// Ends every process; the files stay.
    async fn stop(&self, id: Uuid) -> Result<(), MachineError>;

    /// Ends every process and removes the files. What others are based on stays until they are gone.
    async fn remove(&self, id: Uuid) -> Result<(), MachineError>;

    /// Seals a copy of the machine's files as they are at one moment: freezes, copies, thaws (if it was not frozen).
    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError>;

    /// Puts the machine's files back to what the snapshot holds and starts it: processes end, later changes are gone.
    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError>;

    /// Lets the machine use this much from now on, on the processes that run; what it is held to then, `None` when it has
    /// no processes and the next start brings it. Asked only of a machine that is held to something.
    async fn resize(&self, id: Uuid, shape: Shape) -> Result<Option<Enforced>, MachineError> {
        let _ = (id, shape);
        Err(MachineError::Host("this host holds no machine to anything".to_owned()))
    }

    /// Removes a snapshot. Machines made from it keep working.
    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError>;

    /// What a folder of a snapshot holds, by name, without what lies deeper. What is wrong with the path is
    /// [`MachineError::Agent`], as in a machine.
    async fn list_sealed(&self, snapshot: Uuid, path: &str) -> Result<Vec<Entry>, MachineError>;

    /// A file of a snapshot, or a folder with everything below it as a tar archive; links are followed within the
    /// snapshot.
    async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError>;

    /// Every machine of this data directory (never a neighbour's).
    async fn list(&self) -> Result<Vec<Found>, MachineError>;

    /// Every snapshot of this data directory.
    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError>;

    /// Removes derived images and layers that nothing uses any more.
    async fn prune(&self) -> Result<Pruned, MachineError>;
}
