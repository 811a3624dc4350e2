//! Processes as `/proc` shows them: the agent's view of its machine, and a host's of an agent's family.

use std::collections::HashMap;

/// One line of `/proc/PID/stat`, what is needed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The name of its program, cut to 15 bytes.
    pub name: String,
    /// `R`, `S`, `T`, `Z`, …, as `proc(5)` has them.
    pub state: char,
    /// The number of its parent.
    pub parent: i32,
    /// The number of its session's leader.
    pub session: i32,
    /// CPU time of its own and of children it has waited for, in ticks of 10 ms.
    pub ticks: u64,
    /// Pages in memory.
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

    /// Whether it stands still, stopped or dead.
    pub fn stopped(&self) -> bool {
        matches!(self.state, 'T' | 't' | 'Z' | 'X')
    }

    /// Whether it has ended.
    pub fn dead(&self) -> bool {
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

/// Every process that came from `ancestor`, which is not among them.
pub fn below(ancestor: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in in_sight() {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut family, mut next) = (Vec::new(), vec![ancestor]);
    while let Some(parent) = next.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child.pid);
            family.push(child);
        }
    }
    family
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
