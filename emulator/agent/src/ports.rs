//! Ports that listen, from the kernel's own tables.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use miosa_agent::protocol::{Port, Ports};

use crate::machine::Machine;

const LISTEN: &str = "0A";

pub fn listening(machine: &Machine) -> Ports {
    let owners = owners(machine);
    let own = own_sockets();
    let mut ports: Vec<Port> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>())
        .filter(|(_, _, inode)| !own.contains(inode))
        .filter(|(_, _, inode)| !machine.group_only || owners.contains_key(inode))
        .map(|(address, port, inode)| {
            let owner = owners.get(&inode);
            Port {
                protocol: "tcp".to_owned(),
                address: address.to_string(),
                port,
                pid: owner.map(|(pid, _)| *pid),
                process: owner.map(|(_, name)| name.clone()),
            }
        })
        .collect();
    ports.sort_by(|a, b| (a.port, &a.address).cmp(&(b.port, &b.address)));
    Ports { ports }
}

/// The address, port and socket of a line that listens.
fn parse(line: &str) -> Option<(IpAddr, u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    // Each group of eight digits is a word in the machine's byte order.
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?, inode))
}

/// Which process holds which socket, as far as the agent may look.
fn owners(machine: &Machine) -> HashMap<u64, (i32, String)> {
    let mut owners = HashMap::new();
    for process in machine.processes() {
        for inode in sockets(&process.pid.to_string()) {
            owners.entry(inode).or_insert_with(|| (process.pid, process.name.clone()));
        }
    }
    owners
}

fn own_sockets() -> Vec<u64> {
    sockets("self")
}

fn sockets(process: &str) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter_map(|target| {
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_line_is_read_and_others_are_not() {
        let line =
            "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1";
        let found = parse(line).unwrap();
        assert_eq!(found, (IpAddr::V4(Ipv4Addr::LOCALHOST), 8080, 77));
        assert_eq!(parse(&line.replace(" 0A ", " 01 ")), None);
        let six = line.replace("0100007F:", "00000000000000000000000001000000:");
        assert_eq!(parse(&six).unwrap().0, IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}
