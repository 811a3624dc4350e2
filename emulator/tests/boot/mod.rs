//! An emulator with machines that are plain processes, and its lifecycle running; and ways to look inside.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::missing_panics_doc, missing_docs)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miosa_agent::protocol::{Command, Exec};
use miosa_emulator::api::compute::sandboxes::{Sandbox, awake};
use miosa_emulator::http::{ApiError, ApiResult};
use miosa_emulator::machines::host::HostMachines;
use miosa_emulator::machines::{Agent, Machines};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, Emulator};

/// A condition comes true within this.
pub const BOUND: Duration = Duration::from_secs(20);

/// An emulator on a fresh directory.
pub async fn start() -> Emulator {
    on(tempfile::tempdir().unwrap()).await
}

/// An emulator on this directory, reconciled, its lifecycle running.
pub async fn on(data: tempfile::TempDir) -> Emulator {
    let host = HostMachines::open(data.path()).await.unwrap();
    Emulator::boot(data, move |_| Machines::new(Arc::new(host)), |_| {}).await
}

/// An emulator on this directory, neither reconciled nor with a lifecycle.
pub async fn quiet(data: tempfile::TempDir) -> Emulator {
    let host = HostMachines::open(data.path()).await.unwrap();
    Emulator::quiet(data, move |_| Machines::new(Arc::new(host))).await
}

/// Creates a blank sandbox with these fields besides; answers its record.
pub async fn create(client: &Client, body: Value) -> Value {
    let mut fields = json!({ "template_id": "blank" });
    fields.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    client.post("/sandboxes", fields).await.data(201)
}

/// The id of a record.
pub fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

/// The path of a record.
pub fn path(record: &Value) -> String {
    format!("/sandboxes/{}", id(record))
}

/// The stored row of a sandbox.
pub async fn row(emulator: &Emulator, record: &Value) -> Sandbox {
    let id = Uuid::parse_str(record["id"].as_str().unwrap()).unwrap();
    let read: ApiResult<Option<Sandbox>> =
        emulator.app.store.read(move |view| view.get_any(id).map_err(ApiError::from)).await;
    read.map_err(|error| error.log).unwrap().expect("a row")
}

/// The agent of a sandbox, woken as an exec would.
pub async fn awoken(emulator: &Emulator, record: &Value) -> ApiResult<Arc<Agent>> {
    awake::awake(&emulator.app, &row(emulator, record).await).await
}

/// What a command says in the sandbox.
pub async fn said(emulator: &Emulator, record: &Value, line: &str) -> String {
    let agent = awoken(emulator, record).await.map_err(|error| error.message).unwrap();
    let exec = Exec {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: Some(10_000),
        stdin: false,
        tty: None,
        detached: false,
    };
    let finished = agent.run(exec, None, 1 << 20).await.unwrap();
    String::from_utf8(finished.stdout.to_vec()).unwrap()
}

/// Waits until `holds`, and no longer than [`BOUND`].
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the sandbox is in this state; answers its record.
pub async fn until_state(client: &Client, record: &Value, state: &str) -> Value {
    until(state, || async { client.get(&path(record)).await.json()["data"]["state"] == state })
        .await;
    client.get(&path(record)).await.data(200)
}

/// Moves the organization's clock forward.
pub async fn advance(emulator: &Emulator, record: &Value, seconds: u64) {
    let org = row(emulator, record).await.org;
    emulator.app.clock.advance(org, Duration::from_secs(seconds));
    emulator.app.due.notify_one();
}

/// The types of the organization's events about the sandbox, in order.
pub async fn events(emulator: &Emulator, record: &Value) -> Vec<String> {
    let org = Uuid::parse_str(record["tenant_id"].as_str().unwrap()).unwrap();
    let id = Uuid::parse_str(record["id"].as_str().unwrap()).unwrap();
    let read: ApiResult<_> = emulator
        .app
        .store
        .read(move |view| view.events_after(org, 0, 1000).map_err(ApiError::from))
        .await;
    let events = read.map_err(|error| error.log).unwrap();
    events.into_iter().filter(|event| event.subject_id == id).map(|event| event.kind).collect()
}
