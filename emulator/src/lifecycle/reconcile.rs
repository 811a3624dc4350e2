//! The start after any kind of end: rows and machines are made to agree before the first request is taken.
//!
//! | row | machine | outcome |
//! |---|---|---|
//! | being made | any | both removed; its request may run anew under its key (so for a snapshot) |
//! | being made, and somebody was told | any | failed, and says so; the machine is removed |
//! | runs (or was about to pause, resume, be copied) | runs | goes on, with its processes |
//! | runs (or …) | stopped | paused, files kept; ended, if it is not persistent and its timeout has come meanwhile |
//! | paused | frozen or stopped | paused |
//! | any | gone | failed, and says so |
//! | none, or ended | any | machine removed |
//! | a build that ran | any | failed, machine removed |
//!
//! Requests that were cut off and whose outcome nobody can know keep answering so under their key.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use crate::api::compute::env;
use crate::api::compute::processes::look;
use crate::api::compute::sandboxes::create::build;
use crate::api::compute::sandboxes::event::{Happening, emit};
use crate::api::compute::sandboxes::{Sandbox, State, startup};
use crate::api::compute::services::Service;
use crate::api::compute::snapshots::removal;
use crate::api::compute::templates::builds;
use crate::app::App;
use crate::http::idempotency::unknown_kept;
use crate::http::{ApiError, ApiResult};
use crate::machines::{Found, HostKind, MachineError};

/// How long an engine may still be at work for an emulator that died: making or starting a container takes less.
const STRAGGLING: Duration = Duration::from_secs(60);

/// What was found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Sandboxes that go on with their processes.
    pub adopted: usize,
    /// Sandboxes that are paused now, files kept.
    pub paused: usize,
    /// Creates that were cut off and undone.
    pub undone: usize,
    /// Sandboxes whose machine is gone.
    pub failed: usize,
    /// Builds of templates that were cut off.
    pub builds: usize,
    /// Machines without a sandbox that were removed.
    pub orphans: usize,
    /// Requests whose outcome is not known.
    pub unknown: usize,
}

/// Makes rows and machines agree. Call it before the server takes requests.
///
/// # Errors
/// When the store fails. A host that fails is logged: its sandboxes are paused, nothing is thrown away.
pub async fn reconcile(app: &App) -> ApiResult<Report> {
    let mut report = Report::default();
    let rows = app.store.read(|view| view.all::<Sandbox>().map_err(ApiError::from)).await?;
    env::remember(app, &rows).await?;
    let machines = match app.machines.list().await {
        Ok(found) => Some(found),
        Err(error) => {
            if !matches!(error, MachineError::Unavailable(_)) {
                tracing::error!("the machines could not be listed: {error}");
            }
            None
        }
    };
    let found: Option<HashMap<Uuid, Found>> =
        machines.map(|all| all.into_iter().map(|machine| (machine.id, machine)).collect());
    let kind = app.machines.host().map(|host| host.kind());
    let mut undone = Vec::new();
    for row in &rows {
        let (org, id) = (row.org, row.id);
        let machine = found.as_ref().and_then(|found| found.get(&id));
        match row.state {
            State::Destroyed => {}
            State::Provisioning if row.told => fail(app, row, &mut report).await?,
            State::Provisioning => {
                undone.push(row.operation);
                report.undone += 1;
                app.store
                    .write(move |tx| -> ApiResult<()> {
                        tx.remove::<Sandbox>(org, id)?;
                        tx.remove_children::<Service>(org, id)?;
                        Ok(())
                    })
                    .await?;
            }
            _ => {
                let listed = found.is_some() && kind == Some(row.host);
                settle(app, row, machine, listed, &mut report).await?;
            }
        }
    }
    report.builds = builds::queue::recover(app).await?;
    if let Some(found) = &found {
        let lives = |row: &Sandbox| !matches!(row.state, State::Destroyed | State::Provisioning);
        report.orphans = orphans(app, kept(&rows, lives), found).await;
    }
    startup::cut_off_all(app, &rows, CUT_OFF).await?;
    // Copies without a row, and those of forks that were cut off, go now that no machine needs them.
    match removal::recover(app).await {
        Ok(cut_off) => undone.extend(cut_off),
        Err(error) => tracing::error!(
            "the snapshots could not be reconciled: {} {:?}",
            error.message,
            error.log
        ),
    }
    // With the machines that go on: theirs may know what was being started.
    look::recover(app).await?;
    report.unknown = torn(app, undone).await?;
    if report == Report::default() {
        tracing::debug!("reconciled: nothing to do");
    } else {
        tracing::info!(?report, "reconciled");
    }
    Ok(report)
}

