//! Whether commands can run (asked of the agent itself) and the readiness probe has passed, once or as a stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Extracted;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{Sandbox, State};
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Scoped};

/// How long an agent may take to say that it is well.
const PROBE: Duration = Duration::from_secs(2);
/// The stream gives up after this (miosa-python 2.19: `not_ready_after_30s`).
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two comments that keep proxies from closing the stream.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// The parts that newer clients look at one by one. Here one agent stands for all: it answers or it does not.
const COMPONENTS: &[&str] = &[
    "command_agent",
    "process_control",
    "resource_contract",
    "clock",
    "identity",
    "durability",
    "filesystem",
    "internal_probe",
];

/// Whether the sandbox's agent answers now. Wakes nothing and is no activity.
async fn probe(app: &App, sandbox: &Sandbox) -> bool {
    if !sandbox.runs() {
        return false;
    }
    let Ok(agent) = app.machines.agent(sandbox.id) else { return false };
    matches!(timeout(PROBE, agent.health()).await, Ok(Ok(_)))
}

/// `GET /sandboxes/{id}/readiness`.
pub async fn readiness(
    Extracted(app): Extracted<App>,
    sandbox: Scoped<Sandbox>,
) -> ApiResult<Answer> {
    let commands = probe(&app, &sandbox).await;
    let ready = commands && sandbox.ready();
    let word = |ready| if ready { "ready" } else { "pending" };
    let (status, of_commands) = (word(ready), word(commands));
    let components: Map<String, Value> = COMPONENTS
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "status": of_commands })))
        .collect();
    Answer::ok(&json!({
        "id": sandbox.id,
        "sandbox_id": sandbox.id,
        "ready": ready,
        "ready_at": sandbox.ready_at.filter(|_| ready),
        "status": status,
        "state": sandbox.state.as_str(),
        // Of what the platform needs, as against what runs in the sandbox (miosa-cli).
        "readiness": { "status": of_commands, "components": components },
        "components": components,
        "probe": sandbox.startup.probe.as_ref().map(|probe| json!({
            "probe": probe,
            "status": status,
            "error": sandbox.startup.probe_error,
        })),
    }))
}

/// `GET /sandboxes/{id}/readiness/stream`: `ready` at once or when it is, else `timeout`.
pub async fn stream(Extracted(app): Extracted<App>, sandbox: Scoped<Sandbox>) -> Response {
    let (frames, body) = mpsc::channel::<Result<Bytes, Infallible>>(4);
    let tasks = app.tasks.clone();
    tasks.spawn(watch(app, sandbox.0.org, sandbox.0.id, frames));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn watch(app: App, org: Uuid, id: Uuid, frames: mpsc::Sender<Result<Bytes, Infallible>>) {
    let deadline = Instant::now() + PATIENCE;
    let mut keepalive = interval_at(Instant::now() + KEEPALIVE, KEEPALIVE);
    let last = loop {
        let changed = app.activity.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let found: ApiResult<Option<Sandbox>> =
            app.store.read(move |view| view.get(org, id).map_err(ApiError::from)).await;
        match found {
            Ok(Some(sandbox)) if sandbox.ready() && probe(&app, &sandbox).await => {
                break frame("ready", &json!({ "ready_at": sandbox.ready_at }));
            }
            Ok(Some(sandbox)) if !matches!(sandbox.state, State::Error | State::Destroyed) => {}
            Ok(Some(sandbox)) => {
                let reason = format!("sandbox_{}", sandbox.state.as_str());
                break frame("timeout", &json!({ "reason": reason }));
            }
            _ => break frame("timeout", &json!({ "reason": "sandbox_not_found" })),
        }
        tokio::select! {
            done = timeout_at(deadline, changed) => {
                if done.is_err() {
                    break frame("timeout", &json!({ "reason": "not_ready_after_30s" }));
                }
            }
            _ = keepalive.tick() => {
                if frames.send(Ok(Bytes::from_static(b": keepalive\n\n"))).await.is_err() {
                    return;
                }
            }
            () = frames.closed() => return,
            () = app.stopping.cancelled() => return,
        }
    };
    // A client that has gone needs no answer.
    let _ = frames.send(Ok(last)).await;
}

fn frame(event: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}
