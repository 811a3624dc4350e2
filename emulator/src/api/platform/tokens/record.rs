//! What is kept of a token: everything but the token.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::{Keys, Resource};

/// A token that was signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScopedToken {
    /// Its id, also in the token (`jti`).
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace that it is bound to.
    pub workspace_id: Uuid,
    /// The end user that it was made for: the client's own name.
    pub user_id: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was ended before.
    pub revoked: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ScopedToken {
    /// What clients read.
    pub(super) fn show(&self, now: Timestamp) -> Value {
        let status = match (self.revoked, self.expires_at <= now) {
            (true, _) => "revoked",
            (false, true) => "expired",
            (false, false) => "active",
        };
        json!({
            "id": self.id,
            "user_id": self.user_id,
            "workspace_id": self.workspace_id,
            "scopes": self.scopes,
            "status": status,
            "expires_at": self.expires_at,
            "created_at": self.created_at,
        })
    }
}

impl Resource for ScopedToken {
    const KIND: &'static str = "scoped_token";
    const PLURAL: &'static str = "tokens";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            state: if self.revoked { "revoked" } else { "active" },
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
