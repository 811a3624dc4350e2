//! Machines to try things in: a host on a throw-away data directory, and a shell in each machine.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use miosa_emulator::machines::namespace::{NamespaceConfig, NamespaceHost};
use miosa_emulator::machines::{AgentStream, Base, MachineHost, MachineSpec, Shape, Started};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(30);

pub struct Bench {
    pub host: NamespaceHost,
    pub data: TempDir,
}

pub async fn open(data: &Path) -> NamespaceHost {
    let config = NamespaceConfig {
        data: data.to_owned(),
        program: env!("CARGO_BIN_EXE_miosa-emulator").into(),
        agent: b"",
        processes: 256,
    };
    NamespaceHost::open(config).await.unwrap()
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

pub fn shell() -> Option<Vec<String>> {
    Some(vec!["/bin/bash".to_owned()])
}

impl Bench {
    pub async fn machine(&self, base: Base) -> Machine {
        let spec = spec(base);
        let started = self.host.create_with(&spec, shell()).await.unwrap();
        Machine::new(spec.id, started)
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
