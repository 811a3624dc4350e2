//! An agent that runs, and the processes below it.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::path::Path;
use std::time::Duration;

use miosa_agent::processes::{Process, below};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::failed;
use crate::machines::{AgentStream, MachineError};

/// How long an agent may take to end: its own grace, and some.
const END_TIME: Duration = Duration::from_secs(5);

/// An agent below the emulator. It ends when its stream does, so it needs no guard of its own.
pub(super) struct AgentProcess {
    child: Child,
    pid: i32,
    /// While frozen: what had stopped before.
    stopped_before: Option<HashSet<i32>>,
}

impl AgentProcess {
    /// Starts an agent that works in `workspace`.
    pub(super) fn spawn(
        program: &Path,
        workspace: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<(Self, AgentStream), MachineError> {
        let (ours, theirs) = Pair::pair().map_err(failed("no socket"))?;
        ours.set_nonblocking(true).map_err(failed("no socket"))?;
        let stream = UnixStream::from_std(ours).map_err(failed("no socket"))?;
        let theirs = OwnedFd::from(theirs);
        let mut command = Command::new(program);
        command
            .args(["serve", "--group-only", "--workspace"])
            .arg(workspace)
            .current_dir(workspace)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", workspace)
            .envs(env)
            .stdin(theirs.try_clone().map_err(failed("no socket"))?)
            .stdout(theirs);
        let child = command.spawn().map_err(failed("the agent cannot be started"))?;
        let pid = child.id().ok_or_else(|| MachineError::Host("the agent ended at once".into()))?;
        let process = Self { child, pid: pid as i32, stopped_before: None };
        Ok((process, Box::new(stream)))
    }

    pub(super) fn frozen(&self) -> bool {
        self.stopped_before.is_some()
    }

    pub(super) fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops every process below the agent, which goes on.
    pub(super) async fn freeze(&mut self) -> Result<(), MachineError> {
        let family = below(self.pid);
        self.stopped_before.get_or_insert_with(|| {
            family.iter().filter(|process| process.stopped()).map(|process| process.pid).collect()
        });
        // A process may fork between the look and the signal: until a look finds none that runs.
        for _ in 0..500 {
            let family = below(self.pid);
            // Between vfork and exec a parent waits, beyond the reach of signals, for a child that is stopped now:
            // it stands still, too.
            let waits = |process: &Process| {
                let child = |other: &Process| other.parent == process.pid && other.stopped();
                process.state == 'D' && family.iter().any(child)
            };
            let moving: Vec<&Process> =
                family.iter().filter(|process| !process.stopped() && !waits(process)).collect();
            if moving.is_empty() {
                return Ok(());
            }
            for process in moving {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGSTOP);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.thaw();
        Err(MachineError::Host("its processes fork faster than they can be stopped".to_owned()))
    }

    /// Lets go on what the freeze stopped.
    pub(super) fn thaw(&mut self) {
        let Some(before) = self.stopped_before.take() else { return };
        for process in below(self.pid) {
            if !before.contains(&process.pid) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGCONT);
            }
        }
    }

    /// Ends the agent, which ends what is below it; kills all of them if it does not.
    pub(super) async fn end(mut self) {
        if !self.alive() {
            return;
        }
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        if tokio::time::timeout(END_TIME, self.child.wait()).await.is_ok() {
            return;
        }
        for process in below(self.pid) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        let _ = tokio::time::timeout(END_TIME, self.child.kill()).await;
    }
}
