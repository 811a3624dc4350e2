//! A machine's processes as the host keeps track of them: there or not, frozen or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{Enforced, MachineError, Shape};
use super::launch::Running;
use super::{blocking, freeze, host};

/// One machine: `gate` lets one operation at a time change it, `running` can be looked at any time.
#[derive(Default)]
pub struct Slot {
    /// Held by the operation that changes the machine.
    pub gate: tokio::sync::Mutex<()>,
    running: Mutex<Option<Arc<Live>>>,
}

/// A machine's processes and whether they stand still.
pub struct Live {
    running: Running,
    frozen: AtomicBool,
}

impl Slot {
    /// The machine's processes, if there are any.
    pub fn live(&self) -> Option<Arc<Live>> {
        let live = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        live.filter(|live| live.running.is_alive())
    }

    /// Remembers fresh processes.
    pub fn put(&self, running: Running) {
        self.replace(Some(Live { running, frozen: false.into() }));
    }

    /// Ends every process. What is left of a machine that ended by itself, its control groups, goes too.
    pub async fn end(&self) -> Result<(), MachineError> {
        match self.replace(None) {
            Some(live) => blocking(move || live.running.end().map_err(host)).await,
            None => Ok(()),
        }
    }

    fn replace(&self, live: Option<Live>) -> Option<Arc<Live>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *running, live.map(Arc::new))
    }
}

impl Live {
    /// Whether they stand still.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Stops them. Blocks.
    pub fn freeze(&self) -> Result<(), MachineError> {
        let outcome = if self.running.group.can_freeze() {
            self.running.group.freeze()
        } else {
            freeze::stop(self.running.pid)
        };
        outcome.map_err(|e| host(format!("freezing: {e}")))?;
        self.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets them use this much from now on. Blocks.
    pub fn resize(&self, shape: Shape) -> Result<Enforced, MachineError> {
        let enforced = self.running.group.resize(shape);
        enforced.map_err(|e| host(format!("changing limits: {e}")))
    }

    /// Lets them go on. Blocks.
    pub fn thaw(&self) -> Result<(), MachineError> {
        let outcome = if self.running.group.can_freeze() {
            self.running.group.thaw()
        } else {
            freeze::resume(self.running.pid)
        };
        outcome.map_err(|e| host(format!("thawing: {e}")))?;
        self.frozen.store(false, Ordering::Release);
        Ok(())
    }
}

/// A machine that stands still for a moment. It goes on whatever happens, also when the caller goes away while
/// it is being frozen.
pub struct Frozen(Arc<Guard>);

struct Guard(Arc<Live>);

impl Frozen {
    /// Stops the machine.
    pub async fn new(live: Arc<Live>) -> Result<Self, MachineError> {
        let guard = Arc::new(Guard(live.clone()));
        let caller = Arc::downgrade(&guard);
        blocking(move || {
            live.freeze()?;
            // A guard that is gone has thawed too early.
            if caller.upgrade().is_none() { live.thaw() } else { Ok(()) }
        })
        .await?;
        Ok(Self(guard))
    }

    /// Lets it go on.
    pub async fn thaw(self) -> Result<(), MachineError> {
        let live = self.0.0.clone();
        blocking(move || live.thaw()).await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.is_frozen()
            && let Err(error) = self.0.thaw()
        {
            tracing::error!(%error, "a machine stays frozen");
        }
    }
}
