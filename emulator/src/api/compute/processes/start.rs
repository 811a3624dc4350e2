//! Starting a process: the row first, then the process, then the row with its number.

use axum::response::{IntoResponse, Response};
use miosa_agent::protocol::Command;
use miosa_agent::protocol::jobs::{Job, JobInfo, Restart};

use super::record::{Process, State, job};
use super::request::{Wanted, shown};
use super::show::show;
use super::{look, record};
use crate::api::compute::exec::session::refused;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult};
use crate::machines::Agent;

/// How many bytes of what a process says are kept, the newest.
pub const LOG: usize = 512 * 1024;

/// Starts it and answers its record with 201.
///
/// # Errors
/// 409 when the sandbox cannot take work or has too many processes; 422 when the system cannot start it as asked.
pub async fn start(
    app: &App,
    exchange: &ExchangeRef,
    sandbox: &Sandbox,
    wanted: Wanted,
) -> ApiResult<CommittedAnswer> {
    let agent = awake(app, sandbox).await?;
    let _active = hold(app, sandbox);
    // What has ended says so before it may make room.
    look::refresh(app, sandbox).await?;
    let process = intend(app, sandbox, &wanted).await?;
    let (org, id) = (process.org, process.id);
    let job = match launch(&agent, &process, wanted).await {
        Ok(job) => job,
        Err(error) => {
            app.store
                .write(move |tx| -> ApiResult<()> {
                    tx.remove::<Process>(org, id)?;
                    Ok(())
                })
                .await?;
            return Err(error);
        }
    };
    let (now, exchange) = (app.clock.now(org), exchange.clone());
    let (sandbox_id, sandbox) = (sandbox.id, sandbox.clone());
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let mut process = tx.get::<Process>(org, id)?.unwrap_or(process);
            process.learn(&job, now);
            tx.update(&process)?;
            // It runs now, whatever the sandbox was when the request came.
            let sandbox = tx.get::<Sandbox>(org, sandbox_id)?.unwrap_or(sandbox);
            let record = show(&process, &sandbox);
            let location = format!("/sandboxes/{sandbox_id}/processes/{id}");
            exchange.commit(tx, &Answer::created(&record, location)?)
        })
        .await
}

/// The same for a route whose client may go away: row, process and answer belong together, so they are carried out.
///
/// # Errors
/// As [`start`].
pub async fn detached(
    app: &App,
    exchange: &ExchangeRef,
    sandbox: &Sandbox,
    wanted: Wanted,
) -> ApiResult<Response> {
    let (app_, exchange, sandbox) = (app.clone(), exchange.clone(), sandbox.clone());
    let starting = app.tasks.spawn(async move { start(&app_, &exchange, &sandbox, wanted).await });
    let started = starting
        .await
        .map_err(|error| ApiError::internal(format!("a start was cut off: {error}")))?;
    started.map(IntoResponse::into_response)
}

async fn intend(app: &App, sandbox: &Sandbox, wanted: &Wanted) -> ApiResult<Process> {
    let now = app.clock.now(sandbox.org);
    let process = Process {
        id: app.ids.next(),
        org: sandbox.org,
        owner: sandbox.owner.clone(),
        sandbox_id: sandbox.id,
        origin: wanted.origin,
        name: wanted.name.clone(),
        command: shown(&wanted.exec.command),
        cwd: wanted.exec.cwd.clone(),
        tty: wanted.exec.tty.is_some(),
        pid: None,
        state: State::Starting,
        exit_code: None,
        signal: None,
        timed_out: false,
        reason: None,
        started_at: now,
        stopped_at: None,
        updated_at: now,
    };
    let (kept, filter) = (process.clone(), look::of(sandbox));
    app.store
        .write(move |tx| -> ApiResult<()> {
            let known = tx.page::<Process>(&filter, look::EVERY)?;
            let over = known.items.len().saturating_sub(look::REMEMBERED as usize - 1);
            for old in known.items.iter().rev().filter(|row| !row.lives()).take(over) {
                tx.remove::<Process>(old.org, old.id)?;
            }
            tx.insert(&kept)?;
            Ok(())
        })
        .await?;
    Ok(process)
}

async fn launch(agent: &Agent, process: &Process, wanted: Wanted) -> ApiResult<JobInfo> {
    let Wanted { exec, stdin, open, .. } = wanted;
    let (argv, cwd) = (matches!(exec.command, Command::Argv(_)), exec.cwd.is_some());
    let id = job(process.id);
    let job = Job { id: id.clone(), exec, log_bytes: LOG, restart: Restart::No };
    let started = agent.start_job(&job).await.map_err(|error| refused(error, argv, cwd))?;
    if let Some(bytes) = stdin
        && let Err(error) = agent.job_input(&id, bytes, !open).await
    {
        // It may have ended without reading.
        tracing::debug!(process = %process.id, "its input was not taken: {error}");
    }
    Ok(started)
}

/// A process of a sandbox that was named, for routes that act on it.
///
/// # Errors
/// 404; 409 when it has ended or its sandbox cannot take work.
pub async fn running(
    app: &App,
    sandbox: &Sandbox,
    named: &str,
) -> ApiResult<(record::Process, std::sync::Arc<Agent>)> {
    let process = look::find(app, sandbox, named).await?;
    if !process.lives() {
        let text = format!("Process {named} is {}; it must be running.", process.state.as_str());
        return Err(ApiError::new(crate::http::codes::RESOURCE_STATE, text));
    }
    let agent = awake(app, sandbox).await?;
    Ok((process, agent))
}
