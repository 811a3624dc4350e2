//! The task that keeps a terminal: reads its shell, remembers the end of what it showed, and shows it to whoever looks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use miosa_agent::protocol::TerminalSize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::registry::{Place, Terminal};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;
use crate::machines::agent::{Output, Running};

/// How long a terminal waits for somebody to come back, in seconds of policy time.
const KEPT: i64 = 600;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// As much of what was shown is remembered, in bytes.
pub(super) const SCROLLBACK: usize = 256 * 1024;
/// So many pieces wait for a viewer; then the shell waits.
pub(super) const AHEAD: usize = 4;

/// Keeps the terminal of a shell that runs.
pub(super) fn keep(
    app: &App,
    sandbox: &Sandbox,
    mut place: Place,
    running: Running,
    size: TerminalSize,
) -> Arc<Terminal> {
    let (viewers, coming) = mpsc::channel(AHEAD);
    let terminal = Arc::new(Terminal {
        id: app.ids.next(),
        pid: running.pid,
        sandbox: sandbox.id,
        seq: place.seq,
        input: running.input(),
        size: Mutex::new(size),
        seen: AtomicBool::new(false),
        viewers,
        ending: app.stopping.child_token(),
        ended: CancellationToken::new(),
    });
    place.fill(terminal.clone());
    let keeper = Keeper {
        app: app.clone(),
        org: sandbox.org,
        terminal: terminal.clone(),
        running,
        viewer: None,
        waiting: None,
        shown: VecDeque::new(),
        left: app.clock.now(sandbox.org),
        _place: place,
    };
    app.tasks.spawn(keeper.run(coming));
    terminal
}

struct Keeper {
    app: App,
    org: Uuid,
    terminal: Arc<Terminal>,
    running: Running,
    viewer: Option<mpsc::Sender<Bytes>>,
    /// What the viewer has not taken yet; nothing more is read meanwhile.
    waiting: Option<Bytes>,
    /// The end of what was shown.
    shown: VecDeque<u8>,
    /// When the last viewer left.
    left: Timestamp,
    _place: Place,
}

impl Keeper {
    async fn run(mut self, mut coming: mpsc::Receiver<mpsc::Sender<Bytes>>) {
        let ending = self.terminal.ending.clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (viewed, waits) = (self.viewer.is_some(), self.waiting.is_some());
            tokio::select! {
                () = ending.cancelled() => break,
                Some(viewer) = coming.recv() => self.show_to(viewer),
                output = self.running.next(), if !waits => match output {
                    Some(Ok(Output::Stdout(bytes) | Output::Stderr(bytes))) => self.take(bytes),
                    Some(Ok(Output::Exit(_)) | Err(_)) | None => break,
                },
                passed = pass(self.viewer.clone(), waits), if viewed => match passed {
                    Some(permit) => {
                        if let Some(bytes) = self.waiting.take() {
                            drop(permit.send(bytes));
                        }
                    }
                    None => self.leave(),
                },
                _ = looks.tick(), if !viewed => {
                    // Whoever was about to look may never have come.
                    self.terminal.seen.store(false, Ordering::Relaxed);
                    if self.app.clock.now(self.org).millis_since(self.left) >= KEPT * 1000 {
                        break;
                    }
                }
            }
        }
        let Self { terminal, running, _place: place, viewer, .. } = self;
        // Gone from the list before anyone hears of the end.
        drop((place, running));
        terminal.ended.cancel();
        drop(viewer);
    }

    /// Shows the terminal to somebody else; whoever looked before is sent away.
    fn show_to(&mut self, viewer: mpsc::Sender<Bytes>) {
        self.waiting = None;
        if !self.shown.is_empty() {
            let (older, newer) = self.shown.as_slices();
            let _ = viewer.try_send([older, newer].concat().into());
        }
        self.viewer = Some(viewer);
        self.terminal.seen.store(true, Ordering::Relaxed);
    }

    fn leave(&mut self) {
        self.viewer = None;
        self.waiting = None;
        self.left = self.app.clock.now(self.org);
        self.terminal.seen.store(false, Ordering::Relaxed);
    }

    fn take(&mut self, bytes: Bytes) {
        self.shown.extend(bytes.iter());
        let over = self.shown.len().saturating_sub(SCROLLBACK);
        self.shown.drain(..over);
        if self.viewer.is_some() {
            self.waiting = Some(bytes);
        }
    }
}

/// Room for one more piece, or `None` when the viewer has left. Without a piece that waits, only the second.
async fn pass(
    viewer: Option<mpsc::Sender<Bytes>>,
    waits: bool,
) -> Option<mpsc::OwnedPermit<Bytes>> {
    let viewer = viewer?;
    if waits {
        return viewer.reserve_owned().await.ok();
    }
    viewer.closed().await;
    None
}
