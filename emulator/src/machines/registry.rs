//! The machines that run, and their agents.

use std::sync::Arc;

use tokio::sync::broadcast;
use uuid::Uuid;

use super::{Agent, Enforced, Found, MachineError, MachineHost, MachineSpec, Pruned, Sealed};

/// Every machine of this emulator.
#[derive(Clone, Default)]
pub struct Machines;
fn todo<T>() -> Result<T, MachineError> {
    Err(MachineError::Unavailable("stub".into()))
}
#[allow(missing_docs, unused_variables, clippy::unused_async)]
impl Machines {
    pub fn new(host: Arc<dyn MachineHost>) -> Self {
        Self
    }
    pub fn none(reason: String) -> Self {
        Self
    }
    pub fn host(&self) -> Option<&Arc<dyn MachineHost>> {
        None
    }
    pub async fn create(&self, spec: &MachineSpec) -> Result<Enforced, MachineError> {
        todo()
    }
    pub async fn agent(&self, id: Uuid) -> Result<Arc<Agent>, MachineError> {
        todo()
    }
    pub async fn adopt(&self, id: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn start(&self, id: Uuid) -> Result<Enforced, MachineError> {
        todo()
    }
    pub async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        todo()
    }
    pub async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Enforced, MachineError> {
        todo()
    }
    pub async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        todo()
    }
    pub async fn list(&self) -> Result<Vec<Found>, MachineError> {
        todo()
    }
    pub async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        todo()
    }
    pub async fn prune(&self) -> Result<Pruned, MachineError> {
        todo()
    }
    pub fn lost(&self) -> broadcast::Receiver<Uuid> {
        broadcast::channel(1).1
    }
}
