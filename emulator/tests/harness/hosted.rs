//! An emulator whose sandboxes are plain processes of this computer: real commands and files, no isolation.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use miosa_emulator::machines::Machines;
use miosa_emulator::machines::host::HostMachines;
use serde_json::{Value, json};

use crate::harness::{BOUND, Client, Emulator};

pub const KEY: &str = "msk_u_0123456789abcdef";

pub async fn start() -> Emulator {
    start_on(tempfile::tempdir().unwrap()).await
}

pub async fn start_on(data: tempfile::TempDir) -> Emulator {
    let host = HostMachines::open(data.path().join("host")).await.unwrap();
    Emulator::boot(data, |_| Machines::new(Arc::new(host)), |_| {}).await
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

/// Whether a process of this computer runs.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    state.is_some_and(|state| !"ZX".contains(state))
}
