//! What is kept of a rule, and how it is shown.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::policy::Effect;
use crate::clock::Timestamp;
use crate::store::{Keys, Resource};

/// A rule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace of its sandbox.
    pub workspace: Option<Uuid>,
    /// What it names, as the client wrote it.
    pub host: String,
    /// What becomes of connections there.
    pub effect: Effect,
    /// Which methods it was meant for.
    pub methods: Vec<String>,
    /// Which paths it was meant for.
    pub path_glob: Option<String>,
    /// The policy that it belongs to.
    pub policy_id: Option<Uuid>,
    /// The sandbox that it is for; `None` is all.
    pub sandbox: Option<Uuid>,
    /// The client's own words.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Rule {
    /// As clients read it. Connections are judged by their host: most are encrypted, so that method and path cannot be
    /// seen, and the record says so.
    pub fn show(&self) -> Value {
        let mut unenforced = Vec::new();
        if !self.methods.is_empty() {
            unenforced.push("methods");
        }
        if self.path_glob.is_some() {
            unenforced.push("path_glob");
        }
        json!({
            "id": self.id,
            "tenant_id": self.org,
            "workspace_id": self.workspace,
            "host": self.host,
            "effect": self.effect,
            "methods": self.methods,
            "path_glob": self.path_glob,
            "unenforced": unenforced,
            "policy_id": self.policy_id,
            "resource_type": self.sandbox.map(|_| "sandbox"),
            "resource_id": self.sandbox,
            "note": self.note,
            "created_at": self.created_at,
            "updated_at": self.created_at,
        })
    }
}

impl Resource for Rule {
    const KIND: &'static str = "egress_rule";
    const PLURAL: &'static str = "rules";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: self.workspace,
            parent: self.sandbox,
            state: "active",
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
