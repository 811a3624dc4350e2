//! Organizations: who owns everything else (`tenant` in older clients).
//!
//! Any key acts in the default one. A test key has one of its own, so that tests that run in parallel never see each
//! other. Ids of organizations and of what they start with follow from their name, so that a client that has noted
//! one finds it again in a fresh emulator.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::projects::Project;
use super::workspaces::Workspace;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};
use crate::ids;
use crate::store::{Keys, Resource, Tx};

/// An organization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: Uuid,
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its plan: nothing is billed, so it is the emulator's own.
    pub plan: String,
    /// Where what names no workspace goes.
    pub default_workspace_id: Uuid,
    /// The user that keys act for.
    pub owner_user_id: Uuid,
    /// The fingerprint of the test key that it was made for.
    pub key_fingerprint: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Resource for Organization {
    const KIND: &'static str = "organization";
    const PLURAL: &'static str = "organizations";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.id,
            name: Some(&self.name),
            slug: Some(&self.slug),
            external: self.key_fingerprint.as_deref(),
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

/// The default organization.
pub fn default_id() -> Uuid {
    static ID: LazyLock<Uuid> = LazyLock::new(|| ids::derived("organization:default"));
    *ID
}

/// Every organization.
///
/// # Errors
/// When the store fails.
pub async fn all_ids(app: &App) -> ApiResult<Vec<Uuid>> {
    app.store
        .read(|view| {
            let all = view.all::<Organization>()?;
            Ok::<_, ApiError>(all.into_iter().map(|organization| organization.id).collect())
        })
        .await
}

/// The workspace that an organization starts with.
pub(super) fn default_workspace(org: Uuid) -> Uuid {
    ids::derived(&format!("workspace:default:{org}"))
}

/// The user that keys of an organization act for.
pub(super) fn owner(org: Uuid) -> Uuid {
    ids::derived(&format!("user:owner:{org}"))
}

/// An organization to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct New {
    pub(super) id: Uuid,
    slug: String,
    name: String,
    key_fingerprint: Option<String>,
}

impl New {
    /// The one that any key acts in.
    pub(super) fn default_one() -> Self {
        Self {
            id: default_id(),
            slug: "default".into(),
            name: "Default".into(),
            key_fingerprint: None,
        }
    }

    /// The one of a test key.
    pub(super) fn of_test_key(fingerprint: &str) -> Self {
        let short = fingerprint.get(..12).unwrap_or(fingerprint);
        Self {
            id: ids::derived(&format!("organization:key:{fingerprint}")),
            slug: format!("test-{short}"),
            name: format!("Test {short}"),
            key_fingerprint: Some(fingerprint.to_owned()),
        }
    }

    /// One that a client names by its id.
    pub(super) fn of_id(id: Uuid) -> Self {
        let simple = id.simple().to_string();
        Self { id, slug: format!("org-{simple}"), name: id.to_string(), key_fingerprint: None }
    }

    /// One that a client names by its slug.
    pub(super) fn of_slug(slug: &str) -> Self {
        Self {
            id: ids::derived(&format!("organization:slug:{slug}")),
            slug: slug.to_owned(),
            name: slug.to_owned(),
            key_fingerprint: None,
        }
    }
}

/// The organization, made now when it is not there.
pub(super) fn ensure(tx: &Tx<'_>, app: &App, new: New) -> ApiResult<Organization> {
    if let Some(known) = tx.get_any::<Organization>(new.id)? {
        return Ok(known);
    }
    let now = app.clock.now(new.id);
    let made = Organization {
        id: new.id,
        slug: new.slug,
        name: new.name,
        plan: "local".into(),
        default_workspace_id: default_workspace(new.id),
        owner_user_id: owner(new.id),
        key_fingerprint: new.key_fingerprint,
        created_at: now,
        updated_at: now,
    };
    tx.insert(&made)?;
    furnish(tx, app, made.id)?;
    Ok(made)
}

/// Makes the workspace and project that an organization starts with.
pub(super) fn furnish(tx: &Tx<'_>, app: &App, org: Uuid) -> ApiResult<()> {
    let now = app.clock.now(org);
    let workspace = default_workspace(org);
    let project = Project {
        is_default: true,
        ..Project::new(
            ids::derived(&format!("project:default:{org}")),
            org,
            workspace,
            "Default",
            "default",
            now,
        )
    };
    tx.insert(&Workspace {
        is_default: true,
        default_project_id: Some(project.id),
        ..Workspace::new(workspace, org, "Default", "default", now)
    })?;
    Ok(tx.insert(&project)?)
}
