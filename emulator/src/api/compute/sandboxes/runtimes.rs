//! `GET /sandboxes/runtimes`: what runs sandboxes here (miosa-python 2.19).

use axum::extract::State as Extracted;
use serde_json::{Value, json};

use super::sizes::SIZES;
use crate::app::App;
use crate::http::{Answer, ApiResult, Pages};
use crate::machines::HostKind;

/// The handler. `standard` is this computer's machines, whatever kind they are; the others are not built. Whole unless a
/// part is asked for.
pub async fn runtimes(Extracted(app): Extracted<App>, pages: Pages) -> ApiResult<Answer> {
    let host = app.machines.host().map(|host| host.kind());
    let by = match host {
        Some(HostKind::Docker) => "Docker containers",
        Some(HostKind::Namespace) => "Linux namespaces",
        Some(HostKind::Host) => "Plain processes, unconfined",
        None => "No machines",
    };
    let reason = host.is_none().then_some("this emulator has no machines; `doctor` says why");
    let most = SIZES.last().map(|(_, shape)| shape);
    let item = |id: &str, description: &str, default: bool, reason: Option<&str>| -> Value {
        json!({
            "id": id,
            "runtime_profile": id,
            "label": id,
            "description": description,
            "default": default,
            "available": reason.is_none(),
            "unavailable_reason": reason,
            "capabilities": {
                "browser": false,
                "network_egress": reason.is_none(),
                "persistence": reason.is_none(),
                "pause": reason.is_none(),
                "gpu": false,
                "max_shape": most.map(|shape| json!({
                    "cpu_count": shape.vcpus,
                    "memory_mb": shape.memory_mb,
                    "disk_size_mb": shape.disk_mb,
                })),
            },
        })
    };
    let items = vec![
        item("standard", by, true, reason),
        item("auto", by, false, reason),
        item("soma", "Not emulated", false, Some("not emulated")),
    ];
    Ok(Answer::portion(pages.portion(items), "runtimes"))
}
