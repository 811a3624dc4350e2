//! The nine ownership selectors (`api-reference`, overview: ownership fields).
//!
//! Here they are read and checked; `platform` finds or makes the workspace and project that they name.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::ApiResult;
use super::validation;

/// Who something is for, as a create body says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selectors {
    /// An existing workspace.
    pub workspace_id: Option<String>,
    /// An existing workspace, or one to make.
    pub workspace_slug: Option<String>,
    /// The display name of one that is made.
    pub workspace_name: Option<String>,
    /// An existing project.
    pub project_id: Option<String>,
    /// An existing project, or one to make.
    pub project_slug: Option<String>,
    /// The display name of one that is made.
    pub project_name: Option<String>,
    /// The caller's own name for a workspace.
    pub external_workspace_id: Option<String>,
    /// The caller's own name for an end user.
    pub external_user_id: Option<String>,
    /// The caller's own name for a project.
    pub external_project_id: Option<String>,
}

/// Who something is for, found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The workspace.
    pub workspace_id: Uuid,
    /// The project.
    pub project_id: Option<Uuid>,
    /// As the selectors said, or as the workspace has it.
    #[serde(default)]
    pub external_workspace_id: Option<String>,
    /// As the selectors said.
    #[serde(default)]
    pub external_user_id: Option<String>,
    /// As the selectors said, or as the project has it.
    #[serde(default)]
    pub external_project_id: Option<String>,
}

impl Selectors {
    /// Checks each field by itself.
    ///
    /// # Errors
    /// 422 naming the first field that is wrong.
    pub fn validate(&self) -> ApiResult<()> {
        for (field, value) in
            [("workspace_slug", &self.workspace_slug), ("project_slug", &self.project_slug)]
        {
            if let Some(value) = value {
                validation::slug(field, value)?;
            }
        }
        for (field, value) in [
            ("workspace_id", &self.workspace_id),
            ("workspace_name", &self.workspace_name),
            ("project_id", &self.project_id),
            ("project_name", &self.project_name),
            ("external_workspace_id", &self.external_workspace_id),
            ("external_user_id", &self.external_user_id),
            ("external_project_id", &self.external_project_id),
        ] {
            if let Some(value) = value {
                validation::text(field, value, 1, 255)?;
            }
        }
        Ok(())
    }
}
