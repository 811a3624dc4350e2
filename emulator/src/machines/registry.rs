//! The machines that run, and their agents.
//!
//! Two rules hold here for every host. What changes one machine happens one at a time. And a change that has
//! begun goes on to its end even when its caller goes away (a client that disconnects drops the handler's
//! future): it runs in a task of its own, under a bound.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use miosa_agent::protocol::{Entry, Environment};
use tokio::sync::{RwLock, broadcast};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{
    Agent, Base, Enforced, Found, MachineError, MachineHost, MachineSpec, Opened, Pruned, Sealed,
    Shape, Started,
};

/// A create may fetch or build an image first; a copy may be large.
const LONG: Duration = Duration::from_secs(600);

/// Starting and stopping processes, looking around.
const SHORT: Duration = Duration::from_secs(60);

/// How many losses or starts a slow listener may fall behind.
const LOSSES_AHEAD: usize = 1024;

/// Every machine of this emulator. Clones are the same.
#[derive(Clone)]
pub struct Machines(Arc<Inner>);

struct Inner {
    host: Result<Arc<dyn MachineHost>, String>,
    /// Of machines and snapshots, which never share an id.
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    /// Held for reading while something is made from images, for writing while unused ones are removed.
    images: Arc<RwLock<()>>,
    /// How the environment of a machine's commands differs from the one that it was made with.
    environments: Mutex<HashMap<Uuid, Environment>>,
    lost: broadcast::Sender<Uuid>,
    started: broadcast::Sender<Uuid>,
    changes: TaskTracker,
}

/// A machine's (or snapshot's) turn, and its agent while it runs.
#[derive(Default)]
struct Slot {
    turn: RwLock<()>,
    /// Held while the environment goes to the agent, so that the newest comes last.
    furnishing: tokio::sync::Mutex<()>,
    live: Mutex<Option<Live>>,
}

