//! What the machine has used, read from `/proc` at the moment of the question.

use miosa_agent::protocol::Usage;

use crate::machine::Machine;
use crate::raw;
use miosa_agent::processes::Process;

/// `/proc` counts CPU time in hundredths of a second on every Linux that this runs on.
const MS_PER_TICK: u64 = 10;

pub fn measure(machine: &Machine) -> Usage {
    let processes = machine.processes();
    let agent = Process::read(std::process::id() as i32);
    // Ended processes live on in the sums of those that waited for them, the agent for all orphans.
    let ticks: u64 = processes.iter().chain(&agent).map(|p| p.ticks).sum();
    let pages: u64 = processes.iter().map(|p| p.resident_pages).sum();
    // A computer's interfaces say nothing about a group of processes on it.
    let network = if machine.group_only { None } else { interfaces() };
    Usage {
        cpu_ms: ticks * MS_PER_TICK,
        memory_bytes: pages * raw::page_size(),
        network_rx_bytes: network.map(|(received, _)| received),
        network_tx_bytes: network.map(|(_, sent)| sent),
        processes: processes.iter().filter(|p| p.state != 'Z').count() as u32,
    }
}

fn interfaces() -> Option<(u64, u64)> {
    sum(&std::fs::read_to_string("/proc/net/dev").ok()?)
}

fn sum(table: &str) -> Option<(u64, u64)> {
    table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() != "lo")
        .filter_map(|(_, counters)| {
            let mut counters = counters.split_ascii_whitespace().map(str::parse::<u64>);
            Some((counters.next()?.ok()?, counters.nth(7)?.ok()?))
        })
        .reduce(|(r, s), (received, sent)| (r + received, s + sent))
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_does_not_count_as_network() {
        let lo = "Inter-| Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n";
        assert_eq!(super::sum(lo), None);
        let both = format!("{lo}  eth0: 7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n");
        assert_eq!(super::sum(&both), Some((7, 9)));
    }
}
