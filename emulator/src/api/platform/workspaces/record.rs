//! What is kept of a workspace, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::places::Place;
use super::settings::Settings;
use crate::clock::Timestamp;
use crate::http::{ApiError, codes};
use crate::store::{Keys, Resource};

/// A workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Its name.
    pub name: String,
    /// Its slug, unique in the organization.
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// The client's own name for it, unique in the organization.
    pub external_workspace_id: Option<String>,
    /// The client's own name for who uses it.
    pub external_user_id: Option<String>,
    /// Whether it is the one that the organization starts with.
    pub is_default: bool,
    /// Where what names no project goes; made when first needed.
    pub default_project_id: Option<Uuid>,
    /// What it may use.
    #[serde(default)]
    pub settings: Settings,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Workspace {
    /// An empty one.
    pub(in super::super) fn new(
        id: Uuid,
        org: Uuid,
        name: &str,
        slug: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            org,
            name: name.to_owned(),
            slug: slug.to_owned(),
            description: None,
            metadata: Map::new(),
            external_workspace_id: None,
            external_user_id: None,
            is_default: false,
            default_project_id: None,
            settings: Settings::default(),
            created_at: now,
            updated_at: now,
        }
    }

    /// What clients read (`api-reference/workspaces`; miosa-python 2.19).
    pub(in super::super) fn show(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "slug": self.slug,
            "tenant_id": self.org,
            "description": self.description,
            "metadata": self.metadata,
            "external_workspace_id": self.external_workspace_id,
            "external_user_id": self.external_user_id,
            "is_default": self.is_default,
            "settings": self.settings,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for Workspace {
    const KIND: &'static str = "workspace";
    const PLURAL: &'static str = "workspaces";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            // Itself, so that a filter by workspace holds for workspaces too.
            workspace: Some(self.id),
            name: Some(&self.name),
            slug: Some(&self.slug),
            external: self.external_workspace_id.as_deref(),
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

impl Place for Workspace {
    const MISSING: codes::Code = codes::WORKSPACE_NOT_FOUND;

    fn id(&self) -> Uuid {
        self.id
    }

    fn slug(&self) -> &str {
        &self.slug
    }

    fn external(&self) -> Option<&str> {
        self.external_workspace_id.as_deref()
    }

    fn set_external(&mut self, external: &str, now: Timestamp) {
        self.external_workspace_id = Some(external.to_owned());
        self.updated_at = now;
    }

    fn taken(&self) -> ApiError {
        ApiError::new(
            codes::WORKSPACE_NAME_EXISTS,
            format!(
                "There is a workspace {:?} (slug {:?}) already. Use it, or send allow_duplicate_name.",
                self.name, self.slug
            ),
        )
        .details(json!({ "existing": self.show() }))
    }
}
