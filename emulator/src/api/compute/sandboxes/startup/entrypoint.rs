//! The entrypoint: a command that is started whenever the machine starts, and runs on (miosa-python 2.19).

use std::collections::BTreeMap;
use std::time::Duration;

use miosa_agent::protocol::{Command, Exec};

use super::note;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::machines::Agent;
use crate::machines::agent::Finished;

/// How much a record says of why something failed.
const REASON: usize = 2000;

/// A line that can be run.
///
/// # Errors
/// 422 for one that is empty, too long or has NUL in it.
pub fn checked(line: String) -> ApiResult<String> {
    if line.trim().is_empty() || line.len() > 65_536 || line.contains('\0') {
        return Err(ApiError::field(
            "entrypoint",
            "must be a line of 1 to 65536 bytes without NUL",
        ));
    }
    Ok(line)
}

/// Starts it, unless that has been done or somebody still sets the sandbox up. What it says goes nowhere: who wants to
/// read it redirects it to a file.
pub(super) async fn run(app: &App, sandbox: &Sandbox, agent: &Agent) -> ApiResult<()> {
    let claimed = note(app, (sandbox.org, sandbox.id), |startup, _| {
        let set_up = startup.setup().is_none_or(|setup| setup.stand.is_final());
        let entrypoint = startup.entrypoint.clone().filter(|_| set_up)?;
        (!std::mem::replace(&mut startup.entrypoint_started, true)).then_some(entrypoint)
    });
    match claimed.await?.flatten() {
        Some(entrypoint) => start(agent, &entrypoint, None, BTreeMap::new()).await.map(drop),
        None => Ok(()),
    }
}

/// Starts a command that outlives whoever asked for it; answers its process id.
///
/// # Errors
/// What the agent says when it cannot be started.
pub async fn start(
    agent: &Agent,
    command: &str,
    cwd: Option<String>,
    env: BTreeMap<String, String>,
) -> ApiResult<i32> {
    let exec = Exec {
        command: Command::Shell(command.to_owned()),
        cwd,
        env,
        timeout_ms: None,
        stdin: false,
        tty: None,
        detached: true,
    };
    Ok(agent.exec(exec).await?.pid)
}

/// A line for the shell that ends with its client.
pub fn line(command: String, longest: Duration) -> Exec {
    Exec {
        command: Command::Shell(command),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: Some(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)),
        stdin: false,
        tty: None,
        detached: false,
    }
}

/// The end of what a command complained of, else of what it said.
pub fn tail(ended: &Finished) -> String {
    let bytes = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let from = text.char_indices().rev().nth(REASON - 1).map_or(0, |(at, _)| at);
    text.get(from..).unwrap_or_default().to_owned()
}
