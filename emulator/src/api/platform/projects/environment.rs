//! What is kept of a project's environment, and what clients read of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Project;
use super::variable::Variable;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};
use crate::store::{Filter, Keys, Resource, Tx, View};

/// An environment: what the services of a project share in one of its lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    pub workspace_id: Uuid,
    /// The project.
    pub project_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its slug, unique in the project.
    pub slug: String,
    /// What it is for: `production`, or as the client said.
    pub kind: String,
    /// Whether it is meant where none is named. It stays as long as the project.
    pub is_default: bool,
    /// What its services share.
    pub variables: BTreeMap<String, Variable>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Environment {
    /// An empty one.
    pub(super) fn new(id: Uuid, project: &Project, name: &str, slug: &str, now: Timestamp) -> Self {
        Self {
            id,
            org: project.org,
            workspace_id: project.workspace_id,
            project_id: project.id,
            name: name.to_owned(),
            slug: slug.to_owned(),
            kind: "custom".to_owned(),
            is_default: false,
            variables: BTreeMap::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// What clients read. Variables have a list of their own.
    pub(super) fn show(&self) -> Value {
        json!({
            "id": self.id,
            "project_id": self.project_id,
            "workspace_id": self.workspace_id,
            "tenant_id": self.org,
            "name": self.name,
            "slug": self.slug,
            "kind": self.kind,
            "is_default": self.is_default,
            "variable_count": self.variables.len(),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    /// The one that the project starts with (miosa-python 2.19: the first read creates `production`).
    pub(super) fn ensure_default(tx: &Tx<'_>, app: &App, project: &Project) -> ApiResult<Self> {
        if let Some(known) = Self::default_of(tx, project)? {
            return Ok(known);
        }
        let now = app.clock.now(project.org);
        let made = Self {
            kind: "production".to_owned(),
            is_default: true,
            ..Self::new(app.ids.next(), project, "production", "production", now)
        };
        tx.insert(&made)?;
        Ok(made)
    }

    /// The default one, where it is there.
    pub(super) fn default_of(view: &View<'_>, project: &Project) -> ApiResult<Option<Self>> {
        let all = view.every::<Self>(&of(project))?;
        Ok(all.into_iter().find(|environment| environment.is_default))
    }

    /// The one that is named by its id, slug or name; the default one where none is.
    ///
    /// # Errors
    /// 404.
    pub(super) fn named(
        tx: &Tx<'_>,
        app: &App,
        project: &Project,
        named: Option<&str>,
    ) -> ApiResult<Self> {
        let default = Self::ensure_default(tx, app, project)?;
        let Some(named) = named.filter(|named| !named.is_empty()) else { return Ok(default) };
        let all = tx.every::<Self>(&of(project))?;
        let is_meant = |environment: &Self| {
            environment.slug == named
                || environment.name == named
                || Uuid::parse_str(named).is_ok_and(|id| id == environment.id)
        };
        all.into_iter().find(is_meant).ok_or_else(|| ApiError::not_found("environment", named))
    }
}

/// The environments of a project.
pub(super) fn of(project: &Project) -> Filter {
    Filter { org: project.org, parent: Some(project.id), ..Filter::default() }
}

impl Resource for Environment {
    const KIND: &'static str = "project_environment";
    const PLURAL: &'static str = "environments";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            project: Some(self.project_id),
            parent: Some(self.project_id),
            name: Some(&self.name),
            slug: Some(&self.slug),
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
