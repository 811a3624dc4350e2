//! `GET /sandboxes/{id}/usage`: what is measured, and null with its reason for what is not. Prices are not known here.

use std::time::Duration;

use axum::extract::State as Extracted;
use serde_json::json;

use super::{Sandbox, State};
use crate::app::App;
use crate::http::{Answer, ApiResult, Scoped};

/// How long the agent may take to count.
const COUNT: Duration = Duration::from_secs(5);

/// The handler. Wakes nothing and is no activity.
pub async fn usage(Extracted(app): Extracted<App>, sandbox: Scoped<Sandbox>) -> ApiResult<Answer> {
    let now = app.clock.now(sandbox.org);
    let runtime_ms = sandbox.runtime_ms(now);
    let measured = if sandbox.runs() {
        match app.machines.agent(sandbox.id) {
            Ok(agent) => tokio::time::timeout(COUNT, agent.usage()).await.ok().and_then(Result::ok),
            Err(_) => None,
        }
    } else {
        None
    };
    let status = |known: bool| if known { "measured" } else { "unavailable" };
    let rx = measured.as_ref().and_then(|usage| usage.network_rx_bytes);
    let tx = measured.as_ref().and_then(|usage| usage.network_tx_bytes);
    let remaining = match sandbox.state {
        State::Destroyed => Some(0),
        _ if sandbox.runs() => sandbox.expires_at.map(|at| at.millis_since(now).max(0)),
        _ => None,
    };
    Answer::ok(&json!({
        "sandbox_id": sandbox.id,
        "state": sandbox.state.as_str(),
        "runtime_sec": runtime_ms / 1000,
        "provisioned_vcpu_ms": runtime_ms.saturating_mul(u64::from(sandbox.shape.vcpus)),
        "provisioned_memory_mb_ms": runtime_ms.saturating_mul(u64::from(sandbox.shape.memory_mb)),
        "creation_count": 1,
        // Of the processes since the machine last started.
        "active_cpu_ms": measured.as_ref().map(|usage| usage.cpu_ms),
        "memory_bytes": measured.as_ref().map(|usage| usage.memory_bytes),
        "processes": measured.as_ref().map(|usage| usage.processes),
        "network_ingress_bytes": rx,
        "network_egress_bytes": tx,
        "measurement_status": {
            "active_cpu": status(measured.is_some()),
            "network": status(rx.is_some() && tx.is_some()),
            "provisioned_resources": "measured",
            "estimated_cost": "not_metered",
        },
        "estimated_cost_cents": null,
        "timeout_sec": sandbox.timeout_sec,
        "timeout_remaining_ms": remaining,
    }))
}
