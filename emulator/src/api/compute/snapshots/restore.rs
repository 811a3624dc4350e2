//! Back to a snapshot, in place: the sandbox keeps its id, its files are those of the snapshot, its processes have ended.
//!
//! Clients disagree on whether a restore makes a new sandbox; all of them go on with the `id` that the answer has
//! (miosa-python 2.19, miosa-elixir 1.1: in place).

use axum::extract::State;
use uuid::Uuid;

use super::{Snapshot, Status, check_state, emit, of};
use crate::api::compute::sandboxes::event::{self, Happening};
use crate::api::compute::sandboxes::show::{Reader, show};
use crate::api::compute::sandboxes::transition::{settle, when_settled};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState, startup};
use crate::api::platform::limits;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Input, Nothing, Scoped, codes};
use crate::machines::{Enforced, MachineError};

/// `POST /sandboxes/{id}/restore/{snapshot_id}`.
pub(super) async fn restore(
    State(app): State<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox, 0>,
    snapshot: Scoped<Snapshot, 1>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    let (snapshot, operation) = (of(&sandbox, snapshot.0)?.id, exchange.operation());
    let before = begin(&app, &sandbox, snapshot, operation).await?;
    let restored = if defect!(RestoreDoesNothing) && before.state == SandboxState::Running {
        Ok(before.enforced)
    } else {
        app.machines.restore(before.id, snapshot).await
    };
    match restored {
        Ok(enforced) => {
            let (org, id) = (before.org, before.id);
            let answer =
                commit(&app, before, enforced, snapshot, operation, (exchange, reader)).await?;
            startup::begin(&app, org, id);
            Ok(answer)
        }
        Err(error) => {
            give_up(&app, before, operation, &error).await?;
            Err(match error {
                MachineError::NotFound(missing) if missing == snapshot => ApiError::new(
                    codes::SNAPSHOT_NOT_READY,
                    "The snapshot's files are not on this host of machines.",
                ),
                error => error.into(),
            })
        }
    }
}

/// Writes the intent, and lets nobody in any more; answers the sandbox as it stood.
async fn begin(
    app: &App,
    sandbox: &Sandbox,
    snapshot: Uuid,
    operation: Uuid,
) -> ApiResult<Sandbox> {
    let (org, id, now) = (sandbox.org, sandbox.id, app.clock.now(sandbox.org));
    let before = when_settled(app, org, id, move |tx, sandbox| {
        check_state(&sandbox)?;
        if sandbox.state == SandboxState::Paused {
            limits::run(tx, org, &sandbox.owner)?;
        }
        let snapshot = tx
            .get::<Snapshot>(org, snapshot)?
            .ok_or_else(|| ApiError::not_found("snapshot", snapshot))?;
        if snapshot.status != Status::Ready {
            return Err(ApiError::new(
                codes::SNAPSHOT_NOT_READY,
                format!("The snapshot is {}.", snapshot.status.as_str()),
            ));
        }
        tx.update(&Sandbox {
            state: SandboxState::Resuming,
            operation,
            updated_at: now,
            ..sandbox.clone()
        })?;
        Ok(sandbox)
    })
    .await?;
    app.activity.shut(id, now);
    app.activity.ring();
    Ok(before)
}

async fn commit(
    app: &App,
    before: Sandbox,
    enforced: Enforced,
    snapshot: Uuid,
    operation: Uuid,
    (exchange, reader): (ExchangeRef, Reader),
) -> ApiResult<CommittedAnswer> {
    let app_ = app.clone();
    settle(app, before.org, before.id, operation, move |tx, sandbox, now| {
        // What it ran before counts; what it runs from now on is counted anew.
        sandbox.set_stopped(SandboxState::Resuming, false, now);
        sandbox.set_running(now);
        sandbox.startup.anew();
        sandbox.enforced = enforced;
        sandbox.stands_on = Some(snapshot);
        let used = tx.modify::<Snapshot>(before.org, snapshot, |snapshot| {
            snapshot.last_used_at = Some(now);
            snapshot.updated_at = now;
        })?;
        if let Some(used) = used {
            emit(tx, &app_, "snapshot.restored", &used, now)?;
        }
        if before.state == SandboxState::Paused {
            event::emit(tx, &app_, sandbox, Happening::Resumed)?;
        }
        exchange.commit(tx, &Answer::ok(&show(&app_, sandbox, &reader))?)
    })
    .await
}

/// Stands where it stood if nothing has touched it, else in `error`: its files may be in between, a resume tries anew.
async fn give_up(
    app: &App,
    before: Sandbox,
    operation: Uuid,
    error: &MachineError,
) -> ApiResult<()> {
    let works = before.alive && app.machines.agent(before.id).is_ok();
    let untouched = works || matches!(error, MachineError::Unavailable(_));
    let (app_, why) = (app.clone(), error.to_string());
    settle(app, before.org, before.id, operation, move |tx, sandbox, now| {
        if untouched {
            sandbox.state = before.state;
            sandbox.updated_at = now;
            return Ok(());
        }
        sandbox.set_stopped(SandboxState::Error, false, now);
        sandbox.last_error = Some(why);
        event::emit(tx, &app_, sandbox, Happening::Error)
    })
    .await
}
