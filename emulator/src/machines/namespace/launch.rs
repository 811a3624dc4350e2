//! Starting a machine's processes, seen from the emulator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cgroup::Group;
use super::plan::{Plan, SUBCOMMAND, SUPERVISE};

/// How long a machine may take to have its first process.
const START_BOUND: Duration = Duration::from_secs(20);
/// How long its processes may take to end once killed.
const END_BOUND: Duration = Duration::from_secs(10);

/// A machine's processes. Dropping it ends them.
pub struct Running {
    /// Process 1, as the host numbers it.
    pub pid: u32,
    /// Its control groups.
    pub group: Group,
    supervisor: Mutex<Child>,
    /// When this closes the supervisor ends the machine.
    control: UnixStream,
}

/// Starts a machine; the stream to its first process. Blocks.
pub fn launch(program: &Path, plan: &Plan, group: Group) -> Result<(Running, UnixStream), String> {
    let pair = || UnixStream::pair().map_err(|e| format!("socket pair: {e}"));
    let ((control, their_control), (agent, their_agent), (errors, their_errors)) =
        (pair()?, pair()?, pair()?);
    let supervisor = Command::new(program)
        .args([SUBCOMMAND, SUPERVISE])
        .env_clear()
        .current_dir("/")
        // Ctrl-C in the emulator's terminal is for the emulator: it decides how its machines end.
        .process_group(0)
        .stdin(OwnedFd::from(their_control))
        .stdout(OwnedFd::from(their_agent))
        .stderr(OwnedFd::from(their_errors))
        .spawn()
        .map_err(|e| format!("starting {}: {e}", program.display()));
    let supervisor = match supervisor {
        Ok(supervisor) => supervisor,
        Err(message) => {
            group.remove();
            return Err(message);
        }
    };
    let mut running = Running { pid: 0, group, supervisor: Mutex::new(supervisor), control };
    match accompany(&mut running, plan, errors) {
        Ok(()) => Ok((running, agent)),
        // Dropping it ends what has begun.
        Err(message) => Err(message),
    }
}

/// Leads the supervisor through the start, until process 1 has become the agent.
fn accompany(running: &mut Running, plan: &Plan, mut errors: UnixStream) -> Result<(), String> {
    let deadline = Some(START_BOUND);
    let bounded = running.control.set_read_timeout(deadline).and(errors.set_read_timeout(deadline));
    bounded.map_err(|e| format!("socket: {e}"))?;
    let asked = converse(running, plan);
    if asked.as_ref().is_err_and(|refusal| refusal.is_ours) {
        return asked.map_err(|refusal| refusal.text);
    }
    let mut text = String::new();
    errors.read_to_string(&mut text).map_err(|e| format!("the machine does not start: {e}"))?;
    let text = text.trim();
    match asked {
        Ok(()) if text.is_empty() => Ok(()),
        Err(refusal) if text.is_empty() => Err(refusal.text),
        _ => Err(text.to_owned()),
    }
}

/// Why the start stopped: for a reason on our side, or because the supervisor did and says why on stderr.
struct Refusal {
    is_ours: bool,
    text: String,
}

fn converse(running: &mut Running, plan: &Plan) -> Result<(), Refusal> {
    let theirs = |text: String| Refusal { is_ours: false, text };
    let ours = |text: String| Refusal { is_ours: true, text };
    let mut plan_line = serde_json::to_vec(plan).map_err(|e| ours(e.to_string()))?;
    plan_line.push(b'\n');
    let supervisor = running.supervisor.lock().unwrap_or_else(PoisonError::into_inner).id();
    let mut control = BufReader::new(&running.control);
    control.get_mut().write_all(&plan_line).map_err(|e| theirs(format!("supervisor: {e}")))?;
    loop {
        let mut line = String::new();
        control
            .read_line(&mut line)
            .map_err(|e| ours(format!("the machine does not start: {e}")))?;
        match line.trim().split_once(' ') {
            None if line.trim() == "U" => {
                let process = PathBuf::from(format!("/proc/{supervisor}"));
                plan.ids.write(&process).map_err(|e| ours(format!("mapping user ids: {e}")))?;
                control
                    .get_mut()
                    .write_all(b"G\n")
                    .map_err(|e| theirs(format!("supervisor: {e}")))?;
            }
            Some(("P", pid)) => {
                running.pid = pid.parse().map_err(|_| ours(format!("not a process: {pid}")))?;
                return Ok(());
            }
            _ => return Err(theirs("the supervisor ended".to_owned())),
        }
    }
}

impl Running {
    /// Whether its processes are there.
    pub fn is_alive(&self) -> bool {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(supervisor.try_wait(), Ok(None))
    }

    /// Ends every process and waits until none is left. Blocks.
    pub fn end(&self) -> Result<(), String> {
        let _ = self.control.shutdown(Shutdown::Write);
        let deadline = Instant::now() + END_BOUND;
        let mut supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match supervisor.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() > deadline => {
                    // Process 1 dies with its parent.
                    let _ = supervisor.kill();
                    let _ = supervisor.wait();
                    let _ = self.group.thaw();
                    self.group.remove();
                    return Err(format!(
                        "the machine's processes did not end within {END_BOUND:?}"
                    ));
                }
                Ok(None) => std::thread::sleep(Duration::from_micros(500)),
                Err(e) => return Err(format!("supervisor: {e}")),
            }
        }
        self.group.remove();
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Also what the supervisor may not do: remove the groups.
        if let Err(error) = self.end() {
            tracing::error!(error, "a machine did not end");
        }
    }
}
