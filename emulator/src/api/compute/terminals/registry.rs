//! The terminals that are open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use miosa_agent::protocol::TerminalSize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::http::{ApiError, ApiResult, codes};
use crate::machines::agent::Input;

/// So many a sandbox has at most.
pub(super) const MOST: usize = 16;
/// How long the end of a terminal is waited for.
const END: Duration = Duration::from_secs(5);

/// A terminal, as its clients hold it. Its shell is held by the task that keeps it.
pub struct Terminal {
    pub(super) id: Uuid,
    pub(super) pid: i32,
    pub(super) sandbox: Uuid,
    /// Its place in the order in which they were opened.
    pub(super) seq: u64,
    pub(super) input: Input,
    pub(super) size: Mutex<TerminalSize>,
    /// Whether somebody looks.
    pub(super) seen: AtomicBool,
    /// The way to look: whoever sends last does.
    pub(super) viewers: mpsc::Sender<mpsc::Sender<Bytes>>,
    /// Cancelled to end it.
    pub(super) ending: CancellationToken,
    /// Cancelled when it has ended.
    pub(super) ended: CancellationToken,
}

impl Terminal {
    /// Its size.
    pub(super) fn size(&self) -> TerminalSize {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it another size. A shell that has just ended needs none.
    pub(super) async fn resize(&self, size: TerminalSize) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
        let _ = self.input.resize(size).await;
    }

    /// Ends it.
    pub(super) async fn end(&self) {
        self.ending.cancel();
        let _ = tokio::time::timeout(END, self.ended.cancelled()).await;
    }
}

#[derive(Default)]
struct Open {
    terminals: HashMap<Uuid, Arc<Terminal>>,
    /// Places that are taken, by sandbox: also while a shell is being started.
    taken: HashMap<Uuid, usize>,
    opened: u64,
}

/// The terminals of all sandboxes.
#[derive(Clone, Default)]
pub struct Terminals(Arc<Mutex<Open>>);

impl Terminals {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in a sandbox; it is free again when the value is dropped.
    pub(super) fn reserve(&self, sandbox: Uuid) -> ApiResult<Place> {
        let mut open = self.open();
        open.opened += 1;
        let seq = open.opened;
        let taken = open.taken.entry(sandbox).or_default();
        if *taken >= MOST {
            return Err(ApiError::new(
                codes::RESOURCE_STATE,
                format!("This sandbox has {MOST} terminals, as many as it may. End one first."),
            ));
        }
        *taken += 1;
        Ok(Place { terminals: self.clone(), sandbox, seq, id: None })
    }

    /// The terminal of a sandbox.
    pub(super) fn find(&self, sandbox: Uuid, id: Uuid) -> ApiResult<Arc<Terminal>> {
        let found = self.open().terminals.get(&id).cloned();
        found
            .filter(|terminal| terminal.sandbox == sandbox)
            .ok_or_else(|| ApiError::not_found("terminal", id))
    }

    /// The newest that nobody looks at.
    pub(super) fn unseen(&self, sandbox: Uuid) -> Option<Arc<Terminal>> {
        let open = self.open();
        let unseen = open.terminals.values().filter(|terminal| {
            terminal.sandbox == sandbox && !terminal.seen.load(Ordering::Relaxed)
        });
        unseen.max_by_key(|terminal| terminal.seq).cloned()
    }
}

/// A place for a terminal.
pub(super) struct Place {
    terminals: Terminals,
    sandbox: Uuid,
    pub(super) seq: u64,
    id: Option<Uuid>,
}

impl Place {
    /// Puts the terminal there.
    pub(super) fn fill(&mut self, terminal: Arc<Terminal>) {
        self.id = Some(terminal.id);
        self.terminals.open().terminals.insert(terminal.id, terminal);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.terminals.open();
        if let Some(id) = self.id {
            open.terminals.remove(&id);
        }
        if let Some(taken) = open.taken.get_mut(&self.sandbox) {
            *taken -= 1;
            if *taken == 0 {
                open.taken.remove(&self.sandbox);
            }
        }
    }
}
