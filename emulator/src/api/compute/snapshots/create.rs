//! Making a snapshot: the intent, the deed, the outcome.

use axum::extract::State;
use serde::Deserialize;
use uuid::Uuid;

use super::named::NamedSnapshot;
use super::removal::clear;
use super::source::Source;
use super::{Snapshot, Status, check_state, emit, retention};
use crate::api::compute::sandboxes::transition::{settle, when_settled};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::api::platform::limits;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped, codes, validation};
use crate::machines::{Base, Sealed};
use crate::store::Tx;

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
    let wish = Wish {
        keep: body.keep.unwrap_or(false),
        retention_seconds: body.retention()?,
        comment: body.comment()?,
        name: None,
    };
    let id = sandbox.id;
    take(&app, &sandbox, exchange.operation(), wish, move |tx, ready, _| {
        let location = format!("/sandboxes/{id}/snapshots/{}", ready.id);
        exchange.commit(tx, &Answer::created(&ready.show(), location)?)
    })
    .await
}

/// What is asked of a snapshot, checked.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub comment: Option<String>,
    pub keep: bool,
    pub retention_seconds: Option<u64>,
    /// The name that is to keep it.
    pub name: Option<String>,
}

/// Takes a snapshot; `answer` is committed with it.
///
/// # Errors
/// What the sandbox's state or the host says; the snapshot stays as `failed` when it was begun.
pub(super) async fn take<F>(
    app: &App,
    sandbox: &Sandbox,
    operation: Uuid,
    wish: Wish,
    answer: F,
) -> ApiResult<CommittedAnswer>
where
    F: FnOnce(&Tx<'_>, &Snapshot, Timestamp) -> ApiResult<CommittedAnswer> + Send + 'static,
{
    let now = app.clock.now(sandbox.org);
    let Wish { comment, keep, retention_seconds, name } = wish;
    let retention_seconds = retention_seconds.or(retention::of(sandbox));
    let expires_at = retention_seconds
        .filter(|_| !keep)
        .map(|seconds| now.plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let snapshot = Snapshot {
        id: app.ids.next(),
        org: sandbox.org,
        owner: sandbox.owner.clone(),
        sandbox_id: sandbox.id,
        found_by: format!("{} {}", sandbox.name.as_deref().unwrap_or_default(), sandbox.id),
        source: Some(Source::of(sandbox)),
        parent_snapshot_id: None,
        pinned: name.is_some(),
        status: Status::Creating,
        comment,
        keep,
        retention_seconds,
        last_used_at: None,
        expires_at,
        size_bytes: None,
        operation,
        error: None,
        created_at: now,
        updated_at: now,
    };
    let snapshot = begin(app, snapshot, name).await?;
    let outcome = match app.machines.snapshot(sandbox.id, snapshot.id).await {
        Ok(sealed) => commit(app, snapshot.clone(), sealed, answer).await,
        Err(error) => Err(error.into()),
    };
    let Err(error) = outcome else { return outcome };
    let stood = stand_again(app, &snapshot).await;
    give_up(app, snapshot, &error).await?;
    Err(stood.err().unwrap_or(error))
}

/// Writes the intent: the snapshot is `creating`, its sandbox `snapshotting`.
async fn begin(app: &App, snapshot: Snapshot, name: Option<String>) -> ApiResult<Snapshot> {
    let (org, id) = (snapshot.org, snapshot.sandbox_id);
    let begun = when_settled(app, org, id, move |tx, mut sandbox| {
        check_state(&sandbox)?;
        limits::snapshot(tx, org, &sandbox.owner, None)?;
        // Whether it is free is certain only when it is taken; said now, nothing was sealed in vain.
        if let Some(name) = &name
            && tx.by_name::<NamedSnapshot>(org, name)?.is_some()
        {
            return Err(ApiError::new(codes::NAME_TAKEN, format!("The name {name:?} is taken.")));
        }
        let below = sandbox.stands_on.or(match sandbox.base {
            Base::Snapshot(base) => Some(base),
            Base::Template(_) | Base::Image(_) => None,
        });
        let below = match below {
            // One that is gone, or that was a fork's own, is nobody's to name.
            Some(below) => tx.get::<Snapshot>(org, below)?.map(|below| below.id),
            None => None,
        };
        let snapshot = Snapshot { parent_snapshot_id: below, ..snapshot.clone() };
        sandbox.state = SandboxState::Snapshotting;
        sandbox.operation = snapshot.operation;
        sandbox.updated_at = snapshot.created_at;
        tx.update(&sandbox)?;
        tx.insert(&snapshot)?;
        Ok(snapshot)
    })
    .await?;
    app.activity.ring();
    Ok(begun)
}

/// The sandbox stands where it stood.
fn settled(sandbox: &mut Sandbox, now: Timestamp) {
    sandbox.state = if sandbox.runs() { SandboxState::Running } else { SandboxState::Paused };
    sandbox.updated_at = now;
}

async fn stand_again(app: &App, snapshot: &Snapshot) -> ApiResult<()> {
    let (org, id, operation) = (snapshot.org, snapshot.sandbox_id, snapshot.operation);
    settle(app, org, id, operation, |_, sandbox, now| {
        settled(sandbox, now);
        Ok(())
    })
    .await
}

async fn commit<F>(
    app: &App,
    snapshot: Snapshot,
    sealed: Sealed,
    answer: F,
) -> ApiResult<CommittedAnswer>
where
    F: FnOnce(&Tx<'_>, &Snapshot, Timestamp) -> ApiResult<CommittedAnswer> + Send + 'static,
{
    let (org, id, operation) = (snapshot.org, snapshot.sandbox_id, snapshot.operation);
    let app_ = app.clone();
    let (answer, evicted) = settle(app, org, id, operation, move |tx, sandbox, now| {
        // Only now is its size known.
        limits::snapshot(tx, org, &sandbox.owner, Some(sealed.size_bytes))?;
        settled(sandbox, now);
        let ready = Snapshot {
            status: Status::Ready,
            size_bytes: Some(sealed.size_bytes),
            updated_at: now,
            ..snapshot
        };
        tx.update(&ready)?;
        emit(tx, &app_, "snapshot.created", &ready, now)?;
        let evicted = retention::make_room(tx, &app_, sandbox, now)?;
        Ok((answer(tx, &ready, now)?, evicted))
    })
    .await?;
    clear(app, &evicted).await;
    Ok(answer)
}

/// A snapshot that could not be made stays as `failed` with the reason; its files go.
async fn give_up(app: &App, snapshot: Snapshot, error: &ApiError) -> ApiResult<()> {
    clear(app, &[snapshot.id]).await;
    let failed = Snapshot {
        pinned: false,
        status: Status::Failed,
        error: Some(error.message.clone()),
        updated_at: app.clock.now(snapshot.org),
        ..snapshot
    };
    app.store.write(move |tx| ApiResult::Ok(tx.update(&failed).map(drop)?)).await?;
    app.due.notify_one();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