struct Live {
    agent: Arc<Agent>,
    generation: u64,
    watcher: AbortHandle,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Machines {
    /// The machines of a host.
    pub fn new(host: Arc<dyn MachineHost>) -> Self {
        Self::over(Ok(host))
    }

    /// No machines at all, and why: every call that needs one fails with [`MachineError::Unavailable`].
    pub fn none(reason: impl Into<String>) -> Self {
        Self::over(Err(reason.into()))
    }

    fn over(host: Result<Arc<dyn MachineHost>, String>) -> Self {
        Self(Arc::new(Inner {
            host,
            slots: Mutex::default(),
            images: Arc::default(),
            environments: Mutex::default(),
            lost: broadcast::channel(LOSSES_AHEAD).0,
            started: broadcast::channel(LOSSES_AHEAD).0,
            changes: TaskTracker::new(),
        }))
    }

    /// The host, where there is one.
    pub fn host(&self) -> Option<&Arc<dyn MachineHost>> {
        self.0.host.as_ref().ok()
    }

    /// Announces machines whose agent went away without our doing.
    pub fn lost(&self) -> broadcast::Receiver<Uuid> {
        self.0.lost.subscribe()
    }

    /// Announces machines whose agent is there: made, started, restored or adopted.
    pub fn started(&self) -> broadcast::Receiver<Uuid> {
        self.0.started.subscribe()
    }

    /// The agent of a machine that runs.
    pub fn agent(&self, id: Uuid) -> Result<Arc<Agent>, MachineError> {
        self.needed()?;
        let slot = lock(&self.0.slots).get(&id).cloned();
        let agent = slot.and_then(|slot| lock(&slot.live).as_ref().map(|live| live.agent.clone()));
        agent
            .filter(|agent| !agent.is_closed())
            .ok_or_else(|| MachineError::AgentUnreachable("the machine does not run".to_owned()))
    }

    /// Makes a machine and connects to its agent. On failure nothing is left.
    pub async fn create(&self, spec: &MachineSpec) -> Result<Enforced, MachineError> {
        let (spec, inner, host) = (spec.clone(), self.0.clone(), self.needed()?.clone());
        self.change(spec.id, move |slot| async move {
            let _images = inner.images.read().await;
            let base = match spec.base {
                Base::Snapshot(snapshot) => Some(inner.slot(snapshot)),
                Base::Template(_) | Base::Image(_) => None,
            };
            let _base = match &base {
                Some(base) => Some(base.turn.read().await),
                None => None,
            };
            let made = bounded("creating a machine", LONG, host.create(&spec)).await;
            // A host cleans up after its own failures; a create that was cut off in the middle it cannot.
            let cut_off = matches!(made, Err(MachineError::TimedOut { .. }));
            let connected = match made {
                Ok(started) => inner.connect(spec.id, &slot, started).await,
                Err(error) if cut_off => Err(error),
                Err(error) => return Err(error),
            };
            if connected.is_err()
                && let Err(error) = bounded("removing a machine", SHORT, host.remove(spec.id)).await
            {
                tracing::warn!(id = %spec.id, %error, "a machine that failed to start was left behind");
            }
            connected
        })
        .await
    }

    /// Connects to a machine that lived on while the emulator did not.
    pub async fn adopt(&self, id: Uuid) -> Result<(), MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |slot| async move {
            let stream = bounded("attaching to a machine", SHORT, host.attach(id)).await?;
            inner.furnish_and_enter(id, &slot, Agent::connect(stream).await?).await
        })
        .await
    }

    /// Starts a machine whose processes have ended, on its own files.
    pub async fn start(&self, id: Uuid) -> Result<Enforced, MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |slot| async move {
            let _images = inner.images.read().await;
            let started = bounded("starting a machine", SHORT, host.start(id)).await?;
            inner.connect_or_stop(id, &slot, started, host.as_ref()).await
        })
        .await
    }

    /// Stops every process where it stands.
    pub async fn freeze(&self, id: Uuid) -> Result<(), MachineError> {
        let host = self.needed()?.clone();
        self.change(id, move |_| async move {
            bounded("freezing a machine", SHORT, host.freeze(id)).await
        })
        .await
    }

    /// Lets them go on.
    pub async fn thaw(&self, id: Uuid) -> Result<(), MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |slot| async move {
            bounded("thawing a machine", SHORT, host.thaw(id)).await?;
            // What was changed while nobody could hear it.
            let _furnishing = slot.furnishing.lock().await;
            let agent = lock(&slot.live).as_ref().map(|live| live.agent.clone());
            match agent {
                Some(agent) => inner.furnish(id, &agent).await,
                None => Ok(()),
            }
        })
        .await
    }

    /// Changes the environment of a machine's commands, from now on and after each of its starts. `current` says to what,
    /// when it is this change's turn; a machine that stands still or does not run hears of it when it goes on.
    pub async fn furnish<E: From<MachineError>>(
        &self,
        id: Uuid,
        current: impl Future<Output = Result<(Environment, bool), E>>,
    ) -> Result<(), E> {
        let slot = self.0.slot(id);
        let _furnishing = slot.furnishing.lock().await;
        let (environment, runs) = current.await?;
        lock(&self.0.environments).insert(id, environment);
        let agent = lock(&slot.live).as_ref().map(|live| live.agent.clone());
        match agent.filter(|agent| runs && !agent.is_closed()) {
            Some(agent) => Ok(self.0.furnish(id, &agent).await?),
            None => Ok(()),
        }
    }

    /// Ends every process; the files stay.
    pub async fn stop(&self, id: Uuid) -> Result<(), MachineError> {
        let host = self.needed()?.clone();
        self.change(id, move |slot| async move {
            slot.parting(bounded("stopping a machine", SHORT, host.stop(id))).await
        })
        .await
    }

    /// Ends every process and removes the files.
    pub async fn remove(&self, id: Uuid) -> Result<(), MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |slot| async move {
            slot.parting(bounded("removing a machine", SHORT, host.remove(id))).await?;
            lock(&inner.environments).remove(&id);
            inner.forget(id);
            Ok(())
        })
        .await
    }

    /// Seals a copy of the machine's files as they are at one moment.
    pub async fn snapshot(&self, id: Uuid, snapshot: Uuid) -> Result<Sealed, MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |_| async move {
            let sealing = inner.slot(snapshot);
            let _sealing = sealing.turn.write().await;
            bounded("taking a snapshot", LONG, host.snapshot(id, snapshot)).await
        })
        .await
    }

    /// Puts the machine's files back to what the snapshot holds and starts it.
    pub async fn restore(&self, id: Uuid, snapshot: Uuid) -> Result<Enforced, MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(id, move |slot| async move {
            let _images = inner.images.read().await;
            let sealed = inner.slot(snapshot);
            let _sealed = sealed.turn.read().await;
            let restoring = bounded("restoring a machine", LONG, host.restore(id, snapshot));
            let started = slot.parting(restoring).await?;
            inner.connect_or_stop(id, &slot, started, host.as_ref()).await
        })
        .await
    }

    /// Lets the machine use this much from now on; what it is held to then, `None` while it has no processes.
    pub async fn resize(&self, id: Uuid, shape: Shape) -> Result<Option<Enforced>, MachineError> {
        let host = self.needed()?.clone();
        self.change(id, move |_| async move {
            bounded("resizing a machine", SHORT, host.resize(id, shape)).await
        })
        .await
    }

    /// The agents of all machines that run.
    pub fn agents(&self) -> Vec<(Uuid, Arc<Agent>)> {
        let slots = lock(&self.0.slots);
        let live = slots.iter().filter_map(|(id, slot)| {
            Some((*id, lock(&slot.live).as_ref().map(|live| live.agent.clone())?))
        });
        live.filter(|(_, agent)| !agent.is_closed()).collect()
    }

    /// Removes a snapshot.
    pub async fn remove_snapshot(&self, snapshot: Uuid) -> Result<(), MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.change(snapshot, move |_| async move {
            bounded("removing a snapshot", LONG, host.remove_snapshot(snapshot)).await?;
            inner.forget(snapshot);
            Ok(())
        })
        .await
    }

    /// What a folder of a snapshot holds.
    pub async fn list_sealed(
        &self,
        snapshot: Uuid,
        path: &str,
    ) -> Result<Vec<Entry>, MachineError> {
        let host = self.needed()?;
        let slot = self.0.slot(snapshot);
        let _stays = slot.turn.read().await;
        bounded("looking into a snapshot", LONG, host.list_sealed(snapshot, path)).await
    }

    /// A file or folder of a snapshot.
    pub async fn open_sealed(&self, snapshot: Uuid, path: &str) -> Result<Opened, MachineError> {
        let host = self.needed()?;
        let slot = self.0.slot(snapshot);
        let _stays = slot.turn.read().await;
        bounded("looking into a snapshot", LONG, host.open_sealed(snapshot, path)).await
    }

    /// Every machine of this data directory.
    pub async fn list(&self) -> Result<Vec<Found>, MachineError> {
        bounded("listing machines", SHORT, self.needed()?.list()).await
    }

    /// Every snapshot of this data directory.
    pub async fn list_snapshots(&self) -> Result<Vec<Uuid>, MachineError> {
        bounded("listing snapshots", SHORT, self.needed()?.list_snapshots()).await
    }

    /// Removes derived images and layers that nothing uses any more.
    pub async fn prune(&self) -> Result<Pruned, MachineError> {
        let (inner, host) = (self.0.clone(), self.needed()?.clone());
        self.carried_out(async move {
            let _images = inner.images.write().await;
            bounded("pruning", LONG, host.prune()).await
        })
        .await
    }

    /// Waits until every change that has begun is done; for a stop of the emulator.
    pub async fn settle(&self) {
        self.0.changes.close();
        self.0.changes.wait().await;
        self.0.changes.reopen();
    }

    fn needed(&self) -> Result<&Arc<dyn MachineHost>, MachineError> {
        self.0.host.as_ref().map_err(|reason| MachineError::Unavailable(reason.clone()))
    }

    /// Does `work` when it is this machine's turn, whether or not the caller stays.
    async fn change<T, F>(
        &self,
        id: Uuid,
        work: impl FnOnce(Arc<Slot>) -> F + Send + 'static,
    ) -> Result<T, MachineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, MachineError>> + Send,
    {
        let slot = self.0.slot(id);
        self.carried_out(async move {
            let _turn = slot.turn.write().await;
            work(slot.clone()).await
        })
        .await
    }

    async fn carried_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, MachineError>> + Send + 'static,
    ) -> Result<T, MachineError> {
        let change = self.0.changes.spawn(work);
        change.await.unwrap_or_else(|error| Err(MachineError::Host(error.to_string())))
    }
}

