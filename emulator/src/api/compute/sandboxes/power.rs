//! Pausing, stopping, resuming and ending: called by requests and by the lifecycle alike.

use uuid::Uuid;

use super::event::{Happening, emit};
use super::transition::{claim, claim_if, not_running, settle, tell};
use super::{Sandbox, State, startup};
use crate::api::compute::files::exports::Export;
use crate::api::compute::previews::Preview;
use crate::api::compute::processes::Process;
use crate::api::compute::services::Service;
use crate::api::compute::shares::Visitor;
use crate::api::platform::egress;
use crate::api::platform::limits;
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::{Enforced, MachineError};
use crate::store::Tx;

/// How a sandbox is paused; the API calls both `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its processes stand still and go on later.
    Freeze,
    /// Its processes end; its files stay.
    Stop,
}

/// Why a sandbox is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for it.
    Request,
    /// Its timeout has come.
    Timeout,
    /// Nobody has come since then: checked again when nobody can come any more.
    Idle(Timestamp),
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Timeout => "timeout",
            Self::Idle(_) => "idle",
        }
    }
}

/// Pauses or stops a sandbox; `answer` is committed with it.
///
/// # Errors
/// 409 `SANDBOX_NOT_RUNNING` when there is nothing to pause, `RESOURCE_STATE` when it is not idle after all; what the
/// host says, with the sandbox as it was.
pub async fn pause<T, F>(
    app: &App,
    (org, id): (Uuid, Uuid),
    operation: Uuid,
    how: How,
    why: Why,
    answer: F,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>, &Sandbox) -> ApiResult<T> + Send + 'static,
{
    let may = match how {
        How::Freeze => running,
        How::Stop => alive,
    };
    let busy = defect!(LoserWins, crate::defects::commands::pauses(app, org, id).await?, false);
    let claimed = claim(app, org, id, operation, State::Pausing, may).await;
    if busy && claimed.is_err() {
        let missing = move || ApiError::not_found("sandbox", id);
        let answered = app
            .store
            .write(move |tx| answer(tx, &tx.get::<Sandbox>(org, id)?.ok_or_else(missing)?));
        return answered.await;
    }
    let before = claimed?;
    let now = app.clock.now(org);
    if let Why::Idle(since) = why {
        if let Err(last) = app.activity.shut_if_idle(id, since, now) {
            settle(app, org, id, operation, move |_, sandbox, _| {
                sandbox.state = before.state;
                sandbox.last_activity_at = sandbox.last_activity_at.max(last);
                Ok(())
            })
            .await?;
            return Err(ApiError::new(codes::RESOURCE_STATE, "The sandbox is not idle."));
        }
    } else {
        app.activity.shut(id, now);
    }
    let done = match how {
        How::Freeze => app.machines.freeze(id).await,
        How::Stop => app.machines.stop(id).await,
    };
    match done {
        Ok(()) => {
            let app_ = app.clone();
            settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.set_stopped(State::Paused, how == How::Freeze, now);
                if before.state == State::Running {
                    emit(tx, &app_, sandbox, Happening::Paused(why.as_str()))?;
                    defect!(ToldTwice => emit(tx, &app_, sandbox, Happening::Paused(why.as_str()))?);
                }
                answer(tx, sandbox)
            })
            .await
        }
        Err(error) => {
            // Its machine may have died under our hands; then nobody else will say so.
            let dead = before.state == State::Running && app.machines.agent(id).is_err();
            let (app_, reason) = (app.clone(), error.to_string());
            settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.state = before.state;
                sandbox.updated_at = now;
                if dead {
                    sandbox.set_stopped(State::Error, false, now);
                    sandbox.last_error = Some(reason);
                    emit(tx, &app_, sandbox, Happening::Error)?;
                }
                Ok(())
            })
            .await?;
            Err(error.into())
        }
    }
}

