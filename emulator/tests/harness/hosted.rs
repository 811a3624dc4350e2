//! An emulator whose sandboxes are plain processes of this computer: real commands and files, no isolation, quick to
//! make. With `MIOSA_TEST_MACHINES=namespace` they are namespaces, with `docker` containers, and the same must hold.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use miosa_emulator::machines::agent::ELF;
use miosa_emulator::machines::docker::{DockerConfig, DockerHost};
use miosa_emulator::machines::host::HostMachines;
use miosa_emulator::machines::namespace::{
    NamespaceConfig, NamespaceHost, PROCESSES, agent_command,
};
use miosa_emulator::machines::{MachineHost as _, Machines};
use serde_json::{Value, json};

use crate::harness::{BOUND, Client, Emulator};

pub const KEY: &str = "msk_u_0123456789abcdef";

pub async fn start() -> Emulator {
    start_on(tempfile::tempdir().unwrap()).await
}

/// On a directory; another emulator may have been there before.
pub async fn start_on(data: tempfile::TempDir) -> Emulator {
    let root = data.path().join("hosted");
    match std::env::var("MIOSA_TEST_MACHINES").as_deref() {
        Ok("namespace") => {
            let config = NamespaceConfig {
                data: root,
                program: env!("CARGO_BIN_EXE_miosa-emulator").into(),
                agent: ELF,
                processes: PROCESSES,
                init: agent_command(),
            };
            let host = NamespaceHost::open(config).await.unwrap();
            Emulator::boot(data, |_| Machines::new(Arc::new(host)), |_| {}).await
        }
        Ok("docker") => {
            let owner =
                data.path().file_name().unwrap().to_string_lossy().trim_matches('.').to_lowercase();
            let host = DockerHost::connect(DockerConfig::new(&owner)).await.unwrap();
            let mut emulator =
                Emulator::boot(data, |_| Machines::new(Arc::new(host)), |_| {}).await;
            emulator.cleaner = Some(Box::new(Containers(owner)));
            emulator
        }
        _ => {
            let host = HostMachines::open(root).await.unwrap();
            Emulator::boot(data, |_| Machines::new(Arc::new(host)), |_| {}).await
        }
    }
}

/// Removes what this owner has on the engine.
struct Containers(String);

impl Drop for Containers {
    fn drop(&mut self) {
        // A runtime of its own: the test's may be gone, or unwinding.
        let owner = self.0.clone();
        let clean = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let host = DockerHost::connect(DockerConfig::new(owner)).await.unwrap();
                for machine in host.list().await.unwrap() {
                    host.remove(machine.id).await.unwrap();
                }
                for snapshot in host.list_snapshots().await.unwrap() {
                    host.remove_snapshot(snapshot).await.unwrap();
                }
                host.prune().await.unwrap();
            });
        });
        let cleaned = clean.join();
        assert!(cleaned.is_ok() || std::thread::panicking(), "containers were left behind");
    }
}

/// A sandbox that runs; its path is `/sandboxes/{id}`.
pub struct Sandbox {
    pub client: Client,
    pub id: String,
    pub path: String,
}

impl Sandbox {
    pub async fn new(emulator: &Emulator) -> Self {
        Self::with(emulator, json!({})).await
    }

    pub async fn with(emulator: &Emulator, body: Value) -> Self {
        let client = emulator.client(KEY);
        let made = client.post("/sandboxes", body).await;
        let id = made.data(201)["id"].as_str().unwrap().to_owned();
        let sandbox = Self { path: format!("/sandboxes/{id}"), client, id };
        let ready = until(async || {
            let state = sandbox.record().await["state"].clone();
            assert!(state == "provisioning" || state == "running", "{state}");
            state == "running"
        });
        ready.await;
        sandbox
    }

    pub fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.path)
    }

    pub async fn record(&self) -> Value {
        self.client.get(&self.path).await.data(200)
    }

    pub async fn exec(&self, command: &str) -> Value {
        self.client.post(&self.at("/exec"), json!({ "command": command })).await.data(200)
    }

    pub async fn write(&self, path: &str, text: &str) {
        let body = json!({ "path": path, "content": text });
        self.client.post(&self.at("/fs/write"), body).await.data(201);
    }

    /// Whether a process of the sandbox runs, by the id that it has there.
    pub async fn runs(&self, pid: u32) -> bool {
        let status = format!("grep -Eq '^State:[[:space:]]+[^ZX]' /proc/{pid}/status");
        self.exec(&status).await["exit_code"] == 0
    }

    /// The number that a command has written to a file, once it has.
    pub async fn pid_in(&self, file: &str) -> u32 {
        let mut pid = None;
        until(async || {
            pid = self.read(file).await.and_then(|text| text.trim().parse().ok());
            pid.is_some()
        })
        .await;
        pid.unwrap()
    }

    /// The text of a file; `None` when it is not there.
    pub async fn read(&self, path: &str) -> Option<String> {
        let reply = self.client.get(&self.at(&format!("/fs/read?path={path}"))).await;
        (reply.status != 404).then(|| reply.data(200)["content"].as_str().unwrap().to_owned())
    }
}

/// Waits until something holds, within a bound.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(BOUND, waiting).await.is_ok(), "it never came to hold");
}