/// Somebody was told that this sandbox is being made: it is not undone in silence.
async fn fail(app: &App, row: &Sandbox, report: &mut Report) -> ApiResult<()> {
    report.failed += 1;
    let (org, id, app_, now) = (row.org, row.id, app.clone(), app.clock.now(row.org));
    app.store
        .write(move |tx| -> ApiResult<()> {
            let Some(sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(()) };
            build::failed(tx, &app_, sandbox, CUT_OFF.to_owned(), now)
        })
        .await
}

/// Why what was under way has failed.
const CUT_OFF: &str = "the emulator ended while it was under way";

/// One sandbox; `listed` says that its machine would be known if it were there.
async fn settle(
    app: &App,
    row: &Sandbox,
    machine: Option<&Found>,
    listed: bool,
    report: &mut Report,
) -> ApiResult<()> {
    let outcome = match machine {
        None if listed && row.state == State::Error => return Ok(()),
        None if listed => Outcome::Gone,
        // On another kind of host, or on one that does not answer: its files are where they are.
        None => Outcome::Stopped,
        Some(machine) => look(app, row, machine).await,
    };
    match outcome {
        Outcome::Runs => report.adopted += 1,
        Outcome::Frozen | Outcome::Stopped => report.paused += 1,
        Outcome::Gone => report.failed += 1,
        Outcome::Same => return Ok(()),
    }
    let (org, id, app_) = (row.org, row.id, app.clone());
    let now = app.clock.now(org);
    let ended = app
        .store
        .write(move |tx| -> ApiResult<bool> {
            let Some(mut sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(false) };
            let expired = sandbox.expires_at.is_some_and(|at| at <= now);
            let ran = sandbox.running_since.is_some();
            // How long it ran after it was last seen is not known, and not counted.
            let seen = sandbox.running_since.map_or(now, |at| at.max(sandbox.last_activity_at));
            match outcome {
                Outcome::Runs => {
                    sandbox.state = State::Running;
                    sandbox.alive = true;
                    sandbox.running_since = sandbox.running_since.or(Some(now));
                    // The time without an emulator was nobody's idleness.
                    sandbox.last_activity_at = sandbox.last_activity_at.max(now);
                }
                Outcome::Frozen => sandbox.set_stopped(State::Paused, true, seen),
                Outcome::Stopped if sandbox.state == State::Error => sandbox.alive = false,
                Outcome::Stopped if expired && !sandbox.persistent => {
                    sandbox.set_stopped(State::Destroyed, false, seen);
                    sandbox.destroyed_at = Some(now);
                    emit(tx, &app_, &sandbox, Happening::Destroyed("timeout"))?;
                }
                Outcome::Stopped => sandbox.set_stopped(State::Paused, false, seen),
                Outcome::Gone => {
                    sandbox.set_stopped(State::Error, false, seen);
                    sandbox.last_error = Some("its machine is gone".into());
                    emit(tx, &app_, &sandbox, Happening::Error)?;
                }
                Outcome::Same => {}
            }
            if ran && sandbox.state == State::Paused {
                emit(tx, &app_, &sandbox, Happening::Paused("restart"))?;
            }
            sandbox.updated_at = now;
            tx.update(&sandbox)?;
            Ok(sandbox.state == State::Destroyed)
        })
        .await?;
    if ended && let Err(error) = app.machines.remove(id).await {
        tracing::error!(sandbox = %id, "its machine is left until the next start: {error}");
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Runs,
    Frozen,
    Stopped,
    Gone,
    Same,
}

/// What becomes of a sandbox whose machine is there. What was begun and not committed is undone.
async fn look(app: &App, row: &Sandbox, machine: &Found) -> Outcome {
    let id = row.id;
    if !machine.alive {
        return match row.state {
            State::Paused | State::Error if !row.alive => Outcome::Same,
            _ => Outcome::Stopped,
        };
    }
    let should_run = row.running_since.is_some();
    let done = match (should_run, machine.frozen) {
        (false, true) => return Outcome::Frozen,
        (false, false) if row.state == State::Error || !row.alive => {
            app.machines.stop(id).await.map(|()| Outcome::Stopped)
        }
        (false, false) => app.machines.freeze(id).await.map(|()| Outcome::Frozen),
        (true, frozen) => {
            let thawed = if frozen { app.machines.thaw(id).await } else { Ok(()) };
            match thawed {
                Ok(()) => app.machines.adopt(id).await.map(|()| Outcome::Runs),
                Err(error) => Err(error),
            }
        }
    };
    match done {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(sandbox = %id, "its machine does not answer and is stopped: {error}");
            if let Err(error) = app.machines.stop(id).await {
                tracing::error!(sandbox = %id, "nor can it be stopped: {error}");
            }
            Outcome::Stopped
        }
    }
}

