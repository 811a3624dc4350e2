//! An emulator with namespace machines, a sandbox in it and an application in that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::app::Config;
use miosa_emulator::machines::namespace::{NamespaceConfig, NamespaceHost, agent_command};
use miosa_emulator::machines::{Agent, Machines, agent};
use miosa_emulator::proxy;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::{BOUND, Client, Emulator};

pub const KEY: &str = "msk_test_previews";

/// An emulator on this directory, whose machines have no way out.
pub async fn emulator_on(data: TempDir, configure: impl FnOnce(&mut Config)) -> Emulator {
    let config = NamespaceConfig {
        data: data.path().join("machines"),
        program: env!("CARGO_BIN_EXE_miosa-emulator").into(),
        agent: agent::ELF,
        processes: 128,
        init: agent_command(),
    };
    let host = NamespaceHost::open(config).await.unwrap();
    Emulator::boot(data, |_| Machines::new(Arc::new(host)), configure).await
}

pub async fn emulator_without_egress() -> Emulator {
    emulator_on(TempDir::new().unwrap(), |_| {}).await
}

pub async fn emulator() -> Emulator {
    let emulator = emulator_without_egress().await;
    proxy::egress::watch(&emulator.app);
    emulator
}

/// A sandbox that runs.
pub async fn sandbox(client: &Client) -> Uuid {
    let body = json!({ "template_id": "blank", "size": "xs", "persistent": true, "wait": true });
    let made = client.post("/sandboxes", body).await.data(201);
    assert_eq!(made["state"], "running", "{made}");
    made["id"].as_str().unwrap().parse().unwrap()
}

pub fn agent(emulator: &Emulator, sandbox: Uuid) -> Arc<Agent> {
    emulator.app.machines.agent(sandbox).unwrap()
}

/// Runs a line in the sandbox: its output, which must be a success's.
pub async fn said(agent: &Agent, line: &str) -> String {
    let finished = agent.run(exec(line, false), None, 1 << 20).await.unwrap();
    let output = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert_eq!(finished.exit.exit_code, 0, "{line}: {output} {finished:?}");
    output
}

fn exec(line: &str, detached: bool) -> Exec {
    Exec {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: (!detached).then_some(30_000),
        stdin: false,
        tty: None,
        detached,
    }
}

/// Starts the application on a port of the sandbox, and waits until it listens.
pub async fn serve(agent: &Agent, port: u16) {
    let program = Bytes::from_static(include_bytes!("server.py"));
    agent.write("/workspace/server.py", None, program).await.unwrap();
    let line = format!("exec python3 /workspace/server.py {port} >/tmp/log 2>&1");
    drop(agent.exec(exec(&line, true)).await.unwrap());
    until("the application listens", async || {
        agent.ports().await.unwrap().ports.iter().any(|open| open.port == port)
    })
    .await;
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
