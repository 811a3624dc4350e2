//! Whether the application behind a preview is there, measured. A probe never wakes a sandbox.

use std::time::{Duration, Instant};

use axum::extract::State;
use serde_json::json;

use super::show::{Listening, Ports};
use super::{Preview, of, url};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{Answer, ApiResult, Scoped};
use crate::machines::Agent;
use crate::machines::agent::http_status;
use crate::proxy::address::ClientHost;

/// How long an answer with a record in it waits for the sandbox.
const LOOK: Duration = Duration::from_secs(2);
/// How long a status waits for the application.
const ANSWER: Duration = Duration::from_secs(5);

/// The ports of the sandbox that listen now.
pub(super) async fn listening(app: &App, sandbox: &Sandbox) -> Ports {
    if !sandbox.runs() {
        return Ports::Asleep;
    }
    let Ok(agent) = app.machines.agent(sandbox.id) else { return Ports::Unknown };
    match tokio::time::timeout(LOOK, agent.ports()).await {
        Ok(Ok(ports)) => Ports::Known(ports.ports.iter().map(|port| port.port).collect()),
        _ => Ports::Unknown,
    }
}

/// `process`, `tls` and `sandbox` (miosa-cli).
pub(super) async fn status(
    State(app): State<App>,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    preview: Scoped<Preview, 1>,
) -> ApiResult<Answer> {
    let preview = of(&sandbox, preview)?;
    let probed = if sandbox.runs() {
        match app.machines.agent(sandbox.id) {
            Ok(agent) => probe(&agent, preview.port).await,
            Err(_) => Probed::nothing(Listening::Unknown),
        }
    } else {
        Probed::nothing(Listening::Asleep)
    };
    let there = probed.listening == Listening::Yes;
    Answer::ok(&json!({
        "id": preview.id,
        "preview_id": preview.id,
        "port": preview.port,
        "url": url(&app, &host, &preview),
        "route_status": probed.listening.route_status(),
        "ready": there,
        "process": {
            "status": if there { "listening" } else { "not_listening" },
            "http_status": probed.http_status,
            "latency_ms": probed.latency_ms,
        },
        // The emulator speaks plain HTTP; a certificate is whoever's stands before it.
        "tls": { "status": "none" },
        "sandbox": { "id": sandbox.id, "state": sandbox.state.as_str() },
    }))
}

struct Probed {
    listening: Listening,
    http_status: Option<u16>,
    latency_ms: Option<u64>,
}

impl Probed {
    fn nothing(listening: Listening) -> Self {
        Self { listening, http_status: None, latency_ms: None }
    }
}

/// Connects to the port, and asks for `/` as a preview would.
async fn probe(agent: &Agent, port: u16) -> Probed {
    let begun = Instant::now();
    let Ok(Ok(tunnel)) = tokio::time::timeout(ANSWER, agent.tcp(port)).await else {
        return Probed::nothing(Listening::No);
    };
    let asked = tokio::time::timeout(ANSWER, http_status(tunnel, port, "/")).await;
    let status = asked.ok().and_then(Result::ok).map(|status| status.as_u16());
    Probed {
        listening: Listening::Yes,
        http_status: status,
        latency_ms: status.map(|_| begun.elapsed().as_millis() as u64),
    }
}
