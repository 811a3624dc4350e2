//! What clients read of a preview (miosa-python 2.19 `SandboxPreviewData`; `url_info` and the like: its `expose`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Preview;
use crate::clock::Timestamp;

/// Whether something listens on a port, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The sandbox's processes do not run.
    Asleep,
    /// The sandbox did not answer.
    Unknown,
}

/// The ports of a sandbox that listen.
#[derive(Debug, Clone)]
pub(super) enum Ports {
    Known(BTreeSet<u16>),
    Asleep,
    Unknown,
}

impl Ports {
    pub(super) fn of(&self, port: u16) -> Listening {
        match self {
            Self::Known(ports) if ports.contains(&port) => Listening::Yes,
            Self::Known(_) => Listening::No,
            Self::Asleep => Listening::Asleep,
            Self::Unknown => Listening::Unknown,
        }
    }
}

impl Listening {
    /// The word for `route_status`.
    pub fn route_status(self) -> &'static str {
        match self {
            Self::Yes => "ready",
            Self::No => "not_listening",
            Self::Asleep => "sandbox_not_running",
            Self::Unknown => "unknown",
        }
    }
}

/// The preview with its address for this client.
pub fn show(preview: &Preview, url: &str, now: Timestamp, listening: Listening) -> Value {
    let expired = preview.expired(now);
    let share = preview.shares.iter().rev().find(|share| share.expires_at > now);
    let url_info = json!({
        "url": url,
        "url_class": "temporary_preview",
        "stable_for_embedding": false,
        "recommended_next_action": "create_alias_or_publish",
    });
    json!({
        "id": preview.id,
        "preview_id": preview.id,
        "sandbox_id": preview.sandbox_id,
        "tenant_id": preview.org,
        "workspace_id": preview.owner.workspace_id,
        "project_id": preview.owner.project_id,
        "owner_id": preview.owner_id,
        "name": preview.name,
        "port": preview.port,
        "visibility": preview.visibility,
        "state": if expired { "expired" } else { "active" },
        "url": url,
        "preview_url": url,
        "url_info": url_info,
        "url_class": "temporary_preview",
        "stable_for_embedding": false,
        "recommended_next_action": "create_alias_or_publish",
        "alias_slug": null,
        "route_status": if expired { "expired" } else { listening.route_status() },
        "ready": !expired && listening == Listening::Yes,
        "expires_at": preview.expires_at,
        "deleted_at": null,
        "share_token_prefix": share.map(|share| &share.prefix),
        "share_token_expires_at": share.map(|share| share.expires_at),
        "metadata": preview.metadata,
        "external_workspace_id": preview.owner.external_workspace_id,
        "external_user_id": preview.owner.external_user_id,
        "external_project_id": preview.owner.external_project_id,
        "created_at": preview.created_at,
        "updated_at": preview.updated_at,
    })
}
