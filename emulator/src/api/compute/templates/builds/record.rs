//! What is kept of a build, and what clients read of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::compute::templates::Template;
use crate::api::compute::templates::spec::Spec;
use crate::clock::Timestamp;
use crate::store::{Keys, Resource};

/// Where a build stands (`api-reference/sandbox-templates`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// Its steps run.
    Building,
    /// Whether it works is being tried.
    Certifying,
    /// Its files are being sealed.
    Snapshotting,
    /// Sandboxes can start from it.
    Ready,
    /// It did not come to its end.
    Failed,
    /// The emulator was stopped while it ran.
    Cancelled,
}

impl State {
    /// Those after which nothing comes.
    pub const ENDED: [Self; 3] = [Self::Ready, Self::Failed, Self::Cancelled];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Certifying => "certifying",
            Self::Snapshotting => "snapshotting",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes after it.
    pub fn ended(self) -> bool {
        Self::ENDED.contains(&self)
    }

    /// Whether it has a machine.
    pub fn runs(self) -> bool {
        matches!(self, Self::Building | Self::Certifying | Self::Snapshotting)
    }
}

/// Why a build has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code: `BUILD_STEP_FAILED` and the like.
    pub code: String,
    /// The reason in words.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// When a build came to a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The state.
    pub event: State,
    /// When.
    pub at: Timestamp,
}

/// A build as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its id, also its machine's.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// As the template's.
    pub workspace_id: Uuid,
    /// The template.
    pub template_id: Uuid,
    /// The template's slug, for the name of the image.
    pub slug: String,
    /// Which of the template's builds it is, from 1.
    pub number: u32,
    /// Where it stands.
    pub state: State,
    /// What it works from.
    pub spec: Spec,
    /// The client's own.
    pub metadata: Map<String, Value>,
    /// The states that it has passed through.
    pub passed: Vec<Passed>,
    /// Why it has failed.
    pub error: Option<Failure>,
    /// How it was tried out.
    pub certification: Option<Value>,
    /// The sealed files, while they are kept.
    pub image: Option<Uuid>,
    /// Bytes that they add to what the build started from.
    pub size_bytes: Option<u64>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When its turn came.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it took, measured.
    pub duration_ms: Option<u64>,
}

impl Build {
    /// It comes to a state.
    pub fn pass(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.passed.push(Passed { event: state, at: now });
        self.updated_at = now;
        if state.ended() {
            self.finished_at = Some(now);
        }
    }

    /// The name of its image; there is none while it is not ready, or no longer kept.
    pub fn image_id(&self) -> Option<String> {
        self.image.map(|_| Template::image_id(&self.slug, self.number))
    }

    /// As clients read it (miosa-cli; miosa-go 2.0 reads `template_id`, `status`, `error` and `created_at`).
    pub fn show(&self) -> Value {
        let mut metadata = self.metadata.clone();
        metadata.insert("events".to_owned(), json!(self.passed));
        let error = self.error.as_ref();
        let message = error.map(|error| &error.message);
        json!({
            "id": self.id,
            "sandbox_template_id": self.template_id,
            "template_id": self.template_id,
            "version": self.number,
            "source_type": "build_spec",
            "state": self.state,
            "status": self.state,
            "image_id": self.image_id(),
            "rootfs_path": null,
            "snapshot_manifest": self.image.map(|_| json!({ "size_bytes": self.size_bytes })),
            "log_url": format!("/api/v1/sandbox-template-builds/{}/logs", self.id),
            "error_code": error.map(|error| &error.code),
            "error_message": message,
            "error": message,
            "metadata": metadata,
            "certification": self.certification,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "duration_ms": self.duration_ms,
            "build_spec": self.spec,
            "tenant_id": self.org,
            "workspace_id": self.workspace_id,
            "inserted_at": self.created_at,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

impl Resource for Build {
    const KIND: &'static str = "template_build";
    const PLURAL: &'static str = "builds";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: Some(self.workspace_id),
            parent: Some(self.template_id),
            state: self.state.as_str(),
            // One that waits is due since it was asked for: so the queue finds the next.
            due_at: (self.state == State::Queued).then_some(self.created_at),
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
