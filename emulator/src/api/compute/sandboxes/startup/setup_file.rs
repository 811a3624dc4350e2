//! The setup file: a script that runs once, behind the create (miosa-go 2.0).

use std::time::Duration;

use miosa_agent::protocol::FileOp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entrypoint::{line, tail};
use super::note;
use super::progress::Progress;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::{Agent, MachineError};

/// The longest script (miosa-go 2.0).
const MAX_BYTES: usize = 65_536;

/// How long it may run.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How much of what it says is looked at for the reason of a failure.
const OUTPUT: usize = 256 * 1024;

/// A setup file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFile {
    /// The script, until it has begun.
    script: Option<String>,
    /// How far it has come.
    pub progress: Progress,
}

impl SetupFile {
    /// A script that can be run.
    ///
    /// # Errors
    /// 422 `INVALID_SETUP_FILE` for one that is empty, too long or has NUL in it.
    pub fn new(script: String) -> ApiResult<Self> {
        let wrong = if script.trim().is_empty() {
            "must not be empty"
        } else if script.len() > MAX_BYTES {
            "must have at most 65536 bytes"
        } else if script.contains('\0') {
            "must not contain NUL"
        } else {
            return Ok(Self { script: Some(script), progress: Progress::default() });
        };
        let message = format!("setup_file: {wrong}");
        Err(ApiError::new(codes::INVALID_SETUP_FILE, message)
            .details(json!([{ "field": "setup_file", "message": wrong }])))
    }

    /// The script of a body. One that is there and no text is no setup file either.
    ///
    /// # Errors
    /// As [`SetupFile::new`].
    pub fn of(value: Option<Value>) -> ApiResult<Option<Self>> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(script)) => Self::new(script).map(Some),
            Some(_) => Err(ApiError::new(codes::INVALID_SETUP_FILE, "setup_file: must be text")),
        }
    }
}

/// Runs it, if that has not been done.
pub(super) async fn run(app: &App, sandbox: &Sandbox, agent: &Agent) -> ApiResult<()> {
    let key = (sandbox.org, sandbox.id);
    let begun = note(app, key, |startup, now| {
        let setup = startup.setup_file.as_mut()?;
        setup.progress.begin(now).then(|| setup.script.take()).flatten()
    });
    let Some(script) = begun.await?.flatten() else { return Ok(()) };
    let outcome = execute(agent, sandbox, script).await;
    note(app, key, |startup, now| {
        if let Some(setup) = &mut startup.setup_file {
            setup.progress.end(outcome, now);
        }
    })
    .await
    .map(drop)
}

/// A file rather than a line for a shell: its first line may name another interpreter.
async fn execute(agent: &Agent, sandbox: &Sandbox, script: String) -> Result<(), String> {
    let told = |error: MachineError| format!("the sandbox was stopped, or has failed: {error}");
    let path = format!("/tmp/miosa-setup-{}", sandbox.id.simple());
    agent.write(&path, Some(0o700), script.into()).await.map_err(told)?;
    let ran = agent.run(line(path.clone(), LONGEST), None, OUTPUT).await;
    let removed = agent.file_op::<Value>(&FileOp::Remove { path, recursive: false }).await;
    if let Err(error) = removed {
        tracing::debug!(sandbox = %sandbox.id, "its setup file was left: {error}");
    }
    let ended = ran.map_err(told)?;
    if ended.exit.timed_out {
        return Err(format!("it ran longer than {} minutes", LONGEST.as_secs() / 60));
    }
    match ended.exit.exit_code {
        0 => Ok(()),
        code => Err(format!("it ended with {code}: {}", tail(&ended))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_script_is_refused() {
        let long = "x".repeat(MAX_BYTES);
        assert!(SetupFile::new(long.clone()).is_ok());
        for bad in [json!(""), json!(" \n"), json!(format!("{long}y")), json!("a\u{0}b"), json!(7)]
        {
            assert_eq!(SetupFile::of(Some(bad)).unwrap_err().code, codes::INVALID_SETUP_FILE);
        }
        assert_eq!(SetupFile::of(Some(Value::Null)).unwrap(), None);
    }
}
