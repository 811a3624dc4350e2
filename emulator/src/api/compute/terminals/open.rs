//! Opening a terminal.

use std::collections::BTreeMap;
use std::sync::Arc;

use miosa_agent::protocol::{Command, Exec};
use serde::Deserialize;

use super::registry::Terminal;
use super::session;
use crate::api::compute::exec::request::{Words, check_env, directory, words};
use crate::api::compute::exec::session::refused;
use crate::api::compute::exec::terminal_size;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// What runs when no shell is named: the better of two, as a login shell.
const USUAL: &str = "command -v bash >/dev/null && exec bash -l; exec sh -l";

/// A terminal to open (miosa-python 2.19, miosa-go 2.0).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    cols: Option<u16>,
    rows: Option<u16>,
    shell: Option<String>,
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
}

impl Wanted {
    /// The name of the shell, as the client reads it.
    pub(super) fn shell(&self) -> &str {
        self.shell.as_deref().filter(|shell| !shell.is_empty()).unwrap_or("bash")
    }

    fn exec(self) -> ApiResult<Exec> {
        let size = terminal_size(self.rows, self.cols)?;
        let shell = self.shell.filter(|shell| !shell.is_empty());
        let command = match shell {
            Some(shell) => words(Some(Words::List(vec![shell])), None, None)
                .map_err(|error| ApiError::field("shell", error.message))?,
            None => Command::Shell(USUAL.to_owned()),
        };
        let env = self.env.unwrap_or_default();
        check_env(&env)?;
        Ok(Exec {
            command,
            cwd: directory(self.cwd, None, None)?,
            env,
            timeout_ms: None,
            stdin: true,
            tty: Some(size),
            detached: false,
        })
    }
}

/// Opens it.
///
/// # Errors
/// 422 naming the field; 409 when the sandbox has too many.
pub(super) async fn open(app: &App, sandbox: &Sandbox, wanted: Wanted) -> ApiResult<Arc<Terminal>> {
    let exec = wanted.exec()?;
    let agent = awake(app, sandbox).await?;
    let place = app.terminals.reserve(sandbox.id)?;
    let (argv, cwd) = (matches!(exec.command, Command::Argv(_)), exec.cwd.is_some());
    let size = exec.tty.unwrap_or(terminal_size(None, None)?);
    let running = agent.exec(exec).await.map_err(|error| {
        let error = refused(error, argv, cwd);
        // The one word that a client can have got wrong has another name here.
        let of_shell = error.details.as_ref().is_some_and(|details| {
            details.pointer("/0/field").is_some_and(|field| field == "command")
        });
        if of_shell { ApiError::field("shell", error.message) } else { error }
    })?;
    Ok(session::keep(app, sandbox, place, running, size))
}
