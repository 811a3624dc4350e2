//! The machine's processes: who they are, and how they stop, go on and end.
//!
//! In a machine of its own the agent may speak to all at once (`kill(-1)`). With `--group-only` it shares the
//! computer, so it walks down from itself; as their subreaper it stays the ancestor of everything it started.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use miosa_agent::processes::{Process, below, in_sight};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::Machine;

fn own_pid() -> i32 {
    std::process::id() as i32
}

impl Machine {
    /// The machine's processes, the agent excluded.
    pub fn processes(&self) -> Vec<Process> {
        let (own, bridge) = (own_pid(), self.bridge.load(Ordering::Relaxed));
        let mut all = if self.group_only { below(own) } else { in_sight() };
        all.retain(|process| process.pid != own && process.pid != bridge);
        all
    }

    fn signal_all(&self, signal: Signal) {
        if self.group_only {
            for process in self.processes() {
                let _ = kill(Pid::from_raw(process.pid), signal);
            }
        } else {
            let _ = kill(Pid::from_raw(-1), signal);
        }
    }

    /// Stops every process where it stands. A second call changes nothing.
    pub async fn freeze(&self) {
        let before = self.processes();
        self.stopped_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| before.iter().filter(|p| p.stopped()).map(|p| p.pid).collect());
        // A process may fork between the look and the signal: until a look finds none that runs.
        for _ in 0..100 {
            self.signal_all(Signal::SIGSTOP);
            let bridge = self.bridge.load(Ordering::Relaxed);
            if bridge > 0 {
                let _ = kill(Pid::from_raw(bridge), Signal::SIGCONT);
            }
            if self.processes().iter().all(Process::stopped) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whether a freeze holds: nothing may start.
    pub fn frozen(&self) -> bool {
        self.stopped_before.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Lets go on what a freeze stopped.
    pub fn thaw(&self) {
        let before = self.stopped_before.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(before) = before else { return };
        for process in self.processes() {
            if !before.contains(&process.pid) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGCONT);
            }
        }
    }

    /// Ends every process: asks, waits for `grace` at most, kills.
    pub async fn end_processes(&self, grace: Duration) {
        let all_dead = || self.processes().iter().all(Process::dead);
        self.signal_all(Signal::SIGTERM);
        // A stopped process cannot follow the request.
        self.signal_all(Signal::SIGCONT);
        let gone = async {
            while !all_dead() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(grace, gone).await.is_ok() {
            return;
        }
        for _ in 0..100 {
            self.signal_all(Signal::SIGKILL);
            if all_dead() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Kills the session that `leader` leads: its group, and jobs that a shell gave groups of their own.
pub fn kill_session(leader: i32) {
    let _ = kill(Pid::from_raw(-leader), Signal::SIGKILL);
    for process in in_sight() {
        if process.session == leader && process.pid != leader {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}
