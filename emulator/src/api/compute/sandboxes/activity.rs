//! Who is at work in which sandbox, kept in memory: the gate between work and transitions.
//!
//! Work passes the gate of its sandbox without touching the store. A transition away from `running` shuts it first, so
//! that an idle pause can never fall upon a sandbox that somebody has just entered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use super::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;

#[derive(Debug, Clone, Copy)]
struct Slot {
    last: Timestamp,
    holds: u32,
    shut: bool,
}

impl Slot {
    fn new(now: Timestamp) -> Self {
        Self { last: now, holds: 0, shut: false }
    }
}

/// The gates of all sandboxes, and the bell that rings whenever one has changed its state.
#[derive(Debug, Default)]
pub struct Activity {
    slots: Mutex<HashMap<Uuid, Slot>>,
    changed: Notify,
}

impl Activity {
    fn slots(&self) -> MutexGuard<'_, HashMap<Uuid, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts as activity; `false` when a transition has shut the gate.
    pub fn enter(&self, id: Uuid, now: Timestamp) -> bool {
        let mut slots = self.slots();
        let slot = slots.entry(id).or_insert_with(|| Slot::new(now));
        slot.last = slot.last.max(now);
        !slot.shut
    }

    /// When somebody was last there, since this emulator started: now, while it is held.
    pub fn last(&self, id: Uuid, now: Timestamp) -> Option<Timestamp> {
        self.slots().get(&id).map(|slot| if slot.holds > 0 { now } else { slot.last })
    }

    /// Shuts the gate, whoever is inside.
    pub fn shut(&self, id: Uuid, now: Timestamp) {
        self.slots().entry(id).or_insert_with(|| Slot::new(now)).shut = true;
    }

    /// Shuts the gate if nobody is inside and nobody came after `since`; else answers when somebody last did.
    pub fn shut_if_idle(
        &self,
        id: Uuid,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let mut slots = self.slots();
        let slot = slots.entry(id).or_insert_with(|| Slot::new(since));
        if slot.holds > 0 {
            return Err(now);
        }
        if slot.last > since {
            return Err(slot.last);
        }
        slot.shut = true;
        Ok(())
    }

    /// Whether a transition has shut the gate.
    pub fn is_shut(&self, id: Uuid) -> bool {
        self.slots().get(&id).is_some_and(|slot| slot.shut)
    }

    /// Opens the gate.
    pub fn open(&self, id: Uuid) {
        if let Some(slot) = self.slots().get_mut(&id) {
            slot.shut = false;
        }
    }

    /// Forgets a sandbox that is gone.
    pub fn forget(&self, id: Uuid) {
        self.slots().remove(&id);
    }

    /// Rings the bell.
    pub fn ring(&self) {
        self.changed.notify_waiters();
    }

    /// Waits for the bell; rings from now on count, polled or not.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

/// While it lives, its sandbox counts as active.
pub struct ActivityGuard {
    app: App,
    org: Uuid,
    id: Uuid,
}

/// Holds the sandbox active: for a command, a stream or a preview's connection that lasts.
pub fn hold(app: &App, sandbox: &Sandbox) -> ActivityGuard {
    let now = app.clock.now(sandbox.org);
    let mut slots = app.activity.slots();
    let slot = slots.entry(sandbox.id).or_insert_with(|| Slot::new(now));
    slot.holds += 1;
    slot.last = slot.last.max(now);
    drop(slots);
    ActivityGuard { app: app.clone(), org: sandbox.org, id: sandbox.id }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        let now = self.app.clock.now(self.org);
        if let Some(slot) = self.app.activity.slots().get_mut(&self.id) {
            slot.holds = slot.holds.saturating_sub(1);
            slot.last = slot.last.max(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_pause_never_falls_upon_who_just_entered() {
        let (gates, id) = (Activity::default(), Uuid::new_v4());
        assert!(gates.enter(id, Timestamp(50)));
        assert_eq!(gates.shut_if_idle(id, Timestamp(40), Timestamp(60)), Err(Timestamp(50)));
        assert_eq!(gates.shut_if_idle(id, Timestamp(50), Timestamp(60)), Ok(()));
        assert!(!gates.enter(id, Timestamp(61)));
        gates.open(id);
        assert!(gates.enter(id, Timestamp(62)));
    }

    #[test]
    fn who_holds_is_active_now() {
        let (gates, id) = (Activity::default(), Uuid::new_v4());
        gates.slots().insert(id, Slot { last: Timestamp(0), holds: 1, shut: false });
        assert_eq!(gates.shut_if_idle(id, Timestamp(10), Timestamp(99)), Err(Timestamp(99)));
    }
}
