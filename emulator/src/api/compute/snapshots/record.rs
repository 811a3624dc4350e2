//! What is kept of a snapshot.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::source::Source;
use crate::clock::Timestamp;
use crate::http::ownership::Owner;
use crate::store::{Keys, Resource};

/// Where a snapshot stands (miosa-python 2.19; those that only an asynchronous service shows are left out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being made.
    Creating,
    /// Can be restored.
    Ready,
    /// Could not be made; `error` says why.
    Failed,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// What the store calls one that a name keeps: lists of the history leave it out.
pub const PINNED: &str = "named";

/// A snapshot as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, also that of the sealed files.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// As its sandbox's.
    #[serde(flatten)]
    pub owner: Owner,
    /// The sandbox whose files it holds.
    pub sandbox_id: Uuid,
    /// That sandbox's name and id, which a search looks at beside the comment.
    #[serde(default)]
    pub found_by: String,
    /// What the sandbox was like: another can be made when it is gone.
    #[serde(default)]
    pub source: Option<Source>,
    /// The snapshot that its sandbox stood on.
    #[serde(default)]
    pub parent_snapshot_id: Option<Uuid>,
    /// Whether a name keeps it: then it is in no history, and retention passes it by.
    #[serde(default)]
    pub pinned: bool,
    /// Where it stands.
    pub status: Status,
    /// The client's own words.
    pub comment: Option<String>,
    /// Never removed by retention.
    pub keep: bool,
    /// Seconds after which it is removed.
    pub retention_seconds: Option<u64>,
    /// When it was last restored.
    pub last_used_at: Option<Timestamp>,
    /// When retention removes it.
    pub expires_at: Option<Timestamp>,
    /// Bytes that it adds to what it is based on; known when it is ready.
    pub size_bytes: Option<u64>,
    /// The operation that made it: start-up tells from it what was torn.
    pub operation: Uuid,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Snapshot {
    /// The machine that it is of (miosa-python 2.19, snapshot history).
    pub fn resource(&self) -> Value {
        let name = self.source.as_ref().and_then(|source| source.name.as_deref());
        json!({ "type": "sandbox", "id": self.sandbox_id, "name": name })
    }

    /// As clients read it.
    pub fn show(&self) -> Value {
        json!({
            "id": self.id,
            "snapshot_id": self.id,
            "sandbox_id": self.sandbox_id,
            "status": self.status,
            "comment": self.comment,
            "keep": self.keep,
            "retention_seconds": self.retention_seconds,
            "size_bytes": self.size_bytes,
            "parent_snapshot_id": self.parent_snapshot_id,
            "workspace_id": self.owner.workspace_id,
            "project_id": self.owner.project_id,
            "external_workspace_id": self.owner.external_workspace_id,
            "external_user_id": self.owner.external_user_id,
            "external_project_id": self.owner.external_project_id,
            "resource": self.resource(),
            "error": self.error,
            "last_used_at": self.last_used_at,
            "expires_at": self.expires_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for Snapshot {
    const KIND: &'static str = "snapshot";
    const PLURAL: &'static str = "snapshots";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.sandbox_id),
            // What a search looks at beside the id.
            name: self.comment.as_deref(),
            slug: Some(&self.found_by),
            state: if self.pinned { PINNED } else { self.status.as_str() },
            // One that is being made is looked at when it is made.
            due_at: self.expires_at.filter(|_| self.status != Status::Creating && !self.pinned),
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}
