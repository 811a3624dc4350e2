//! What is kept of a sandbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::startup::Startup;
use crate::api::compute::env::Changes;
use crate::api::compute::templates::FromTemplate;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::ownership::Owner;
use crate::machines::{Base, Enforced, HostKind, Shape, templates};
use crate::store::{Keys, Resource};

/// Where a sandbox stands (`develop/sandboxes`; transitional ones: miosa-python 2.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being made.
    Provisioning,
    /// Runs.
    Running,
    /// A snapshot is being sealed.
    Snapshotting,
    /// Being frozen or stopped.
    Pausing,
    /// Frozen, or stopped with its files kept: the API calls both so.
    Paused,
    /// Being brought back.
    Resuming,
    /// Could not be made or brought back; `metadata.last_error.reason` says why.
    Error,
    /// Ended by its timeout: readable, gone otherwise. One removed by DELETE is not there at all.
    Destroyed,
}

impl State {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Running => "running",
            Self::Snapshotting => "snapshotting",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Resuming => "resuming",
            Self::Error => "error",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether something is being done to it, so that nothing else may begin.
    pub fn is_transitional(self) -> bool {
        matches!(self, Self::Provisioning | Self::Snapshotting | Self::Pausing | Self::Resuming)
    }
}

/// Its place in the batch that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The batch.
    pub batch: Uuid,
    /// From 0.
    pub index: u32,
}

/// A sandbox as it is stored. What clients read is made from it by `show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its id, also its machine's.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Workspace, project and external ids.
    #[serde(flatten)]
    pub owner: Owner,
    /// The user that made it.
    pub owner_id: Uuid,
    /// Its name, unique in the organization.
    pub name: Option<String>,
    /// Its slug: the first eight digits of the id unless chosen.
    pub slug: String,
    /// The template, as it was asked for.
    pub template_id: String,
    /// What its files started from.
    pub base: Base,
    /// The snapshot that it was restored to last.
    #[serde(default)]
    pub stands_on: Option<Uuid>,
    /// What it keeps of a template of the organization's own.
    #[serde(default)]
    pub from_template: Option<FromTemplate>,
    /// `xs` to `xl`, or `custom`.
    pub size: String,
    /// What it may use.
    pub shape: Shape,
    /// What the host enforces of that.
    pub enforced: Enforced,
    /// The kind of host that runs it.
    pub host: HostKind,
    /// Where it stands.
    pub state: State,
    /// Whether its processes exist (frozen or not). A stopped one is `paused` without them.
    pub alive: bool,
    /// Pauses instead of ending at its timeout.
    pub persistent: bool,
    /// No timeout and no idle pause.
    pub always_on: bool,
    /// Seconds of life after the last `extend` (or create, or resume).
    pub timeout_sec: u32,
    /// Seconds without activity until it is paused; 0 is never.
    pub idle_timeout_sec: u32,
    /// When its timeout ends it, while it runs.
    pub expires_at: Option<Timestamp>,
    /// The last exec, file write or preview request.
    pub last_activity_at: Timestamp,
    /// Environment of every command in it.
    pub env: BTreeMap<String, String>,
    /// How that differs from what its machine was made with.
    #[serde(default)]
    pub env_changes: Changes,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// The client's own.
    pub tags: Vec<String>,
    /// As asked; one computer has one region.
    pub region: Option<String>,
    /// The operation that changes it now, or did last: start-up tells from it what was torn.
    pub operation: Uuid,
    /// Why it is in `error`.
    pub last_error: Option<String>,
    /// `cold` (from a template), `snapshot` or `fork`.
    pub boot_path: String,
    /// Milliseconds from create to the agent's first answer, measured.
    pub boot_ms: Option<u64>,
    /// Since when it runs without a break.
    pub running_since: Option<Timestamp>,
    /// Milliseconds it ran before that.
    pub ran_ms: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When its machine first started.
    pub started_at: Option<Timestamp>,
    /// When commands could first run.
    pub ready_at: Option<Timestamp>,
    /// When its timeout ended it.
    pub destroyed_at: Option<Timestamp>,
    /// Whether somebody knows of it, because its create was answered before it ran. What nobody knows of is undone when
    /// it cannot be made; what somebody knows of fails and says why.
    #[serde(default)]
    pub told: bool,
    /// What it does by itself once its machine runs.
    #[serde(default)]
    pub startup: Startup,
    /// The batch that made it.
    #[serde(default)]
    pub batch: Option<BatchItem>,
}

impl Sandbox {
    /// Whether commands can run in it. A snapshot is taken of a sandbox that runs or of one that is paused.
    pub fn runs(&self) -> bool {
        match self.state {
            State::Running => true,
            State::Snapshotting => self.running_since.is_some(),
            _ => false,
        }
    }

    /// Whether it runs and its readiness probe, if it has one, has passed.
    pub fn ready(&self) -> bool {
        self.runs() && !self.startup.probing
    }

    /// Where the server of its template usually listens.
    pub fn usual_port(&self) -> Option<u16> {
        match &self.from_template {
            Some(from) => from.preview_port,
            None => templates::find(&self.template_id).and_then(|template| template.preview_port),
        }
    }

    /// The environment of its machine: its own, and what its template says of how commands run.
    pub fn machine_env(&self) -> BTreeMap<String, String> {
        match &self.from_template {
            Some(from) => from.environment(&self.env),
            None => self.env.clone(),
        }
    }

    /// Milliseconds that it has run, up to `now`.
    pub fn runtime_ms(&self, now: Timestamp) -> u64 {
        let since = self.running_since.map_or(0, |since| now.millis_since(since).max(0));
        self.ran_ms.saturating_add(since as u64)
    }

    /// It runs from now on; its timeout begins anew.
    pub fn set_running(&mut self, now: Timestamp) {
        self.state = State::Running;
        self.alive = true;
        self.last_error = None;
        self.running_since = Some(now);
        self.last_activity_at = self.last_activity_at.max(now);
        self.renew(now);
        self.updated_at = now;
    }

    /// It no longer runs.
    pub fn set_stopped(&mut self, state: State, alive: bool, now: Timestamp) {
        self.ran_ms = self.runtime_ms(now);
        self.running_since = None;
        self.state = state;
        self.alive = alive;
        self.expires_at = None;
        self.updated_at = now;
    }

    /// Lets its timeout begin anew.
    pub fn renew(&mut self, now: Timestamp) {
        self.expires_at = (!self.always_on).then(|| now.plus_seconds(i64::from(self.timeout_sec)));
    }
    /// When policy time must look at it: its timeout, or its idle pause.
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.state != State::Running || self.always_on {
            return None;
        }
        let idle = (self.idle_timeout_sec > 0)
            .then(|| self.last_activity_at.plus_seconds(i64::from(self.idle_timeout_sec)));
        match (self.expires_at, idle) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

impl Resource for Sandbox {
    const KIND: &'static str = "sandbox";
    const PLURAL: &'static str = "sandboxes";
    const BY_NAME: bool = true;

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
            parent: self.batch.map(|item| item.batch),
            name: defect!(NameTwice, None, self.name.as_deref()),
            slug: Some(&self.slug),
            state: self.state.as_str(),
            due_at: self.due_at(),
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
