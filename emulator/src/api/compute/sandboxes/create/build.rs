//! From the row of a sandbox that is about to be, to its machine.

use std::time::Instant;

use uuid::Uuid;

use crate::api::compute::sandboxes::event::{Happening, emit};
use crate::api::compute::sandboxes::show::{Reader, show};
use crate::api::compute::sandboxes::transition::{settle, tell};
use crate::api::compute::sandboxes::{Sandbox, State, power, startup};
use crate::api::compute::services::Service;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult};
use crate::machines::MachineSpec;
use crate::store::Tx;

/// Makes the machine of a row that was written, and commits the outcome with the answer. On failure nothing is left.
///
/// # Errors
/// What the host says.
pub async fn make(
    app: &App,
    sandbox: Sandbox,
    reader: Reader,
    exchange: ExchangeRef,
) -> ApiResult<CommittedAnswer> {
    let app_ = app.clone();
    build(app, sandbox, move |tx, sandbox| exchange.commit(tx, &created(&app_, sandbox, &reader)?))
        .await
}

/// 201 with its record.
///
/// # Errors
/// 500 when it is no JSON.
pub fn created(app: &App, sandbox: &Sandbox, reader: &Reader) -> ApiResult<Answer> {
    Answer::created(&show(app, sandbox, reader), format!("/sandboxes/{}", sandbox.id))
}

/// Makes the machine of a row that was written, and lets it begin what it does by itself; `answer` is committed with the
/// outcome. On failure nothing is left, unless somebody was told of the sandbox: then it is in `error` and says why.
///
/// # Errors
/// What the host or `answer` says.
pub async fn build<T, F>(app: &App, sandbox: Sandbox, answer: F) -> ApiResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>, &mut Sandbox) -> ApiResult<T> + Send + 'static,
{
    let (org, id, operation) = (sandbox.org, sandbox.id, sandbox.operation);
    let started = Instant::now();
    let spec = MachineSpec {
        id,
        operation,
        base: sandbox.base.clone(),
        shape: sandbox.shape,
        env: sandbox.machine_env(),
        hostname: sandbox.slug.clone(),
    };
    let created = app.machines.create(&spec).await;
    let exists = created.is_ok();
    let made = match created {
        Ok(enforced) => {
            let boot_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let app_ = app.clone();
            settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.set_running(now);
                sandbox.startup.anew();
                sandbox.enforced = enforced;
                sandbox.boot_ms = Some(boot_ms);
                sandbox.started_at = Some(now);
                emit(tx, &app_, sandbox, Happening::Created)?;
                if sandbox.ready() {
                    sandbox.ready_at = Some(now);
                    emit(tx, &app_, sandbox, Happening::Ready)?;
                }
                answer(tx, sandbox)
            })
            .await
        }
        Err(error) => Err(error.into()),
    };
    match &made {
        Ok(_) => startup::begin(app, org, id),
        Err(error) => {
            if let Err(error) = give_up(app, org, id, error.message.clone()).await {
                tracing::error!(sandbox = %id, "its row could not be settled: {:?}", error.log);
            }
            tell(app);
            if exists {
                power::reap(app, id).await;
            }
        }
    }
    made
}

/// Undoes the row of a sandbox that cannot be made, or lets it say why.
async fn give_up(app: &App, org: Uuid, id: Uuid, reason: String) -> ApiResult<()> {
    let (app_, now) = (app.clone(), app.clock.now(org));
    app.store
        .write(move |tx| -> ApiResult<()> {
            match tx.get::<Sandbox>(org, id)? {
                Some(sandbox) if sandbox.told => failed(tx, &app_, sandbox, reason, now),
                Some(_) => {
                    tx.remove_children::<Service>(org, id)?;
                    tx.remove::<Sandbox>(org, id)?;
                    Ok(())
                }
                None => Ok(()),
            }
        })
        .await
}

/// A sandbox that somebody knows of and that could not be made.
///
/// # Errors
/// When the store fails.
pub fn failed(
    tx: &Tx<'_>,
    app: &App,
    mut sandbox: Sandbox,
    reason: String,
    now: crate::clock::Timestamp,
) -> ApiResult<()> {
    sandbox.set_stopped(State::Error, false, now);
    sandbox.last_error = Some(reason);
    emit(tx, app, &sandbox, Happening::Created)?;
    emit(tx, app, &sandbox, Happening::Error)?;
    tx.update(&sandbox)?;
    Ok(())
}

/// What a create says that has been answered already, should it fail: nobody hears it.
pub fn log_late(sandbox: Uuid, error: &ApiError) {
    tracing::warn!(%sandbox, "it could not be made: {} {:?}", error.message, error.log);
}
