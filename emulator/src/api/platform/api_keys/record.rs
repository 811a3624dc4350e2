//! What is kept of a key, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::networks::Network;
use crate::store::{Keys, Resource};

/// The role of a key (`api-reference/authentication`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// `msk_u_…`
    #[default]
    User,
    /// `msk_a_…`
    Admin,
    /// `msk_p_…`
    Platform,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Its name.
    pub name: String,
    /// Its role.
    pub key_type: KeyType,
    /// What it is for, as the client said.
    pub purpose: String,
    /// The fingerprint of its secret.
    pub fingerprint: String,
    /// The secret's first twelve letters.
    pub prefix: String,
    /// The secret's last four.
    pub last_four: String,
    /// What it may do; `None` is everything.
    pub scopes: Option<Vec<String>>,
    /// The workspace that it is bound to.
    pub workspace_id: Option<Uuid>,
    /// The end user that it was made for.
    pub external_user_id: Option<String>,
    /// Requests a minute, beside the workspace's limit.
    pub rate_limit_rpm: Option<u32>,
    /// Where it may be used from; empty is anywhere.
    #[serde(default)]
    pub allowed_ips: Vec<Network>,
    /// Whether it was switched off.
    #[serde(default)]
    pub inactive: bool,
    /// The service account that it is a key of.
    #[serde(default)]
    pub service_account_id: Option<Uuid>,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ApiKey {
    /// What clients read (`api-reference/authentication`; miosa-cli-go). Never the secret.
    pub(in super::super) fn show(&self, now: Timestamp) -> Value {
        let expired = self.expires_at.is_some_and(|at| at <= now);
        let status = match (self.inactive, expired) {
            (true, _) => "inactive",
            (false, true) => "expired",
            (false, false) => "active",
        };
        json!({
            "id": self.id,
            "tenant_id": self.org,
            "name": self.name,
            "key_type": self.key_type,
            "key_purpose": self.purpose,
            "prefix": self.prefix,
            "key_prefix": self.prefix,
            "last_four": self.last_four,
            "scopes": self.scopes.as_deref().unwrap_or_default(),
            "unrestricted": self.scopes.is_none(),
            "workspace_id": self.workspace_id,
            "external_user_id": self.external_user_id,
            "rate_limit_rpm": self.rate_limit_rpm,
            "allowed_ips": self.allowed_ips,
            "service_account_id": self.service_account_id,
            "metadata": self.metadata,
            "status": status,
            "expires_at": self.expires_at,
            "last_used_at": self.last_used_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for ApiKey {
    const KIND: &'static str = "api_key";
    const PLURAL: &'static str = "api_keys";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: self.workspace_id,
            parent: self.service_account_id,
            name: Some(&self.name),
            external: Some(&self.fingerprint),
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

/// The fingerprint of a secret that no longer counts, so that its next use is told why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetiredKey {
    /// Its own id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The key that it was the secret of.
    pub key_id: Uuid,
    /// The fingerprint.
    pub fingerprint: String,
    /// When it was revoked or rotated away.
    pub at: Timestamp,
}

impl Resource for RetiredKey {
    const KIND: &'static str = "retired_key";
    const PLURAL: &'static str = "retired_keys";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            parent: Some(self.key_id),
            external: Some(&self.fingerprint),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.at
    }

    fn updated_at(&self) -> Timestamp {
        self.at
    }
}
