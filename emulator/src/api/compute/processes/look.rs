//! Rows and machine made to agree, whenever somebody looks.

use std::collections::HashMap;

use miosa_agent::protocol::jobs::JobInfo;
use uuid::Uuid;

use super::Process;
use super::record::State;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{ApiError, ApiResult};
use crate::store::{Filter, Paging, Tx};

/// How many processes of a sandbox are remembered; the oldest that have ended make room.
pub const REMEMBERED: u32 = 256;

/// A page that holds all of them, those that are about to make room included.
pub const EVERY: Paging = Paging::Number { page: 1, size: REMEMBERED + 64 };

/// Why a process is gone whose machine does not know it.
const MACHINE_ENDED: &str = "its machine ended, or was started anew";

/// The processes of a sandbox.
pub fn of(sandbox: &Sandbox) -> Filter {
    Filter { org: sandbox.org, parent: Some(sandbox.id), ..Filter::default() }
}

/// The rows, newest first, after asking the machine about those that live.
///
/// # Errors
/// When the store fails. A machine that does not answer leaves the rows as they are.
pub async fn refresh(app: &App, sandbox: &Sandbox) -> ApiResult<Vec<Process>> {
    let filter = of(sandbox);
    let rows = app.store.read(move |view| view.page::<Process>(&filter, EVERY)).await?.items;
    if !rows.iter().any(|row| row.state == State::Running) {
        return Ok(rows);
    }
    let Some(jobs) = jobs(app, sandbox).await else { return Ok(rows) };
    let now = app.clock.now(sandbox.org);
    let learned: Vec<Process> = rows
        .iter()
        .filter(|row| row.state == State::Running)
        .filter_map(|row| changed(row, jobs.get(&row.job()), now))
        .collect();
    if learned.is_empty() {
        return Ok(rows);
    }
    let filter = of(sandbox);
    app.store
        .write(move |tx| -> ApiResult<Vec<Process>> {
            for process in &learned {
                keep(tx, process)?;
            }
            Ok(tx.page::<Process>(&filter, EVERY)?.items)
        })
        .await
}

/// The row as it is now; `None` when nothing has changed.
fn changed(row: &Process, job: Option<&JobInfo>, now: Timestamp) -> Option<Process> {
    let mut process = row.clone();
    match job {
        Some(job) => process.learn(job, now),
        None => process.lost(MACHINE_ENDED, now),
    }
    (process.state != row.state || process.pid != row.pid).then_some(process)
}

/// Replaces the row, unless somebody else has seen its end meanwhile.
fn keep(tx: &Tx<'_>, process: &Process) -> ApiResult<()> {
    let known = tx.get::<Process>(process.org, process.id)?;
    if known.is_some_and(|known| known.lives()) {
        tx.update(process)?;
    }
    Ok(())
}

/// What the machine knows; nothing of a machine that has ended, and `None` when it cannot say.
async fn jobs(app: &App, sandbox: &Sandbox) -> Option<HashMap<String, JobInfo>> {
    if !sandbox.alive {
        return Some(HashMap::new());
    }
    if !sandbox.runs() {
        // Frozen: as it was.
        return None;
    }
    let agent = app.machines.agent(sandbox.id).ok()?;
    let jobs = agent.jobs().await.ok()?;
    Some(jobs.into_iter().map(|job| (job.id.clone(), job)).collect())
}

/// The process that a path names: by its number (the newest that had it), or by its id in either spelling.
///
/// # Errors
/// 404 when the sandbox has none.
pub async fn find(app: &App, sandbox: &Sandbox, named: &str) -> ApiResult<Process> {
    let id = Uuid::parse_str(named.strip_prefix("cmd_").unwrap_or(named)).ok();
    let pid = named.parse::<i32>().ok();
    let mut rows = refresh(app, sandbox).await?.into_iter();
    rows.find(|row| Some(row.id) == id || (pid.is_some() && row.pid == pid))
        .ok_or_else(|| ApiError::not_found("process", named))
}

/// Settles what an emulator that died was about to start: the machine knows it, or it never ran.
///
/// # Errors
/// When the store fails.
pub async fn recover(app: &App) -> ApiResult<()> {
    let rows = app.store.read(|view| view.all::<Process>().map_err(ApiError::from)).await?;
    for mut process in rows.into_iter().filter(|row| row.state == State::Starting) {
        let now = app.clock.now(process.org);
        let job = match app.machines.agent(process.sandbox_id) {
            Ok(agent) => agent.job(&process.job()).await.ok().flatten(),
            Err(_) => None,
        };
        match job {
            Some(job) => process.learn(&job, now),
            None => process.lost("the emulator ended before it was started", now),
        }
        app.store
            .write(move |tx| -> ApiResult<()> {
                tx.update(&process)?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}
