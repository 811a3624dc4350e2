//! What clients read of a sandbox.

use axum::extract::FromRequestParts;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::{Sandbox, State, sizes};
use crate::app::App;
use crate::http::ApiError;

/// Who reads: a few clients cannot decode what the others need.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// The MIOSA command line in Go reads `tags` as a map and `metadata` as a map of texts, and fails on others.
    pub go_cli: bool,
    /// The host that the client speaks to: URLs in answers follow it.
    pub host: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let agent = text(USER_AGENT).unwrap_or_default();
        Ok(Self {
            go_cli: agent.starts_with("miosa-go/0.2.0") || agent.starts_with("Go-http-client"),
            host: text(HOST)
                .map(str::to_owned)
                .or_else(|| parts.uri.authority().map(ToString::to_string)),
        })
    }
}

/// The URL at which a sandbox's own server can be seen; `None` while it has no preview.
fn preview_url(app: &App, sandbox: &Sandbox, host: Option<&str>) -> Option<String> {
    crate::proxy::sandbox_url(app, host.unwrap_or_default(), sandbox)
}

/// The record (`api-reference/sandboxes`; fields: miosa-python 2.19, miosa-go 2.0, contract fixture public-v1).
pub fn show(app: &App, sandbox: &Sandbox, reader: &Reader) -> Value {
    let now = app.clock.now(sandbox.org);
    let running = sandbox.runs();
    let remaining = match sandbox.state {
        State::Destroyed => Some(0),
        _ if running && !sandbox.always_on => {
            sandbox.expires_at.map(|at| at.millis_since(now).max(0))
        }
        _ => None,
    };
    let last_activity = app
        .activity
        .last(sandbox.id, now)
        .map_or(sandbox.last_activity_at, |last| last.max(sandbox.last_activity_at));
    let mut contract = sizes::contract(&sandbox.size, sandbox.shape);
    if let Value::Object(contract) = &mut contract {
        contract.insert(
            "nominal".into(),
            json!({
                "vcpus": sandbox.shape.vcpus,
                "memory_mb": sandbox.shape.memory_mb,
                "disk_size_mb": sandbox.shape.disk_mb,
            }),
        );
    }
    let mut metadata = sandbox.metadata.clone();
    if let Some(reason) = &sandbox.last_error {
        metadata.insert("last_error".into(), json!({ "reason": reason }));
    }
    let (metadata, tags) = if reader.go_cli {
        (texts(metadata), Value::Null)
    } else {
        (metadata, json!(sandbox.tags))
    };
    let url = preview_url(app, sandbox, reader.host.as_deref());
    // In parts: one macro call cannot hold them all.
    let what = json!({
        "id": sandbox.id,
        "slug": sandbox.slug,
        "name": sandbox.name,
        "state": sandbox.state.as_str(),
        "status": sandbox.state.as_str(),
        "ready": sandbox.ready(),
        "template_id": sandbox.template_id,
        "template_type": sandbox.template_id,
        "image_id": sandbox.template_id,
        "size": sandbox.size,
        "resource_contract": contract,
        "cpu_count": sandbox.shape.vcpus,
        "memory_mb": sandbox.shape.memory_mb,
        "disk_size_mb": sandbox.shape.disk_mb,
        "disk_mb": sandbox.shape.disk_mb,
        "enforced": {
            "by": sandbox.host,
            "vcpus": sandbox.enforced.vcpus,
            "memory_mb": sandbox.enforced.memory_mb,
            "disk_size_mb": sandbox.enforced.disk_mb,
            "processes": sandbox.enforced.processes,
        },
    });
    let whose = json!({
        "tenant_id": sandbox.org,
        "owner_id": sandbox.owner_id,
        "workspace_id": sandbox.owner.workspace_id,
        "project_id": sandbox.owner.project_id,
        "external_workspace_id": sandbox.owner.external_workspace_id,
        "external_user_id": sandbox.owner.external_user_id,
        "external_project_id": sandbox.owner.external_project_id,
        "region": sandbox.region,
        "tags": tags,
        "metadata": metadata,
        "preview_url": url,
        "preview_domain": null,
    });
    let life = json!({
        "persistent": sandbox.persistent,
        "always_on": sandbox.always_on,
        "timeout_sec": sandbox.timeout_sec,
        "timeout_remaining_ms": remaining,
        "idle_timeout_sec": sandbox.idle_timeout_sec,
        "last_activity_at": last_activity,
        // Null while it runs (contract fixture public-v1).
        "total_runtime_sec": (!running).then_some(sandbox.ran_ms / 1000),
        "boot_path": sandbox.boot_path,
        "boot_ms": sandbox.boot_ms,
        "checkpoint_pending": false,
        "checkpoint_phase": null,
        "created_at": sandbox.created_at,
        "inserted_at": sandbox.created_at,
        "updated_at": sandbox.updated_at,
        "started_at": sandbox.started_at,
        "ready_at": sandbox.ready_at,
        "destroyed_at": sandbox.destroyed_at,
    });
    let setup = show_setup(sandbox);
    let members = [what, whose, life, setup].into_iter().filter_map(|part| match part {
        Value::Object(members) => Some(members),
        _ => None,
    });
    Value::Object(members.flatten().collect())
}

/// How far its setup has come (miosa-go 2.0).
fn show_setup(sandbox: &Sandbox) -> Value {
    let startup = &sandbox.startup;
    let whole = startup.setup();
    let file = startup.setup_file.as_ref().map(|setup| &setup.progress);
    let repositories: Vec<Value> = startup
        .repository
        .iter()
        .map(|repository| {
            json!({
                "url": repository.url,
                "branch": repository.branch,
                "path": repository.path,
                "status": repository.progress.stand,
                "error": repository.progress.error,
            })
        })
        .collect();
    json!({
        "setup_status": whole.as_ref().map(|setup| setup.stand),
        "setup_error": whole.as_ref().and_then(|setup| setup.error.as_ref()),
        "setup_started_at": whole.as_ref().and_then(|setup| setup.started_at),
        "setup_finished_at": whole.as_ref().and_then(|setup| setup.finished_at),
        "setup_file_status": file.map(|setup| setup.stand),
        "setup_file_error": file.and_then(|setup| setup.error.as_ref()),
        "setup_repos": repositories,
        "entrypoint": startup.entrypoint,
        "readiness_probe": startup.probe,
    })
}

/// The same metadata with every value as text.
fn texts(metadata: Map<String, Value>) -> Map<String, Value> {
    let text = |value| match value {
        Value::String(text) => Value::String(text),
        other => Value::String(other.to_string()),
    };
    metadata.into_iter().map(|(name, value)| (name, text(value))).collect()
}
