//! What happens inside machines (what a command says, where a connection goes), on its way to the store.
//!
//! Whoever is at work inside one never waits for the disk: it leaves a note here, and what has gathered is written in one
//! transaction. What does not fit any more is thrown away and counted: a command that says too much must not be slowed
//! down by it, nor fill the memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::app::App;
use crate::clock::Timestamp;
use crate::http::ApiError;
use crate::store::outbox::{Class, Event, PASSING, PASSING_IN_ALL};
use crate::store::{StoreError, Tx};

/// How many notes may wait.
const MAX_NOTES: usize = 8192;
/// How many bytes of them.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How many are written in one transaction.
const BATCH: usize = 512;
/// After the first note, so that a burst is one transaction.
const GATHER: Duration = Duration::from_millis(5);
/// After how many new events of a resource its cap is held to again.
const CAP_EVERY: u32 = 256;

/// Something that happened in a sandbox.
#[derive(Debug)]
pub struct Happened {
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    pub workspace: Uuid,
    /// The sandbox.
    pub sandbox: Uuid,
    /// `sandbox.exec.stdout` and the like.
    pub kind: &'static str,
    /// How long it is kept.
    pub class: Class,
    /// When.
    pub at: Timestamp,
    /// What it says besides.
    pub data: Value,
    /// About how many bytes that is.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    notes: VecDeque<Happened>,
    bytes: usize,
    dropped: u64,
    /// New events of a resource since its cap was last held to.
    fresh: HashMap<(Uuid, Class), u32>,
}

/// The notes that wait.
#[derive(Debug, Default)]
pub struct Recorder {
    queue: Mutex<Queue>,
    wake: Notify,
    /// One batch at a time, or a later one could be written first.
    turn: tokio::sync::Mutex<()>,
}

impl Happened {
    fn size(&self) -> usize {
        self.bytes + 256
    }
}

impl Recorder {
    /// Leaves a note; `false` when there is no room for it.
    pub fn push(&self, note: Happened) -> bool {
        let bytes = note.size();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.notes.len() >= MAX_NOTES || queue.bytes + bytes > MAX_BYTES {
            queue.dropped += 1;
            return false;
        }
        queue.bytes += bytes;
        queue.notes.push_back(note);
        drop(queue);
        self.wake.notify_one();
        true
    }

    fn take(&self) -> (Vec<Happened>, u64) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let many = queue.notes.len().min(BATCH);
        let notes: Vec<Happened> = queue.notes.drain(..many).collect();
        let bytes: usize = notes.iter().map(Happened::size).sum();
        queue.bytes = queue.bytes.saturating_sub(bytes);
        (notes, std::mem::take(&mut queue.dropped))
    }

    /// The resources whose cap is due, now that these notes are written.
    fn due(&self, written: &[Happened]) -> Vec<(Uuid, Uuid, Class)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for Happened { org, sandbox, class, .. } in written {
            let fresh = queue.fresh.entry((*sandbox, *class)).or_default();
            *fresh += 1;
            if *fresh >= CAP_EVERY {
                queue.fresh.remove(&(*sandbox, *class));
                due.push((*org, *sandbox, *class));
            }
        }
        // Sandboxes that are gone leave their counts behind; forgetting all of them only puts a cap off a little.
        if queue.fresh.len() > MAX_NOTES {
            queue.fresh.clear();
        }
        due
    }

    /// Writes everything that waits.
    pub async fn flush(&self, app: &App) {
        loop {
            let _turn = self.turn.lock().await;
            let (notes, dropped) = self.take();
            if dropped > 0 {
                tracing::warn!("{dropped} events of commands and connections found no room");
            }
            if notes.is_empty() {
                return;
            }
            let due = self.due(&notes);
            let ids = app.clone();
            let written = app.store.write(move |tx| -> Result<(), StoreError> {
                for note in notes {
                    write(tx, &ids, note)?;
                }
                for (org, sandbox, class) in due {
                    tx.cap_events(org, Some(sandbox), class, PASSING)?;
                    tx.cap_events(org, None, class, PASSING_IN_ALL)?;
                }
                Ok(())
            });
            if let Err(error) = written.await.map_err(ApiError::from) {
                tracing::error!("events could not be written: {:?}", error.log);
            }
        }
    }
}

fn write(tx: &Tx<'_>, app: &App, happened: Happened) -> Result<(), StoreError> {
    let event = Event {
        seq: 0,
        id: app.ids.next(),
        org: happened.org,
        workspace: Some(happened.workspace),
        kind: happened.kind.to_owned(),
        subject_kind: "sandbox".to_owned(),
        subject_id: happened.sandbox,
        at: happened.at,
        data: happened.data,
    };
    tx.emit_as(&event, happened.class).map(drop)
}

/// Writes what gathers, until the emulator stops; [`Recorder::flush`] writes what comes after.
pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return app.recorder.flush(&app).await,
            () = app.recorder.wake.notified() => {}
        }
        tokio::time::sleep(GATHER).await;
        app.recorder.flush(&app).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn note(bytes: usize) -> Happened {
        Happened {
            org: Uuid::nil(),
            workspace: Uuid::nil(),
            sandbox: Uuid::nil(),
            kind: "sandbox.exec.stdout",
            class: Class::Output,
            at: Timestamp(0),
            data: json!({}),
            bytes,
        }
    }

    #[test]
    fn what_waits_is_bounded_by_count_and_by_bytes() {
        let recorder = Recorder::default();
        let many = (0..MAX_NOTES + 5).filter(|_| recorder.push(note(1))).count();
        assert_eq!(many, MAX_NOTES);
        let recorder = Recorder::default();
        let large = (0..100).filter(|_| recorder.push(note(MAX_BYTES / 10))).count();
        assert_eq!(large, 9);
        let (taken, dropped) = recorder.take();
        assert_eq!((taken.len(), dropped), (9, 91));
        assert!(recorder.push(note(MAX_BYTES / 10)));
    }
}
