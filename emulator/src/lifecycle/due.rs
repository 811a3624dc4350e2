//! Timeouts, idle pauses, the retention of snapshots and the end of visitors' tokens, when policy time says so; and forgetting old idempotency keys.
//!
//! One loop sleeps until the next moment that anything is due in any organization. A clock that is moved, and
//! whatever changes when a sandbox is due, wakes it (`App::due`).

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use uuid::Uuid;

use super::retention;
use crate::api::compute::sandboxes::power::{self, How, Why};
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::api::compute::shares::{self, Visitor};
use crate::api::compute::snapshots::{Snapshot, removal};
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::idempotency::KEPT_SECONDS;
use crate::http::{ApiError, ApiResult};
use crate::store::Resource;

/// The longest sleep: the sweep of old keys must come by.
const LONGEST: Duration = Duration::from_secs(300);
/// After something failed, before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many sandboxes are paused at once.
const AT_ONCE: usize = 8;
/// How many are looked at in one round.
const ROUND: u32 = 256;

/// Runs until the emulator stops.
pub async fn watch(app: App) {
    let mut swept: Option<Instant> = None;
    loop {
        let wait = match round(&app).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!("what is due could not be read: {:?}", error.log);
                AGAIN
            }
        };
        if swept.is_none_or(|at| at.elapsed() >= LONGEST) {
            sweep(&app).await;
            if let Err(error) = retention::sweep(&app).await {
                tracing::error!("old events could not be removed: {:?}", error.log);
            }
            swept = Some(Instant::now());
        }
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = app.due.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Acts on everything that is due; answers how long nothing more will be.
async fn round(app: &App) -> ApiResult<Duration> {
    let mut failed = false;
    for (org, at) in next::<Snapshot>(app).await? {
        if at <= app.clock.now(org) {
            removal::expire_due(app, org).await?;
        }
    }
    for (org, at) in next::<Visitor>(app).await? {
        if at <= app.clock.now(org) {
            shares::expire_due(app, org).await?;
        }
    }
    for (org, at) in next::<Sandbox>(app).await? {
        let now = app.clock.now(org);
        if at > now {
            continue;
        }
        let due: Vec<Sandbox> =
            app.store.read(move |view| view.due(org, now, ROUND).map_err(ApiError::from)).await?;
        let outcomes = futures_util::stream::iter(due)
            .map(|sandbox| async move {
                let done = act(app, &sandbox, now).await;
                if let Err(error) = &done {
                    tracing::warn!(sandbox = %sandbox.id, "due, but: {} {:?}", error.message, error.log);
                }
                done.is_err()
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<bool>>()
            .await;
        failed |= outcomes.contains(&true);
        if let Err(error) = removal::expire_due(app, org).await {
            tracing::warn!("snapshots are due, but: {} {:?}", error.message, error.log);
            failed = true;
        }
    }
    if failed {
        return Ok(AGAIN);
    }
    let mut all = next::<Sandbox>(app).await?;
    all.extend(next::<Snapshot>(app).await?);
    all.extend(next::<Visitor>(app).await?);
    let waits = all.into_iter().map(|(org, at)| {
        let ms = at.millis_since(app.clock.now(org)).max(0);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    });
    // A millisecond of grace, so that a wake-up is not too early by rounding.
    Ok(waits.min().map_or(LONGEST, |wait| (wait + Duration::from_millis(1)).min(LONGEST)))
}

/// For each organization the moment its next document of a kind is due.
async fn next<R: Resource>(app: &App) -> ApiResult<Vec<(Uuid, Timestamp)>> {
    app.store.read(|view| view.next_due::<R>().map_err(ApiError::from)).await
}

/// What is due of one sandbox: its timeout first, else its idle pause.
async fn act(app: &App, sandbox: &Sandbox, now: Timestamp) -> ApiResult<()> {
    let key = (sandbox.org, sandbox.id);
    let done = if sandbox.expires_at.is_some_and(|at| at <= now) {
        if sandbox.persistent && !defect!(TimeoutEndsAll) {
            rest(app, key, Why::Timeout).await
        } else {
            power::end(app, sandbox.org, sandbox.id).await
        }
    } else {
        let since = now.plus_seconds(-i64::from(sandbox.idle_timeout_sec));
        match app.activity.last(sandbox.id, now) {
            _ if defect!(NeverIdle) => return postpone(app, key, now).await,
            Some(last) if last > since => return postpone(app, key, last).await,
            _ => rest(app, key, Why::Idle(since)).await,
        }
    };
    match done {
        // Gone, changed or entered meanwhile: nothing is due any more, or it will come again.
        Err(error) if matches!(error.code.status, 404 | 409) => Ok(()),
        done => done,
    }
}

/// Pauses it; where it cannot be frozen it is stopped.
async fn rest(app: &App, (org, id): (Uuid, Uuid), why: Why) -> ApiResult<()> {
    let pause = |how| power::pause(app, (org, id), app.ids.next(), how, why, |_, _| Ok(()));
    match pause(How::Freeze).await {
        Err(error) if !matches!(error.code.status, 404 | 409) => {
            tracing::warn!(sandbox = %id, "could not be frozen, so it is stopped: {:?}", error.log);
            pause(How::Stop).await
        }
        done => done,
    }
}

/// Somebody has been there since the row was written: it is due later.
async fn postpone(app: &App, (org, id): (Uuid, Uuid), last: Timestamp) -> ApiResult<()> {
    app.store
        .write(move |tx| -> ApiResult<()> {
            tx.modify::<Sandbox>(org, id, |sandbox| {
                if sandbox.state == State::Running {
                    sandbox.last_activity_at = sandbox.last_activity_at.max(last);
                }
            })?;
            Ok(())
        })
        .await?;
    app.activity.ring();
    Ok(())
}

/// Forgets idempotency keys that are older than they are kept.
async fn sweep(app: &App) {
    let clock = app.clone();
    let swept = app.store.write(move |tx| -> ApiResult<usize> {
        let mut forgotten = 0;
        for org in tx.idempotency_orgs()? {
            let before = clock.clock.now(org).plus_seconds(-KEPT_SECONDS);
            forgotten += tx.expire_idempotency(org, before)?;
        }
        Ok(forgotten)
    });
    match swept.await {
        Ok(0) => {}
        Ok(n) => tracing::debug!("{n} idempotency keys were forgotten"),
        Err(error) => tracing::error!("old keys could not be forgotten: {:?}", error.log),
    }
}
