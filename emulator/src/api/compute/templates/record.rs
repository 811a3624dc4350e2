//! What is kept of a template of an organization.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::spec::Spec;
use crate::clock::Timestamp;
use crate::store::{Keys, Resource};

/// Where a template stands (miosa-cli). Built-in ones are `active`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No build of it has succeeded or failed yet.
    Draft,
    /// Sandboxes can start from it.
    Ready,
    /// Its only builds have failed.
    Failed,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// The build whose image sandboxes start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The build.
    pub build: Uuid,
    /// Its number among the template's builds.
    pub number: u32,
    /// The sealed files.
    pub image: Uuid,
}

/// A template as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace in which it was made: who is bound to another does not see it.
    pub workspace_id: Uuid,
    /// Display name.
    pub name: String,
    /// Unique in the organization, and no built-in template's name.
    pub slug: String,
    /// The client's own words.
    pub description: Option<String>,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// Where it stands.
    pub status: Status,
    /// What it is made from: the live build's, or as it was given while there is none.
    pub spec: Spec,
    /// The build whose image sandboxes start from.
    pub live: Option<Live>,
    /// The newest build.
    pub latest: Option<Uuid>,
    /// How many builds there have been.
    pub builds: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Template {
    /// The name of a build's image, as records show it.
    pub fn image_id(slug: &str, number: u32) -> String {
        format!("sbxtpl-{slug}-{number:02}")
    }
}

impl Resource for Template {
    const KIND: &'static str = "template";
    const PLURAL: &'static str = "templates";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            name: Some(&self.name),
            slug: Some(&self.slug),
            state: self.status.as_str(),
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
