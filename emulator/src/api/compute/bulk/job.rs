//! What is kept and told of a job.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult, Caller};
use crate::store::{Keys, Resource};

/// How many failures are told in full.
const SAMPLES: usize = 10;

/// What is done with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Its processes stand still.
    Pause,
    /// It is brought back.
    Resume,
    /// It is removed.
    Destroy,
}

/// A sandbox with which it could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// As it was named.
    pub id: String,
    /// The code that a request of its own would have answered.
    pub code: String,
    /// Its message.
    pub message: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace to which whoever asked is bound.
    pub workspace: Option<Uuid>,
    /// What is done.
    pub action: Action,
    /// With how many.
    pub total: u32,
    /// With which it is still to be done.
    pub left: Vec<Uuid>,
    /// With how many it was done.
    pub completed: u32,
    /// With how many it could not be.
    pub failed: u32,
    /// The first of those.
    pub failures: Vec<Failure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Job {
    /// One with nothing to do yet.
    pub fn new(id: Uuid, caller: &Caller, action: Action, now: Timestamp) -> Self {
        Self {
            id,
            org: caller.org,
            workspace: caller.bound_workspace,
            action,
            total: 0,
            left: Vec::new(),
            completed: 0,
            failed: 0,
            failures: Vec::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// It is to be done with this one too; once, however often it is named.
    pub fn add(&mut self, sandbox: Uuid) {
        if !self.left.contains(&sandbox) {
            self.left.push(sandbox);
            self.total += 1;
        }
    }

    /// One that was named and cannot be found.
    pub fn fail(&mut self, named: &str, error: &ApiError) {
        self.total += 1;
        self.note(named, error);
    }

    /// It was done with this one, or could not be.
    pub fn tick(&mut self, sandbox: Uuid, outcome: &ApiResult<()>, now: Timestamp) {
        let before = self.left.len();
        self.left.retain(|left| *left != sandbox);
        self.updated_at = now;
        match outcome {
            _ if self.left.len() == before => {}
            Ok(()) => self.completed += 1,
            Err(error) => self.note(&sandbox.to_string(), error),
        }
    }

    fn note(&mut self, named: &str, error: &ApiError) {
        self.failed += 1;
        if self.failures.len() < SAMPLES {
            self.failures.push(Failure {
                id: named.to_owned(),
                code: error.code.name.to_owned(),
                message: error.message.clone(),
            });
        }
    }

    fn state(&self) -> &'static str {
        if self.left.is_empty() {
            "completed"
        } else if self.completed + self.failed == 0 {
            "queued"
        } else {
            "running"
        }
    }

    /// The record (miosa-cli-go).
    pub fn show(&self) -> Value {
        json!({
            "job_id": self.id,
            "id": self.id,
            "action": self.action,
            "state": self.state(),
            "status": self.state(),
            "total": self.total,
            "completed": self.completed,
            "failed": self.failed,
            "failures": self.failures,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for Job {
    const KIND: &'static str = "bulk_job";
    const PLURAL: &'static str = "jobs";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: self.workspace,
            state: self.state(),
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
