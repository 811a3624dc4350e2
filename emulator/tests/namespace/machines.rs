//! Machines to try things in: a host on a throw-away data directory, and a shell in each machine.
// Each test program uses its part of this; clippy's leave for tests ends at the attribute `test`.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use miosa_emulator::machines::namespace::{NamespaceConfig, NamespaceHost};
use miosa_emulator::machines::{AgentStream, Base, MachineHost, MachineSpec, Shape, Started};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

/// Processes that a machine may have.
pub const PROCESSES: u32 = 128;
const BOUND: Duration = Duration::from_secs(30);

pub struct Bench {
    pub host: NamespaceHost,
    pub data: TempDir,
}

pub fn config(data: &Path) -> NamespaceConfig {
    NamespaceConfig {
        data: data.to_owned(),
        program: env!("CARGO_BIN_EXE_miosa-emulator").into(),
        agent: b"",
        processes: PROCESSES,
        // Most of what is tried here is about the walls, and a shell looks at them without an agent's help.
        init: vec!["/bin/bash".to_owned()],
    }
}

pub async fn open(data: &Path) -> NamespaceHost {
    NamespaceHost::open(config(data)).await.unwrap()
}

pub async fn bench() -> Bench {
    let data = TempDir::new().unwrap();
    Bench { host: open(data.path()).await, data }
}

pub fn spec(base: Base) -> MachineSpec {
    MachineSpec {
        id: Uuid::new_v4(),
        operation: Uuid::new_v4(),
        base,
        shape: Shape { vcpus: 1, memory_mb: 256, disk_mb: 1024 },
        env: BTreeMap::from([("GREETING".to_owned(), "hello there".to_owned())]),
        hostname: "box".to_owned(),
    }
}

/// A machine whose first process is a shell.
pub struct Machine {
    pub id: Uuid,
    stream: AgentStream,
}

impl Bench {
    pub async fn machine(&self, base: Base) -> Machine {
        let spec = spec(base);
        let started = self.host.create(&spec).await.unwrap();
        Machine::new(spec.id, started)
    }

    /// A new machine from a snapshot.
    pub async fn fork(&self, snapshot: Uuid) -> Machine {
        self.machine(Base::Snapshot(snapshot)).await
    }

    pub async fn snapshot(&self, machine: &Machine) -> Uuid {
        let snapshot = Uuid::new_v4();
        self.host.snapshot(machine.id, snapshot).await.unwrap();
        snapshot
    }

    pub async fn blank(&self) -> Machine {
        self.machine(Base::Template("blank".to_owned())).await
    }
}

impl Machine {
    pub fn new(id: Uuid, started: Started) -> Self {
        Self { id, stream: started.stream }
    }

    /// Runs a line; its output, standard error included, and its exit code.
    pub async fn run(&mut self, line: &str) -> (String, i32) {
        let mark = Uuid::new_v4();
        let text = format!("{{ {line}\n}} 2>&1 </dev/null; echo \"{mark} $?\"\n");
        self.stream.write_all(text.as_bytes()).await.unwrap();
        let mut output = Vec::new();
        let mark = format!("{mark} ");
        let read = async {
            loop {
                let text = String::from_utf8_lossy(&output);
                if let Some((before, after)) = text.split_once(&mark)
                    && let Some((code, _)) = after.split_once('\n')
                {
                    return (before.trim_end().to_owned(), code.parse().unwrap());
                }
                assert_ne!(
                    self.stream.read_buf(&mut output).await.unwrap(),
                    0,
                    "{line}: the shell ended"
                );
            }
        };
        tokio::time::timeout(BOUND, read).await.unwrap_or_else(|_| panic!("{line}: no end"))
    }

    /// Output of a line that must succeed.
    pub async fn ok(&mut self, line: &str) -> String {
        let (output, code) = self.run(line).await;
        assert_eq!(code, 0, "{line}: {output}");
        output
    }

    /// Output of a line that must fail.
    pub async fn refused(&mut self, line: &str) -> String {
        let (output, code) = self.run(line).await;
        assert_ne!(code, 0, "{line}: {output}");
        output
    }
}

/// Runs the other tests of this binary once more as an ordinary user, if root runs it.
pub fn again_as_an_ordinary_user(this_test: &str) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let data = TempDir::new().unwrap();
    std::os::unix::fs::chown(data.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
    let output = std::process::Command::new("setpriv")
        .args([format!("--reuid={ORDINARY}"), format!("--regid={ORDINARY}")])
        .arg("--clear-groups")
        .arg(std::env::current_exe().unwrap())
        .args(["--skip", this_test, "--test-threads=2"])
        .env("TMPDIR", data.path())
        .env("HOME", data.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(" 0 passed"), "{text}");
}

/// An id that nobody has.
const ORDINARY: u32 = 61_234;

/// Processes of this computer with `word` in their command line.
pub fn processes_with(word: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(word)
    })
    .collect()
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + BOUND;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