impl Inner {
    fn slot(&self, id: Uuid) -> Arc<Slot> {
        lock(&self.slots).entry(id).or_default().clone()
    }

    /// Forgets a slot that nobody waits for; the caller and the table hold the last two.
    fn forget(&self, id: Uuid) {
        let mut slots = lock(&self.slots);
        // The change that calls this holds it twice: for its turn, and for its work.
        if slots.get(&id).is_some_and(|slot| Arc::strong_count(slot) <= 3) {
            slots.remove(&id);
        }
    }

    /// Tells an agent what the environment of commands is, where it has changed.
    async fn furnish(&self, id: Uuid, agent: &Agent) -> Result<(), MachineError> {
        let changed = lock(&self.environments).get(&id).cloned();
        match changed {
            Some(environment) => agent.set_environment(&environment).await,
            None => Ok(()),
        }
    }

    async fn furnish_and_enter(
        &self,
        id: Uuid,
        slot: &Arc<Slot>,
        agent: Agent,
    ) -> Result<(), MachineError> {
        let _furnishing = slot.furnishing.lock().await;
        self.furnish(id, &agent).await?;
        self.enter(id, slot, agent);
        Ok(())
    }

    async fn connect(
        &self,
        id: Uuid,
        slot: &Arc<Slot>,
        Started { stream, enforced }: Started,
    ) -> Result<Enforced, MachineError> {
        self.furnish_and_enter(id, slot, Agent::connect(stream).await?).await?;
        Ok(enforced)
    }

