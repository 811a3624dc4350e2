//! What is kept of a project, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::places::Place;
use crate::clock::Timestamp;
use crate::http::{ApiError, codes};
use crate::store::{Keys, Resource};

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    pub workspace_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its slug, unique in the workspace.
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// The client's own.
    pub settings: Map<String, Value>,
    /// The client's own name for the workspace, as it was when the project was made.
    pub external_workspace_id: Option<String>,
    /// The client's own name for it, unique in the workspace.
    pub external_project_id: Option<String>,
    /// Whether it is the one that the workspace uses where none is named.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Project {
    /// An empty one.
    pub(in super::super) fn new(
        id: Uuid,
        org: Uuid,
        workspace_id: Uuid,
        name: &str,
        slug: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            org,
            workspace_id,
            name: name.to_owned(),
            slug: slug.to_owned(),
            description: None,
            metadata: Map::new(),
            settings: Map::new(),
            external_workspace_id: None,
            external_project_id: None,
            is_default: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// What clients read (`api-reference/projects`).
    pub(in super::super) fn show(&self) -> Value {
        json!({
            "id": self.id,
            "tenant_id": self.org,
            "workspace_id": self.workspace_id,
            "external_workspace_id": self.external_workspace_id,
            "external_project_id": self.external_project_id,
            "name": self.name,
            "slug": self.slug,
            "description": self.description,
            "metadata": self.metadata,
            "settings": self.settings,
            "is_default": self.is_default,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for Project {
    const KIND: &'static str = "project";
    const PLURAL: &'static str = "projects";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            project: Some(self.id),
            name: Some(&self.name),
            slug: Some(&self.slug),
            external: self.external_project_id.as_deref(),
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

impl Place for Project {
    const MISSING: codes::Code = codes::PROJECT_NOT_FOUND;

    fn id(&self) -> Uuid {
        self.id
    }

    fn slug(&self) -> &str {
        &self.slug
    }

    fn external(&self) -> Option<&str> {
        self.external_project_id.as_deref()
    }

    fn set_external(&mut self, external: &str, now: Timestamp) {
        self.external_project_id = Some(external.to_owned());
        self.updated_at = now;
    }

    fn taken(&self) -> ApiError {
        ApiError::new(
            codes::NAME_TAKEN,
            format!("There is a project with the slug {:?} in this workspace already.", self.slug),
        )
        .details(json!({ "existing": self.show() }))
    }
}
