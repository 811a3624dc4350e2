//! Making a snapshot: the intent, the deed, the outcome.

use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

use super::{Snapshot, Status, check_state, emit};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped, validation};
use crate::machines::MachineError;

/// Ten years.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Create {
    comment: Option<String>,
    /// The comment, miosa-elixir 1.1.
    name: Option<String>,
    /// The comment, miosa-elixir 1.1.
    description: Option<String>,
    keep: Option<bool>,
    retention_seconds: Option<u64>,
    /// The same, miosa-go 2.0.
    expiration_seconds: Option<u64>,
    /// The same, miosa-go 2.0.
    expiration_days: Option<u64>,
}

impl Create {
    fn retention(&self) -> ApiResult<Option<u64>> {
        let mut retention = None;
        for (field, value, unit) in [
            ("retention_seconds", self.retention_seconds, 1),
            ("expiration_seconds", self.expiration_seconds, 1),
            ("expiration_days", self.expiration_days, 24 * 60 * 60),
        ] {
            let Some(value) = value else { continue };
            let seconds = value.saturating_mul(unit);
            if seconds == 0 || seconds > LONGEST {
                return Err(ApiError::field(field, "must be at least 1 and at most ten years"));
            }
            if retention.is_some_and(|other| other != seconds) {
                return Err(ApiError::field(field, "contradicts another retention in the body"));
            }
            retention = Some(seconds);
        }
        Ok(retention)
    }

    fn comment(self) -> ApiResult<Option<String>> {
        let comment = self.comment.or(self.name).or(self.description);
        if let Some(comment) = &comment {
            validation::text("comment", comment, 0, 500)?;
        }
        Ok(comment)
    }
}

/// `POST /sandboxes/{id}/snapshots`.
pub(super) async fn create(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    let keep = body.keep.unwrap_or(false);
    let retention_seconds = body.retention()?;
    let now = app.clock.now(sandbox.org);
    let expires_at = retention_seconds
        .filter(|_| !keep)
        .map(|seconds| now.plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let snapshot = Snapshot {
        id: app.ids.next(),
        org: sandbox.org,
        owner: sandbox.owner.clone(),
        sandbox_id: sandbox.id,
        status: Status::Creating,
        comment: body.comment()?,
        keep,
        retention_seconds,
        last_used_at: None,
        expires_at,
        size_bytes: None,
        operation: exchange.operation(),
        error: None,
        created_at: now,
        updated_at: now,
    };
    let before = begin(&app, snapshot.clone()).await?;
    let sealed = app.machines.snapshot(sandbox.id, snapshot.id).await;
    let done_at = app.clock.now(sandbox.org);
    match sealed {
        Ok(sealed) => {
            let ready = Snapshot {
                status: Status::Ready,
                size_bytes: Some(sealed.size_bytes),
                updated_at: done_at,
                ..snapshot
            };
            let committing = app.clone();
            let answer = app
                .store
                .write(move |tx| -> ApiResult<CommittedAnswer> {
                    stand_again(tx, &ready, before, done_at)?;
                    tx.update(&ready)?;
                    emit(tx, &committing, "snapshot.created", &ready, done_at)?;
                    let location =
                        format!("/sandboxes/{}/snapshots/{}", ready.sandbox_id, ready.id);
                    exchange.commit(tx, &Answer::created(&ready.show(), location)?)
                })
                .await;
            app.due.notify_one();
            app.emitted.notify_waiters();
            answer
        }
        Err(error) => Err(give_up(&app, snapshot, before, done_at, error).await),
    }
}

/// Writes the intent: the snapshot is `creating`, its sandbox `snapshotting`. Answers where the sandbox stood.
async fn begin(app: &App, snapshot: Snapshot) -> ApiResult<SandboxState> {
    app.store
        .write(move |tx| -> ApiResult<SandboxState> {
            // Read again: it may have moved since the request was let in.
            let sandbox = tx
                .get::<Sandbox>(snapshot.org, snapshot.sandbox_id)?
                .ok_or_else(|| ApiError::not_found("sandbox", snapshot.sandbox_id))?;
            check_state(&sandbox)?;
            let before = sandbox.state;
            tx.update(&Sandbox {
                state: SandboxState::Snapshotting,
                operation: snapshot.operation,
                updated_at: snapshot.created_at,
                ..sandbox
            })?;
            tx.insert(&snapshot)?;
            Ok(before)
        })
        .await
}

/// The sandbox stands where it stood, unless somebody else has moved it meanwhile.
fn stand_again(
    tx: &crate::store::Tx<'_>,
    snapshot: &Snapshot,
    before: SandboxState,
    now: Timestamp,
) -> ApiResult<()> {
    tx.modify::<Sandbox>(snapshot.org, snapshot.sandbox_id, |sandbox| {
        if sandbox.state == SandboxState::Snapshotting && sandbox.operation == snapshot.operation {
            sandbox.state = before;
            sandbox.updated_at = now;
        }
    })?;
    Ok(())
}

async fn give_up(
    app: &App,
    snapshot: Snapshot,
    before: SandboxState,
    now: Timestamp,
    error: MachineError,
) -> ApiError {
    let id: Uuid = snapshot.id;
    // Of a seal that broke off nothing may stay.
    if let Err(error) = app.machines.remove_snapshot(id).await {
        tracing::warn!("snapshot {id} could not be cleared away: {error}");
    }
    let error = ApiError::from(error);
    let failed = Snapshot {
        status: Status::Failed,
        error: Some(error.message.clone()),
        updated_at: now,
        ..snapshot
    };
    let written: ApiResult<()> = app
        .store
        .write(move |tx| {
            stand_again(tx, &failed, before, now)?;
            tx.update(&failed)?;
            Ok(())
        })
        .await;
    app.due.notify_one();
    written.err().unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::codes;

    #[test]
    fn every_spelling_of_retention_is_read() {
        let retention = |body| serde_json::from_value::<Create>(body).unwrap().retention();
        assert_eq!(retention(json!({})).unwrap(), None);
        assert_eq!(retention(json!({ "retention_seconds": 60 })).unwrap(), Some(60));
        assert_eq!(retention(json!({ "expiration_days": 2 })).unwrap(), Some(172_800));
        let same = json!({ "expiration_days": 1, "expiration_seconds": 86_400 });
        assert_eq!(retention(same).unwrap(), Some(86_400));
        for bad in [
            json!({ "retention_seconds": 0 }),
            json!({ "expiration_days": u64::MAX }),
            json!({ "retention_seconds": 1, "expiration_seconds": 2 }),
        ] {
            assert_eq!(retention(bad.clone()).unwrap_err().code, codes::VALIDATION_FAILED, "{bad}");
        }
    }
}
