//! The machine's side of a service.

use std::collections::HashMap;

use miosa_agent::protocol::jobs::{Job, JobInfo};
use miosa_agent::protocol::{Command, Exec, FailureCode};

use super::Service;
use crate::api::compute::exec::session::refused;
use crate::api::compute::processes::control::GRACE;
use crate::api::compute::processes::start::LOG;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::ApiResult;
use crate::machines::{Agent, MachineError};

/// What is known of a sandbox's services at one moment.
pub enum Seen {
    /// What the machine says.
    Jobs(HashMap<String, JobInfo>),
    /// Its machine stands still.
    Frozen,
    /// Its machine does not run.
    Down,
    /// Its machine does not answer.
    Unknown,
}

impl Seen {
    /// Asks the machine.
    pub async fn of(agent: &Agent) -> Self {
        match agent.jobs().await {
            Ok(jobs) => Self::Jobs(jobs.into_iter().map(|job| (job.id.clone(), job)).collect()),
            Err(_) => Self::Unknown,
        }
    }
}

/// What is known now, without waking anybody.
pub async fn look(app: &App, sandbox: &Sandbox) -> Seen {
    if !sandbox.alive {
        return Seen::Down;
    }
    if !sandbox.runs() {
        return Seen::Frozen;
    }
    match app.machines.agent(sandbox.id) {
        Ok(agent) => Seen::of(&agent).await,
        Err(_) => Seen::Unknown,
    }
}

/// Starts a service, unless it runs already.
///
/// # Errors
/// 422 when the system cannot start it as asked.
pub async fn launch(agent: &Agent, service: &Service) -> ApiResult<()> {
    let exec = Exec {
        command: Command::Shell(service.command.clone()),
        cwd: service.cwd.clone(),
        env: service.env.clone(),
        timeout_ms: None,
        stdin: false,
        tty: None,
        detached: true,
    };
    let job = Job { id: service.job(), exec, log_bytes: LOG, restart: service.restart };
    match agent.start_job(&job).await {
        Ok(_) => Ok(()),
        // Somebody was faster: the start of the machine, or another request.
        Err(MachineError::Agent(failure)) if failure.code == FailureCode::Exists => Ok(()),
        Err(error) => Err(refused(error, false, service.cwd.is_some())),
    }
}

/// Ends a service: TERM, five seconds, KILL. With `forget` its log goes too.
///
/// # Errors
/// 502 when the agent does not answer.
pub async fn end(agent: &Agent, service: &Service, forget: bool) -> ApiResult<()> {
    agent.stop_job(&service.job(), GRACE, forget).await?;
    Ok(())
}
