//! What is kept of a membership, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::User;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};
use crate::ids;
use crate::store::{Keys, Resource};

/// What somebody is in a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// There is always one.
    Owner,
    /// Manages it.
    Admin,
    /// Works in it.
    #[default]
    Member,
    /// Looks at it.
    Viewer,
}

impl Role {
    /// The role that a body names; `member` where it names none.
    ///
    /// # Errors
    /// 422 for a word that is no role.
    pub(super) fn named(name: Option<&str>) -> ApiResult<Self> {
        match name {
            Some("owner") => Ok(Self::Owner),
            Some("admin") => Ok(Self::Admin),
            // The older word, which examples of miosa-python 2.19 still have.
            Some("member" | "developer") | None => Ok(Self::Member),
            Some("viewer") => Ok(Self::Viewer),
            Some(_) => Err(ApiError::field("role", "must be owner, admin, member or viewer")),
        }
    }
}

/// Somebody's place in a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Follows from workspace and person, so that nobody is in it twice.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    pub workspace_id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// What they are.
    pub role: Role,
    /// Who took them in; null for who founded it.
    pub added_by: Option<Uuid>,
    /// Since when.
    pub joined_at: Timestamp,
    /// When the role was last changed.
    pub updated_at: Timestamp,
}

impl Member {
    /// The id of a person's place in a workspace.
    pub(super) fn id_of(workspace: Uuid, user: Uuid) -> Uuid {
        ids::derived(&format!("member:{workspace}:{user}"))
    }

    /// What clients read.
    pub(super) fn show(&self, user: Option<&User>) -> Value {
        json!({
            "id": self.id,
            "user_id": self.user_id,
            "workspace_id": self.workspace_id,
            "tenant_id": self.org,
            "email": user.map(|user| &user.email),
            "name": user.and_then(|user| user.name.as_ref()),
            "avatar_url": null,
            "role": self.role,
            "joined_at": self.joined_at,
            "added_by": self.added_by,
        })
    }
}

impl Resource for Member {
    const KIND: &'static str = "workspace_member";
    const PLURAL: &'static str = "members";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            parent: Some(self.workspace_id),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.joined_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}
