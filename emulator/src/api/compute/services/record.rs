//! What is kept of a service.

use std::collections::BTreeMap;

use miosa_agent::protocol::jobs::Restart;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::request::Wanted;
use crate::api::compute::sandboxes::Sandbox;
use crate::clock::Timestamp;
use crate::http::ownership::Owner;
use crate::store::{Keys, Resource};

/// A service as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Workspace, project and external ids: the sandbox's.
    #[serde(flatten)]
    pub owner: Owner,
    /// In which sandbox.
    pub sandbox_id: Uuid,
    /// Its name, unique in the sandbox.
    pub name: String,
    /// A line for the shell.
    pub command: String,
    /// As asked.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: BTreeMap<String, String>,
    /// When it is started again.
    pub restart: Restart,
    /// The port that it serves, as the client says.
    pub port: Option<u16>,
    /// Whether it shall run.
    pub wanted: bool,
    /// Why it could not be started when its machine was.
    pub trouble: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the row was last changed.
    pub updated_at: Timestamp,
}

impl Service {
    /// What the agent knows it by.
    pub fn job(&self) -> String {
        format!("service/{}", self.id)
    }
}

/// A service that shall run.
pub fn new(id: Uuid, sandbox: &Sandbox, wanted: Wanted, now: Timestamp) -> Service {
    let Wanted { name, command, cwd, env, restart, port } = wanted;
    Service {
        id,
        org: sandbox.org,
        owner: sandbox.owner.clone(),
        sandbox_id: sandbox.id,
        name,
        command,
        cwd,
        env,
        restart,
        port,
        wanted: true,
        trouble: None,
        created_at: now,
        updated_at: now,
    }
}

impl Resource for Service {
    const KIND: &'static str = "service";
    const PLURAL: &'static str = "services";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: Some(self.sandbox_id),
            name: Some(&self.name),
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
