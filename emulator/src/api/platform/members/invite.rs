//! What is kept of an invite, and what clients read of it. Of its token only a fingerprint is kept.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Role;
use crate::clock::Timestamp;
use crate::store::{Keys, Resource};

/// An invite to a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    pub workspace_id: Uuid,
    /// Whom it is for, in lower case.
    pub email: String,
    /// What they will be.
    pub role: Role,
    /// The fingerprint of its token.
    pub fingerprint: String,
    /// Who sent it.
    pub invited_by: Uuid,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Invite {
    /// Whether it can be accepted no more because its time is over.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// What clients read. Never the token.
    pub(super) fn show(&self, now: Timestamp) -> Value {
        json!({
            "id": self.id,
            "invite_id": self.id,
            "workspace_id": self.workspace_id,
            "tenant_id": self.org,
            "email": self.email,
            "role": self.role,
            "invited_by": self.invited_by,
            "status": self.status(),
            "expired": self.is_expired(now),
            "expires_at": self.expires_at,
            "accepted_at": self.accepted_at,
            "revoked_at": self.revoked_at,
            "inserted_at": self.created_at,
            "created_at": self.created_at,
        })
    }

    fn status(&self) -> &'static str {
        match (self.accepted_at, self.revoked_at) {
            (Some(_), _) => "accepted",
            (None, Some(_)) => "revoked",
            (None, None) => "pending",
        }
    }
}

impl Resource for Invite {
    const KIND: &'static str = "workspace_invite";
    const PLURAL: &'static str = "invites";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            parent: Some(self.workspace_id),
            external: Some(&self.fingerprint),
            state: self.status(),
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
