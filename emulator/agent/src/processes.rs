//! The machine's processes, as `/proc` shows them.
//!
//! In a machine of its own the agent may speak to all at once (`kill(-1)`). With `--group-only` it shares the
//! computer, so it walks down from itself; as their subreaper it stays the ancestor of everything it started.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::Machine;

/// One line of `/proc/PID/stat`, what is needed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub name: String,
    pub state: char,
    pub parent: i32,
    pub session: i32,
    /// CPU time of its own and of children it has waited for, in ticks of 10 ms.
    pub ticks: u64,
    pub resident_pages: u64,
}

impl Process {
    /// The process `pid`, if it is there.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&stat))
    }

    fn parse(pid: i32, stat: &str) -> Option<Self> {
        // The name may hold spaces and parentheses; the last one ends it.
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            name: head.split_once('(')?.1.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
            resident_pages: number(21)?,
        })
    }

    fn stopped(&self) -> bool {
        matches!(self.state, 'T' | 't' | 'Z' | 'X')
    }

    fn dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Every process in sight.
pub fn in_sight() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

impl Machine {
    /// The machine's processes, the agent excluded.
    pub fn processes(&self) -> Vec<Process> {
        let (own, bridge) = (own_pid(), self.bridge.load(Ordering::Relaxed));
        let mut all = in_sight();
        if self.group_only {
            let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
            for process in &all {
                children.entry(process.parent).or_default().push(process.pid);
            }
            let (mut family, mut next) = (HashSet::new(), vec![own]);
            while let Some(parent) = next.pop() {
                for child in children.remove(&parent).unwrap_or_default() {
                    family.insert(child);
                    next.push(child);
                }
            }
            all.retain(|process| family.contains(&process.pid));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) (b) S 3 7 5 0 -1 4 1 2 3 4 10 20 30 40 20 0 1 0 99 1000 12 18";
        let process = Process::parse(7, stat).unwrap();
        assert_eq!((process.name.as_str(), process.state), ("a) (b", 'S'));
        assert_eq!((process.parent, process.session), (3, 5));
        assert_eq!((process.ticks, process.resident_pages), (100, 12));
    }
}
