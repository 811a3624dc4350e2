//! Events of sandboxes (`api-reference/tenant-events`), written in the transaction that makes them true.

use serde_json::{Value, json};

use super::Sandbox;
use crate::app::App;
use crate::http::ApiResult;
use crate::store::Tx;
use crate::store::outbox::Event;

/// What happens to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It was made.
    Created,
    /// Commands can run in it.
    Ready,
    /// It was paused: by a request, its timeout or idleness.
    Paused(&'static str),
    /// It runs again.
    Resumed,
    /// It is gone: by a request or its timeout.
    Destroyed(&'static str),
    /// It broke; its record says why.
    Error,
}

/// Writes the event, and those that it implies.
pub fn emit(tx: &Tx<'_>, app: &App, sandbox: &Sandbox, happening: Happening) -> ApiResult<()> {
    let (kind, data): (_, Value) = match happening {
        Happening::Created => (
            "sandbox.created",
            json!({
                "image": sandbox.template_id, "workspace_id": sandbox.owner.workspace_id,
                "project_id": sandbox.owner.project_id, "size": sandbox.size, "name": sandbox.name,
            }),
        ),
        Happening::Ready => {
            write(tx, app, sandbox, "sandbox.started", json!({ "region": sandbox.region }))?;
            ("sandbox.ready", json!({ "status": "ready" }))
        }
        Happening::Paused(reason) => {
            if reason == "idle" {
                let seconds = sandbox.idle_timeout_sec;
                write(tx, app, sandbox, "sandbox.idle", json!({ "idle_timeout_sec": seconds }))?;
            }
            ("sandbox.paused", json!({ "reason": reason }))
        }
        Happening::Resumed => ("sandbox.resumed", json!({})),
        Happening::Destroyed(reason) => ("sandbox.destroyed", json!({ "reason": reason })),
        Happening::Error => {
            ("sandbox.error", json!({ "error": "machine_failed", "reason": sandbox.last_error }))
        }
    };
    write(tx, app, sandbox, kind, data)
}

fn write(tx: &Tx<'_>, app: &App, sandbox: &Sandbox, kind: &str, data: Value) -> ApiResult<()> {
    tx.emit(&Event {
        seq: 0,
        id: app.ids.next(),
        org: sandbox.org,
        workspace: Some(sandbox.owner.workspace_id),
        kind: kind.to_owned(),
        subject_kind: "sandbox".to_owned(),
        subject_id: sandbox.id,
        at: app.clock.now(sandbox.org),
        data,
    })?;
    Ok(())
}
