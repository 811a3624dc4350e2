//! One place waits for every child. As the first process the agent inherits orphans, so it must take whatever
//! ended; a second waiter for its own children would race with that.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::raw;

/// The commands that run, and who waits for each.
#[derive(Default)]
pub struct Reaper {
    waiting: Mutex<HashMap<i32, oneshot::Sender<ExitStatus>>>,
}

impl Reaper {
    /// Starts a command; the receiver hears how it ended.
    pub fn spawn(
        &self,
        command: &mut Command,
    ) -> io::Result<(Child, oneshot::Receiver<ExitStatus>)> {
        // Held over the start, so that the end of a quick command finds its entry.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let (tell, told) = oneshot::channel();
        waiting.insert(child.id() as i32, tell);
        Ok((child, told))
    }

    /// Runs `act` if the command has not been reaped yet: until then nobody else can have its number.
    pub fn while_running<T>(&self, pid: i32, act: impl FnOnce() -> T) -> Option<T> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.contains_key(&pid).then(act)
    }

    /// Reaps for ever.
    pub async fn run(&self) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        loop {
            while self.reap_one() {}
            ended.recv().await;
        }
    }

    fn reap_one(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((pid, status)) = raw::reap() else { return false };
        if let Some(tell) = waiting.remove(&pid) {
            let _ = tell.send(status);
        }
        true
    }
}
