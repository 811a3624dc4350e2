//! What is kept of a preview.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Plan;
use crate::api::compute::sandboxes::Sandbox;
use crate::clock::Timestamp;
use crate::http::ownership::Owner;
use crate::ids;
use crate::proxy::ports::Shown;
use crate::store::{Keys, Resource};

/// Who may open a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Whoever can reach the emulator.
    Public,
    /// Who has a share token, or a key of the organization.
    Private,
}

impl Visibility {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// A share token, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// What is kept of it.
    pub fingerprint: String,
    /// Its first letters, for people to tell tokens apart.
    pub prefix: String,
    /// When it stops opening the preview.
    pub expires_at: Timestamp,
}

/// A preview as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Workspace, project and external ids: the sandbox's, unless it was made with others.
    #[serde(flatten)]
    pub owner: Owner,
    /// The user that made it.
    pub owner_id: Uuid,
    /// Whose port.
    pub sandbox_id: Uuid,
    /// The client's own name for it.
    pub name: Option<String>,
    /// The port inside.
    pub port: u16,
    /// Who may open it.
    pub visibility: Visibility,
    /// Its name in addresses.
    pub label: String,
    /// Its loopback port, taken again after a restart where it is free.
    pub loopback_port: Option<u16>,
    /// When it ends; `None` lasts as long as the sandbox.
    pub expires_at: Option<Timestamp>,
    /// Share tokens, the newest last.
    pub shares: Vec<Share>,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Preview {
    /// Whether its time is over.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether this is a share token of it that still opens it.
    pub fn opened_by(&self, token: &str, now: Timestamp) -> bool {
        let fingerprint = ids::fingerprint(token);
        self.shares.iter().any(|share| share.fingerprint == fingerprint && share.expires_at > now)
    }
}

pub(super) fn new(
    id: Uuid,
    sandbox: &Sandbox,
    owner_id: Uuid,
    plan: Plan,
    shown: &Shown,
    now: Timestamp,
) -> Preview {
    let mut owner = sandbox.owner.clone();
    let [workspace, user, project] = plan.external;
    owner.external_workspace_id = workspace.or(owner.external_workspace_id);
    owner.external_user_id = user.or(owner.external_user_id);
    owner.external_project_id = project.or(owner.external_project_id);
    Preview {
        id,
        org: sandbox.org,
        owner,
        owner_id,
        sandbox_id: sandbox.id,
        name: plan.name,
        port: plan.port,
        visibility: plan.visibility,
        label: shown.label.clone(),
        loopback_port: shown.loopback,
        expires_at: plan.ttl.map(|seconds| now.plus_seconds(seconds)),
        shares: Vec::new(),
        metadata: plan.metadata,
        created_at: now,
        updated_at: now,
    }
}

impl Resource for Preview {
    const KIND: &'static str = "preview";
    const PLURAL: &'static str = "previews";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.sandbox_id),
            name: self.name.as_deref(),
            state: "active",
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