fn running(sandbox: &Sandbox) -> ApiResult<()> {
    let again = defect!(PauseTwice) && sandbox.state == State::Paused;
    if sandbox.state == State::Running || again { Ok(()) } else { Err(not_running(sandbox)) }
}

fn alive(sandbox: &Sandbox) -> ApiResult<()> {
    match sandbox.state {
        State::Running => Ok(()),
        State::Paused if sandbox.alive => Ok(()),
        _ => Err(not_running(sandbox)),
    }
}

/// Brings a paused sandbox back, or tries a broken one anew; `answer` is committed with it.
///
/// # Errors
/// 409 `SANDBOX_NOT_PAUSED` when it runs, 429 when as many run as may; what the host says. A machine that cannot be brought back leaves the
/// sandbox in `error`, from where resume tries again.
pub async fn resume<T, F>(
    app: &App,
    (org, id): (Uuid, Uuid),
    operation: Uuid,
    answer: F,
) -> ApiResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>, &Sandbox) -> ApiResult<T> + Send + 'static,
{
    let before = claim_if(app, org, id, operation, State::Resuming, move |tx, sandbox| {
        resumable(sandbox)?;
        limits::run(tx, org, &sandbox.owner)
    })
    .await?;
    match bring_back(app, &before).await {
        Ok(enforced) => {
            let app_ = app.clone();
            let thawed = before.alive;
            let settled = settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.set_running(now);
                if !thawed {
                    sandbox.startup.anew();
                }
                sandbox.enforced = enforced;
                if !defect!(ResumeUntold) {
                    emit(tx, &app_, sandbox, Happening::Resumed)?;
                }
                answer(tx, sandbox)
            })
            .await?;
            startup::begin(app, org, id);
            Ok(settled)
        }
        Err(error) => {
            let broken = !matches!(
                error,
                MachineError::Unavailable(_) | MachineError::TemplateMissing { .. }
            );
            let (app_, why) = (app.clone(), error.to_string());
            settle(app, org, id, operation, move |tx, sandbox, now| {
                sandbox.state = before.state;
                sandbox.updated_at = now;
                if broken {
                    sandbox.set_stopped(State::Error, false, now);
                    sandbox.last_error = Some(why);
                    emit(tx, &app_, sandbox, Happening::Error)?;
                }
                Ok(())
            })
            .await?;
            Err(error.into())
        }
    }
}

fn resumable(sandbox: &Sandbox) -> ApiResult<()> {
    match sandbox.state {
        State::Paused | State::Error => Ok(()),
        State::Destroyed => Err(ApiError::new(
            codes::RESOURCE_STATE,
            format!("Sandbox {} has ended with its timeout; it cannot come back.", sandbox.id),
        )),
        _ => Err(ApiError::new(
            codes::SANDBOX_NOT_PAUSED,
            format!("Sandbox {} is {}, not paused.", sandbox.id, sandbox.state.as_str()),
        )),
    }
}

async fn bring_back(app: &App, sandbox: &Sandbox) -> Result<Enforced, MachineError> {
    if sandbox.state == State::Error {
        // Whatever is left of its processes must not run beside the new ones.
        app.machines.stop(sandbox.id).await?;
    }
    if !sandbox.alive {
        return app.machines.start(sandbox.id).await;
    }
    app.machines.thaw(sandbox.id).await?;
    // A machine that was frozen across a restart of the emulator has no stream yet.
    if app.machines.agent(sandbox.id).is_err() {
        app.machines.adopt(sandbox.id).await?;
    }
    Ok(sandbox.enforced)
}

/// Ends a sandbox whose timeout has come: its row stays readable, its machine goes.
///
/// # Errors
/// 409 when it does not run any more.
pub async fn end(app: &App, org: Uuid, id: Uuid) -> ApiResult<()> {
    let operation = app.ids.next();
    claim(app, org, id, operation, State::Pausing, running).await?;
    app.activity.shut(id, app.clock.now(org));
    let app_ = app.clone();
    settle(app, org, id, operation, move |tx, sandbox, now| {
        sandbox.set_stopped(State::Destroyed, false, now);
        sandbox.destroyed_at = Some(now);
        emit(tx, &app_, sandbox, Happening::Destroyed("timeout"))
    })
    .await?;
    reap(app, id).await;
    Ok(())
}