/// An engine finishes what an emulator that died had asked of it: a container may appear after [`reconcile`] has looked.
/// Looks once more, when that must have ended.
pub async fn stragglers(app: App) {
    if app.machines.host().is_none_or(|host| host.kind() != HostKind::Docker) {
        return;
    }
    tokio::select! {
        () = app.stopping.cancelled() => return,
        () = tokio::time::sleep(STRAGGLING) => {}
    }
    // Machines first, rows second: whatever is being made now has its row.
    let found = match app.machines.list().await {
        Ok(found) => found.into_iter().map(|machine| (machine.id, machine)).collect(),
        Err(error) => return tracing::warn!("the machines could not be listed: {error}"),
    };
    let rows: ApiResult<_> =
        app.store.read(|view| Ok((view.all::<Sandbox>()?, builds::machines(view)?))).await;
    let removed = match rows {
        Ok((rows, building)) => {
            let mut kept = kept(&rows, |row| row.state != State::Destroyed);
            kept.extend(building);
            orphans(&app, kept, &found).await
        }
        Err(error) => return tracing::warn!("the sandboxes could not be read: {:?}", error.log),
    };
    if removed > 0 {
        tracing::info!("{removed} machines appeared late and were removed");
    }
}

fn kept(rows: &[Sandbox], lives: fn(&Sandbox) -> bool) -> HashSet<Uuid> {
    rows.iter().filter(|row| lives(row)).map(|row| row.id).collect()
}

/// Removes the machines of this data directory that nobody has any more.
async fn orphans(app: &App, kept: HashSet<Uuid>, found: &HashMap<Uuid, Found>) -> usize {
    let mut removed = 0;
    for id in found.keys().filter(|id| !kept.contains(*id)) {
        match app.machines.remove(*id).await {
            Ok(()) => removed += 1,
            Err(error) => tracing::error!(machine = %id, "an orphan could not be removed: {error}"),
        }
    }
    removed
}

/// Lets undone requests run anew, and keeps of the others that nobody knows.
async fn torn(app: &App, undone: Vec<Uuid>) -> ApiResult<usize> {
    app.store
        .write(move |tx| -> ApiResult<usize> {
            tx.forget_torn(&undone)?;
            let torn = tx.torn()?;
            for (key, _, request_id) in &torn {
                tx.answer_idempotency(key, &unknown_kept(request_id))?;
            }
            Ok(torn.len())
        })
        .await
}
