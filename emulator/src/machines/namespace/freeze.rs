//! Freezing without a control group: every process of the machine but the first gets a signal.
//!
//! Weaker than a freezer: a process can see that it was stopped, and one that was stopped before is woken by
//! the thaw. It is what an ordinary user has.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// New processes can appear while the list is read; after this many rounds something multiplies faster than we stop.
const ROUNDS: usize = 50;
/// How long a signal may take to arrive (a process deep in a disk write takes it afterwards).
const SETTLE_BOUND: Duration = Duration::from_secs(5);

/// Stops every process that shares the pid namespace of `first`, except `first` itself.
pub fn stop(first: u32) -> io::Result<()> {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS {
        let fresh: Vec<u32> =
            members(first)?.into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if fresh.is_empty() {
            return settle(&stopped);
        }
        for pid in fresh {
            signal(pid, Signal::SIGSTOP);
            stopped.insert(pid);
        }
    }
    resume(first)?;
    Err(io::Error::other("processes are made faster than they can be stopped"))
}

/// Waits until the signal has reached each of them: one on another CPU runs on for a moment.
fn settle(pids: &BTreeSet<u32>) -> io::Result<()> {
    let deadline = Instant::now() + SETTLE_BOUND;
    while pids.iter().any(|pid| runs(*pid)) {
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "processes do not stand still"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether a process is neither stopped nor ended.
fn runs(pid: u32) -> bool {
    // The state follows the name, which stands in parentheses and may hold any of them.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'T' | 't' | 'Z' | 'X'))
}

/// Lets them go on.
pub fn resume(first: u32) -> io::Result<()> {
    for pid in members(first)? {
        signal(pid, Signal::SIGCONT);
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) {
    // One that is gone meanwhile needs no signal.
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Every other process of the namespace.
fn members(first: u32) -> io::Result<Vec<u32>> {
    let namespace =
        |pid: u32| fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns/pid"));
    let wanted = namespace(first)?;
    let pids =
        fs::read_dir("/proc")?.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| *pid != first && namespace(*pid).is_ok_and(|n| n == wanted)).collect())
}
