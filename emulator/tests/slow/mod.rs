//! Machines that are slow to come, or never do: as many creates as were let through go on, the others wait.
#![allow(dead_code, clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use miosa_agent::protocol::Entry;
use miosa_emulator::machines::host::HostMachines;
use miosa_emulator::machines::{
    AgentStream, Found, HostKind, MachineError, MachineHost, MachineSpec, Note, Opened, Pruned,
    Sealed, Started, TemplateReadiness,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// What a test holds in its hand.
#[derive(Clone)]
pub struct Gate {
    open: Arc<Semaphore>,
    broken: Arc<AtomicBool>,
}

impl Gate {
    pub fn shut() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), broken: Arc::default() }
    }

    /// Lets this many creates through.
    pub fn let_through(&self, creates: usize) {
        self.open.add_permits(creates);
    }

    /// Whoever comes through fails from now on.
    pub fn break_machines(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

/// Plain processes behind a gate.
pub struct SlowHost {
    pub gate: Gate,
    pub inner: HostMachines,
}

#[async_trait]
impl MachineHost for SlowHost {
    fn kind(&self) -> HostKind {
        self.inner.kind()
    }

    async fn notes(&self) -> Vec<Note> {
        self.inner.notes().await
    }

    async fn template(&self, template: &str) -> TemplateReadiness {
        self.inner.template(template).await
    }

    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        self.gate.open.acquire().await.unwrap().forget();
        if self.gate.broken.load(Ordering::Acquire) {
            return Err(MachineError::Host("the host has no more machines".to_owned()));
        }
        self.inner.create(spec).await
    }

    async fn start(&self, id: Uuid) -> Result<Started, MachineError> {
        self.inner.start(id).await
    }

    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        self.inner.attach(id).await
    }

    async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        self.inner.freeze(id).await
    }

    async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        self.inner.thaw(id).await
    }

    async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        self.inner.stop(id).await
    }

    async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        self.inner.remove(id).await
    }

    async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        self.inner.snapshot(id, snapshot).await
    }

    async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Started, MachineError> {
        self.inner.restore(id, snapshot).await
    }

    async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        self.inner.remove_snapshot(snapshot).await
    }

    async fn list_sealed(&self, snapshot: Uuid, path: &str) -> Result<Vec<Entry>, MachineError> {
        self.inner.list_sealed(snapshot, path).await
    }

    async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError> {
        self.inner.open_sealed(snapshot, path).await
    }

    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        self.inner.list().await
    }

    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        self.inner.list_snapshots().await
    }

    async fn prune(&self) -> Result<Pruned, MachineError> {
        self.inner.prune().await
    }
}
