//! What registered machines promise to whoever uses them.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;

use super::*;
use crate::machines::{AgentStream, HostKind, Note, TemplateReadiness};

/// A host whose machines do nothing, slowly.
#[derive(Default)]
struct Slow {
    inside: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
    fails: AtomicBool,
}

impl Slow {
    async fn work(&self) -> Result<(), MachineError> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        self.done.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(MachineError::Host("asked to fail".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl MachineHost for Slow {
    fn kind(&self) -> HostKind {
        HostKind::Host
    }
    async fn notes(&self) -> Vec<Note> {
        Vec::new()
    }
    async fn template(&self, _: &str) -> TemplateReadiness {
        TemplateReadiness::FastReady
    }
    async fn create(&self, spec: &MachineSpec) -> Result<Started, MachineError> {
        self.start(spec.id).await
    }
    async fn start(&self, _: Uuid) -> Result<Started, MachineError> {
        self.work().await?;
        // Nobody speaks at the other end.
        let (stream, _) = tokio::io::duplex(64);
        Ok(Started { stream: Box::new(stream), enforced: Enforced::default() })
    }
    async fn attach(&self, id: Uuid) -> Result<AgentStream, MachineError> {
        Err(MachineError::NotFound(id))
    }
    async fn freeze(&self, _: Uuid) -> Result<(), MachineError> {
        self.work().await
    }
    async fn thaw(&self, _: Uuid) -> Result<(), MachineError> {
        self.work().await
    }
    async fn stop(&self, _: Uuid) -> Result<(), MachineError> {
        self.work().await
    }
    async fn remove(&self, _: Uuid) -> Result<(), MachineError> {
        self.work().await
    }
    async fn snapshot(&self, _: Uuid, _: Uuid) -> Result<Sealed, MachineError> {
        self.work().await?;
        Ok(Sealed { size_bytes: 0 })
    }
    async fn restore(&self, id: Uuid, _: Uuid) -> Result<Started, MachineError> {
        self.start(id).await
    }
    async fn remove_snapshot(&self, _: Uuid) -> Result<(), MachineError> {
        self.work().await
    }
    async fn list_sealed(&self, snapshot: Uuid, _: &str) -> Result<Vec<Entry>, MachineError> {
        Err(MachineError::NotFound(snapshot))
    }
    async fn open_sealed(&self, snapshot: Uuid, _: &str) -> Result<Opened, MachineError> {
        Err(MachineError::NotFound(snapshot))
    }
    async fn list(&self) -> Result<Vec<Found>, MachineError> {
        Ok(Vec::new())
    }
    async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        Ok(Vec::new())
    }
    async fn prune(&self) -> Result<Pruned, MachineError> {
        Ok(Pruned::default())
    }
}

#[tokio::test]
async fn changes_of_one_machine_never_overlap_and_those_of_two_may() {
    let host = Arc::new(Slow::default());
    let machines = Machines::new(host.clone());
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let (a, b, c) = tokio::join!(
        machines.freeze(one),
        machines.thaw(one),
        machines.snapshot(one, Uuid::new_v4())
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(host.most.load(Ordering::SeqCst), 1);
    let (a, b) = tokio::join!(machines.freeze(one), machines.freeze(other));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(host.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_goes_away_and_settling_waits_for_it() {
    let host = Arc::new(Slow::default());
    let machines = Machines::new(host.clone());
    let mut freezing = Box::pin(machines.freeze(Uuid::new_v4()));
    assert!(futures_util::poll!(&mut freezing).is_pending());
    drop(freezing);
    machines.settle().await;
    assert_eq!(host.done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_machine_whose_agent_is_silent_is_taken_down_again() {
    let host = Arc::new(Slow::default());
    let machines = Machines::new(host.clone());
    let id = Uuid::new_v4();
    let started = machines.start(id).await;
    assert!(matches!(started, Err(MachineError::AgentUnreachable(_))), "{started:?}");
    assert_eq!(host.done.load(Ordering::SeqCst), 2, "a start, and a stop");
    assert!(machines.agent(id).is_err());
}

#[tokio::test]
async fn a_removed_machine_leaves_no_slot_and_a_failure_is_told() {
    let host = Arc::new(Slow::default());
    let machines = Machines::new(host.clone());
    let id = Uuid::new_v4();
    machines.freeze(id).await.unwrap();
    machines.remove(id).await.unwrap();
    assert!(lock(&machines.0.slots).is_empty());
    host.fails.store(true, Ordering::SeqCst);
    assert!(matches!(machines.remove(id).await, Err(MachineError::Host(_))));
}
