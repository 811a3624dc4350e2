//! What clients read of a batch (miosa-cli-go for the counters, one of which really ends in a question mark).

use serde_json::{Value, json};

use super::record::Batch;
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::clock::Timestamp;
use crate::store::{Filter, StoreError, View};

/// What has become of its sandboxes, counted from their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// There, and not failed.
    pub live: u64,
    /// Could not be made, or have failed since.
    pub broken: u64,
}

impl Counts {
    /// Counts.
    ///
    /// # Errors
    /// When the store fails.
    pub fn of(view: &View<'_>, batch: &Batch) -> Result<Self, StoreError> {
        let of = |states: Vec<String>, not_states: Vec<&'static str>| {
            view.count::<Sandbox>(&Filter {
                org: batch.org,
                parent: Some(batch.id),
                states,
                not_states,
                ..Filter::default()
            })
        };
        let (error, destroyed) = (State::Error.as_str(), State::Destroyed.as_str());
        Ok(Self {
            live: of(Vec::new(), vec![error, destroyed])?,
            broken: of(vec![error.to_owned()], Vec::new())?,
        })
    }
}

/// The record.
pub fn show(batch: &Batch, counts: Counts, now: Timestamp) -> Value {
    let cancelled = if batch.status == super::record::Status::Cancelled {
        batch.count - batch.dispatched
    } else {
        0
    };
    let made = u64::from(batch.dispatched - batch.refused);
    let failed = u64::from(batch.refused) + counts.broken;
    let took = batch.settled_at.unwrap_or(now).millis_since(batch.created_at);
    let speed = (batch.succeeded > 0 && took > 0)
        .then(|| (f64::from(batch.succeeded) * 100_000.0 / took as f64).round() / 100.0);
    json!({
        "id": batch.id,
        "batch_id": batch.id,
        "status": batch.status.as_str(),
        "requested": batch.count,
        "requested_count": batch.count,
        "concurrency_limit": batch.concurrency,
        "dispatched": batch.dispatched,
        "pending": batch.count - batch.dispatched - cancelled,
        "succeeded": batch.succeeded,
        "completed_count": batch.succeeded,
        "dispatch_failed": batch.refused,
        "cancelled": cancelled,
        "live_count": counts.live,
        "boot_error_count": counts.broken,
        "destroyed_count": made.saturating_sub(counts.live + counts.broken),
        "failed_total": failed,
        "failed_count": failed,
        "creates_per_second_avg": speed,
        "settled?": batch.settled_at.is_some(),
        "settled": batch.settled_at.is_some(),
        "failure_samples": batch.refusals,
        "name_prefix": batch.name_prefix,
        "workspace_id": batch.owner.workspace_id,
        "project_id": batch.owner.project_id,
        "created_at": batch.created_at,
        "updated_at": batch.updated_at,
        "settled_at": batch.settled_at,
    })
}
