//! Back to a snapshot, in place: the sandbox keeps its id, its files are those of the snapshot, its processes have ended.
//!
//! Clients disagree on whether a restore makes a new sandbox; all of them go on with the `id` that the answer has
//! (miosa-python 2.19, miosa-elixir 1.1: in place).

use axum::extract::State;
use uuid::Uuid;

use super::{Snapshot, Status, check_state, emit};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Scoped, codes};
use crate::machines::MachineError;

/// `POST /sandboxes/{id}/restore/{snapshot_id}`.
pub(super) async fn restore(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox, 0>,
    snapshot: Scoped<Snapshot, 1>,
) -> ApiResult<CommittedAnswer> {
    let (org, id, snapshot) = (sandbox.org, sandbox.id, snapshot.id);
    let operation = exchange.operation();
    let began = begin(&app, org, id, snapshot, operation).await?;
    let enforced = match app.machines.restore(id, snapshot).await {
        Ok(enforced) => enforced,
        Err(error) => return Err(give_up(&app, began, operation, error).await),
    };
    let now = app.clock.now(org);
    let committing = app.clone();
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let sandbox = tx
                .modify::<Sandbox>(org, id, |sandbox| {
                    if sandbox.operation == operation {
                        sandbox.state = SandboxState::Running;
                        sandbox.last_error = None;
                    }
                    sandbox.alive = true;
                    sandbox.enforced = enforced;
                    sandbox.running_since = sandbox.running_since.or(Some(now));
                    sandbox.expires_at = (!sandbox.always_on)
                        .then(|| now.plus_seconds(i64::from(sandbox.timeout_sec)));
                    sandbox.last_activity_at = now;
                    sandbox.updated_at = now;
                })?
                .ok_or_else(|| ApiError::not_found("sandbox", id))?;
            let used = tx.modify::<Snapshot>(org, snapshot, |snapshot| {
                snapshot.last_used_at = Some(now);
                snapshot.updated_at = now;
            })?;
            if let Some(used) = used {
                emit(tx, &committing, "snapshot.restored", &used, now)?;
            }
            exchange.commit(tx, &Answer::ok(&sandbox)?)
        })
        .await;
    app.due.notify_one();
    app.emitted.notify_waiters();
    answer
}

/// Writes the intent; answers the sandbox as it stood.
async fn begin(
    app: &App,
    org: Uuid,
    id: Uuid,
    snapshot: Uuid,
    operation: Uuid,
) -> ApiResult<Sandbox> {
    let now = app.clock.now(org);
    app.store
        .write(move |tx| -> ApiResult<Sandbox> {
            let sandbox =
                tx.get::<Sandbox>(org, id)?.ok_or_else(|| ApiError::not_found("sandbox", id))?;
            let snapshot = tx
                .get::<Snapshot>(org, snapshot)?
                .ok_or_else(|| ApiError::not_found("snapshot", snapshot))?;
            check_state(&sandbox)?;
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
        .await
}

/// Stands where it stood if its machine is still well, else in `error`: its files are then in between.
async fn give_up(app: &App, before: Sandbox, operation: Uuid, error: MachineError) -> ApiError {
    let untouched = matches!(error, MachineError::Unavailable(_))
        || (before.alive && app.machines.agent(before.id).is_ok());
    let error = ApiError::from(error);
    let (message, now) = (error.message.clone(), app.clock.now(before.org));
    let written: ApiResult<()> = app
        .store
        .write(move |tx| {
            tx.modify::<Sandbox>(before.org, before.id, |sandbox| {
                if sandbox.operation != operation {
                    return;
                }
                sandbox.updated_at = now;
                if untouched {
                    sandbox.state = before.state;
                } else {
                    sandbox.state = SandboxState::Error;
                    sandbox.alive = false;
                    sandbox.last_error = Some(message);
                }
            })?;
            Ok(())
        })
        .await;
    app.due.notify_one();
    written.err().unwrap_or(error)
}
