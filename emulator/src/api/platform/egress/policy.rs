//! What is kept of a policy, and how it is shown.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;
use crate::machines::HostKind;
use crate::store::{Keys, Resource, StoreError, View};

/// Whether what a policy denies is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is recorded and let through.
    AuditOnly,
    /// It is stopped.
    Enforce,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It may be.
    Allow,
    /// It may not.
    Deny,
}

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id; the one that a sandbox (or the organization) has from the start carries that one's id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace of its sandbox.
    pub workspace: Option<Uuid>,
    /// Its name.
    pub name: String,
    /// The client's own words.
    pub description: Option<String>,
    /// Whether it stops anything.
    pub mode: Mode,
    /// What becomes of hosts that no rule names.
    pub default_effect: Effect,
    /// The sandbox that it is for; `None` is all.
    pub sandbox: Option<Uuid>,
    /// When it was made; one that nobody has changed yet never was.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
}

impl Policy {
    /// The one that everything has from the start: it watches.
    fn initial(id: Uuid, org: Uuid) -> Self {
        Self {
            id,
            org,
            workspace: None,
            name: "default".to_owned(),
            description: None,
            mode: Mode::AuditOnly,
            default_effect: Effect::Deny,
            sandbox: None,
            created_at: None,
            updated_at: None,
        }
    }

    /// The organization's.
    pub fn of_org(org: Uuid) -> Self {
        Self::initial(org, org)
    }

    /// A sandbox's.
    pub fn of_sandbox(sandbox: &Sandbox) -> Self {
        Self {
            workspace: Some(sandbox.owner.workspace_id),
            sandbox: Some(sandbox.id),
            ..Self::initial(sandbox.id, sandbox.org)
        }
    }

    /// As clients read it.
    pub fn show(&self, app: &App) -> Value {
        let (by, reason) = enforcement(app);
        json!({
            "id": self.id,
            "tenant_id": self.org,
            "workspace_id": self.workspace,
            "name": self.name,
            "description": self.description,
            "mode": self.mode,
            "default_effect": self.default_effect,
            "default_action": self.default_effect,
            "resource_type": self.sandbox.map(|_| "sandbox"),
            "resource_id": self.sandbox,
            "enforced": self.mode == Mode::Enforce && by.is_some(),
            "enforcement": { "by": by, "reason": reason },
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

/// What holds sandboxes of this computer to their policies, and why nothing does.
pub fn enforcement(app: &App) -> (Option<&'static str>, Option<&'static str>) {
    match app.machines.host().map(|host| host.kind()) {
        Some(HostKind::Namespace) => (Some("proxy"), None),
        Some(HostKind::Docker) => (
            None,
            Some("Containers connect by themselves; use --machines namespace to enforce policies."),
        ),
        Some(HostKind::Host) => {
            (None, Some("Plain processes of this computer are not held to anything."))
        }
        None => (None, Some("This emulator has no machines.")),
    }
}

impl Resource for Policy {
    const KIND: &'static str = "egress_policy";
    const PLURAL: &'static str = "policies";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: self.workspace,
            parent: self.sandbox,
            name: Some(&self.name),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at.unwrap_or(Timestamp(0))
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at.unwrap_or(Timestamp(0))
    }
}

/// The policies of a sandbox, or of the organization, the newest first: those that were made, else the first one.
///
/// # Errors
/// When the store fails.
pub fn of(
    view: &View<'_>,
    org: Uuid,
    sandbox: Option<&Sandbox>,
) -> Result<Vec<Policy>, StoreError> {
    let kept = super::lists::every::<Policy>(view, org, sandbox.map(|sandbox| sandbox.id))?;
    let mut own: Vec<Policy> = kept
        .into_iter()
        .filter(|policy| policy.sandbox == sandbox.map(|sandbox| sandbox.id))
        .collect();
    if own.is_empty() {
        own.push(sandbox.map_or_else(|| Policy::of_org(org), Policy::of_sandbox));
    }
    Ok(own)
}
