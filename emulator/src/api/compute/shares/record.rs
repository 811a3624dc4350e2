//! What is kept of a visitor's token.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::ownership::Owner;
use crate::store::{Keys, Resource};

/// Which kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Short-lived, for a page that embeds a preview.
    Token,
    /// For people; listed and revoked.
    Share,
}

impl Kind {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Share => "share",
        }
    }

    /// What the token begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Token => "mp_",
            Self::Share => "ms_",
        }
    }

    /// The query parameter that carries it.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Token => "mt",
            Self::Share => "ms",
        }
    }
}

/// What a visitor may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Whatever the application lets them.
    Interact,
}

impl Scope {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Interact => "interact",
        }
    }
}

/// A token without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// Its id; a share's is told.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The sandbox's.
    #[serde(flatten)]
    pub owner: Owner,
    /// Whose previews it opens.
    pub sandbox_id: Uuid,
    /// Which kind it is.
    pub kind: Kind,
    /// What it lets its visitor do.
    pub scope: Scope,
    /// What is kept of it.
    pub fingerprint: String,
    /// When it stops opening anything; `None` lasts as long as the sandbox.
    pub expires_at: Option<Timestamp>,
    /// When it was minted.
    pub created_at: Timestamp,
}

impl Resource for Visitor {
    const KIND: &'static str = "share";
    const PLURAL: &'static str = "shares";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.sandbox_id),
            external: Some(&self.fingerprint),
            state: self.kind.as_str(),
            due_at: self.expires_at,
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}
