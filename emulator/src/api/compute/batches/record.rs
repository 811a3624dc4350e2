//! What is kept of a batch.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::ApiError;
use crate::http::ownership::Owner;
use crate::machines::Base;
use crate::store::{Keys, Resource};

/// How many failures are told in full.
const SAMPLES: usize = 10;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing has begun.
    Pending,
    /// Its sandboxes are being made.
    Running,
    /// Every one was tried, and at least one runs.
    Completed,
    /// Every one was tried, none runs.
    Failed,
    /// Somebody has had enough.
    Cancelled,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will begin.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A create that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which, from 0.
    pub batch_item_index: u32,
    /// The code that a create of its own would have answered.
    pub code: String,
    /// Its message.
    pub message: String,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// Of every sandbox in it.
    #[serde(flatten)]
    pub owner: Owner,
    /// Who asked for it.
    pub owner_id: Uuid,
    /// The body of each create.
    pub create: Map<String, Value>,
    /// What they start from, when that is a snapshot.
    pub base: Option<Base>,
    /// They are called `<prefix>-1` and so on.
    pub name_prefix: Option<String>,
    /// How many.
    pub count: u32,
    /// How many at once.
    pub concurrency: u32,
    /// Where it stands.
    pub status: Status,
    /// How many have begun.
    pub dispatched: u32,
    /// How many of those were refused, so that there is no sandbox.
    pub refused: u32,
    /// How many came to run.
    pub succeeded: u32,
    /// The first refusals.
    pub refusals: Vec<Refusal>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When nothing of it was under way any more.
    pub settled_at: Option<Timestamp>,
}

impl Batch {
    /// The number of the next sandbox, unless there is none.
    pub fn next(&self) -> Option<u32> {
        (!self.status.is_final() && self.dispatched < self.count).then_some(self.dispatched)
    }

    /// A create was refused.
    pub fn refuse(&mut self, index: u32, error: &ApiError) {
        self.refused += 1;
        if self.refusals.len() < SAMPLES {
            self.refusals.push(Refusal {
                batch_item_index: index,
                code: error.code.name.to_owned(),
                message: error.message.clone(),
            });
        }
    }

    /// Nothing of it is under way any more.
    pub fn settle(&mut self, now: Timestamp) {
        if !self.status.is_final() {
            self.status = if self.succeeded > 0 { Status::Completed } else { Status::Failed };
        }
        self.settled_at = Some(now);
        self.updated_at = now;
    }
}

impl Resource for Batch {
    const KIND: &'static str = "sandbox_batch";
    const PLURAL: &'static str = "batches";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.owner.workspace_id),
            project: self.owner.project_id,
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