/// Its machine has died without our doing: the sandbox has failed and says why. What is left of the machine is stopped.
/// Nothing happens when its agent answers again by now.
///
/// # Errors
/// 404 when it is gone.
pub async fn broke(app: &App, org: Uuid, id: Uuid, reason: &'static str) -> ApiResult<()> {
    let (app_, now) = (app.clone(), app.clock.now(org));
    let operation = app.ids.next();
    let failed = super::transition::when_settled(app, org, id, move |tx, mut sandbox| {
        if !sandbox.alive || app_.machines.agent(id).is_ok() {
            return Ok(false);
        }
        let ran = sandbox.state == State::Running;
        if ran {
            sandbox.set_stopped(State::Error, false, now);
            sandbox.last_error = Some(reason.to_owned());
            emit(tx, &app_, &sandbox, Happening::Error)?;
        } else {
            // It was frozen; its files are there, a resume starts it anew.
            sandbox.alive = false;
        }
        sandbox.operation = operation;
        tx.update(&sandbox)?;
        Ok(true)
    })
    .await?;
    if failed {
        tell(app);
        if let Err(error) = app.machines.stop(id).await {
            tracing::warn!(sandbox = %id, "what is left of its machine could not be stopped: {error}");
        }
    }
    Ok(())
}

/// Removes the machine of a sandbox that is gone already. What fails is tried again until it is done or the emulator
/// stops; the next start removes what is left.
pub async fn reap(app: &App, id: Uuid) {
    app.activity.forget(id);
    app.measures.forget(id);
    app.previews.close(id);
    // Without machines there is nothing to remove, or nobody who could.
    if app.machines.host().is_none() {
        return;
    }
    if let Err(error) = app.machines.remove(id).await {
        tracing::warn!(sandbox = %id, "its machine could not be removed yet: {error}");
        let app = app.clone();
        app.clone().tasks.spawn(async move {
            let mut pause = std::time::Duration::from_secs(1);
            loop {
                tokio::select! {
                    () = app.stopping.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                match app.machines.remove(id).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(sandbox = %id, "not removed yet: {error}"),
                }
                pause = (pause * 2).min(std::time::Duration::from_secs(60));
            }
        });
    }
}

/// Removes the row, its previews, visitors' tokens and exports, and behind it the machine; `answer` is committed with it.
///
/// # Errors
/// 404 when it is gone already.
pub async fn remove<T, F>(app: &App, (org, id): (Uuid, Uuid), answer: F) -> ApiResult<T>
where
    T: Send + 'static,
    F: Fn(&Tx<'_>) -> ApiResult<T> + Clone + Send + 'static,
{
    let app_ = app.clone();
    let answered = super::transition::when_settled(app, org, id, move |tx, mut sandbox| {
        let ended = sandbox.state == State::Destroyed;
        sandbox.state = State::Destroyed;
        tx.remove::<Sandbox>(org, id)?;
        defect!(SnapshotsDie => tx
            .remove_children::<crate::api::compute::snapshots::Snapshot>(org, id).map(drop)?);
        defect!(NameNeverFree => crate::defects::names::remember(&sandbox));
        // Snapshots stay: a fork or a create can start from them.
        tx.remove_children::<Preview>(org, id)?;
        egress::forget(tx, org, id)?;
        tx.remove_children::<Export>(org, id)?;
        tx.remove_children::<Process>(org, id)?;
        tx.remove_children::<Service>(org, id)?;
        tx.remove_children::<Visitor>(org, id)?;
        if !ended {
            emit(tx, &app_, &sandbox, Happening::Destroyed("request"))?;
        }
        answer(tx)
    })
    .await?;
    tell(app);
    reap(app, id).await;
    Ok(answered)
}