    async fn connect_or_stop(
        &self,
        id: Uuid,
        slot: &Arc<Slot>,
        started: Started,
        host: &dyn MachineHost,
    ) -> Result<Enforced, MachineError> {
        let connected = self.connect(id, slot, started).await;
        if connected.is_err()
            && let Err(error) = bounded("stopping a machine", SHORT, host.stop(id)).await
        {
            tracing::warn!(%id, %error, "a machine without an agent could not be stopped");
        }
        connected
    }

    /// Makes `agent` the machine's, and watches over it.
    fn enter(&self, id: Uuid, slot: &Arc<Slot>, agent: Agent) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let generation = NEXT.fetch_add(1, Ordering::Relaxed);
        let (closing, lost, weak) = (agent.closing(), self.lost.clone(), Arc::downgrade(slot));
        // Held until the entry is there, so that an agent that ends at once finds it.
        let mut live = lock(&slot.live);
        let watching = tokio::spawn(async move {
            closing.cancelled().await;
            let Some(slot) = weak.upgrade() else { return };
            let ended = lock(&slot.live).take_if(|live| live.generation == generation);
            if ended.is_some() {
                // Nobody may listen.
                let _ = lost.send(id);
            }
        });
        *live = Some(Live { agent: Arc::new(agent), generation, watcher: watching.abort_handle() });
        drop(live);
        // Nobody may listen.
        let _ = self.started.send(id);
    }
}

impl Slot {
    /// Does what ends the machine's processes, so that the end of its agent is no loss. Should it fail with
    /// the agent still there, the agent stays.
    async fn parting<T>(
        &self,
        work: impl Future<Output = Result<T, MachineError>>,
    ) -> Result<T, MachineError> {
        let agent = lock(&self.live).take();
        let done = work.await;
        if let Some(agent) = agent {
            if done.is_err() && !agent.agent.is_closed() {
                *lock(&self.live) = Some(agent);
            } else {
                // Whoever still waits on it hears at once.
                agent.agent.close();
            }
        }
        done
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn bounded<T>(
    what: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, MachineError>>,
) -> Result<T, MachineError> {
    tokio::time::timeout(after, work).await.unwrap_or(Err(MachineError::TimedOut { what, after }))
}

#[cfg(test)]
mod tests;
