//! A command that runs, with its input being fed: for the answer at the end and for the stream alike.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use miosa_agent::protocol::{self, FailureCode};
use tokio::time::Instant;
use uuid::Uuid;

use super::request::Checked;
use super::witness::Witness;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::defects::defect;
use crate::http::{ApiError, ApiResult, codes};
use crate::machines::agent::{Output, Running};
use crate::machines::{Agent, MachineError};

/// The agent ends a command at its timeout; when it has said nothing for this long after, it is not there any more.
const LATE: Duration = Duration::from_secs(10);

/// How long a command may go on when the emulator stops. Less than connections get, so that its client still hears.
const LAST: Duration = Duration::from_secs(4);

/// A command that runs. Dropping it kills the command.
pub struct Session {
    running: Running,
    witness: Witness,
    feed: Option<BoxFuture<'static, ()>>,
    deadline: Instant,
    stopped: BoxFuture<'static, ()>,
}

impl Session {
    /// Starts the command in a sandbox, whose events tell of it under `id`.
    ///
    /// # Errors
    /// 422 when the system cannot start it as asked; 502 without the agent.
    pub async fn start(
        app: &App,
        sandbox: &Sandbox,
        agent: &Agent,
        id: Uuid,
        command: Checked,
    ) -> ApiResult<Self> {
        let Checked { exec, stdin, timeout } = command;
        let (argv, cwd) = (matches!(exec.command, protocol::Command::Argv(_)), exec.cwd.is_some());
        let said = exec.command.clone();
        let exec = defect!(VariablesLeak, crate::defects::commands::leak(sandbox, exec), exec);
        let running = agent.exec(exec).await.map_err(|error| refused(error, argv, cwd))?;
        let witness = Witness::of(app, sandbox, id, &said);
        let input = running.input();
        let feed = stdin.map(|bytes| {
            async move {
                // A command may end without reading all of it.
                let _ = input.write(bytes).await;
                let _ = input.end().await;
            }
            .boxed()
        });
        let stopping = app.stopping.clone();
        // A machine may live on without the emulator; a command that nobody hears any more must not.
        let stopped = async move {
            stopping.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let deadline = Instant::now() + timeout + LATE;
        Ok(Self { running, witness, feed, deadline, stopped: stopped.boxed() })
    }

    /// The next piece of what it says; `None` after its exit. Dropping the future loses nothing; after an error there is
    /// nothing more.
    pub async fn next(&mut self) -> ApiResult<Option<Output>> {
        // A client that reads slowly may come back after the deadline; the agent still gets its time.
        let until = self.deadline.max(Instant::now() + LATE);
        loop {
            let feed = async {
                match self.feed.as_mut() {
                    Some(feed) => Pin::new(feed).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                output = tokio::time::timeout_at(until, self.running.next()) => {
                    let late = |_| MachineError::TimedOut { what: "a command", after: LATE };
                    let output = output.map_err(late)?.transpose()?;
                    if let Some(output) = &output {
                        self.witness.see(output);
                    }
                    return Ok(output);
                }
                () = feed => self.feed = None,
                () = self.stopped.as_mut() => {
                    return Err(ApiError::new(
                        codes::OUTCOME_UNKNOWN,
                        "The emulator is stopping; the command was cut off.",
                    ));
                }
            }
        }
    }
}

/// What cannot be started is the client's to mend: the program or the directory is not there.
pub fn refused(error: MachineError, argv: bool, cwd: bool) -> ApiError {
    let MachineError::Agent(failure) = &error else { return error.into() };
    let of_the_request = matches!(
        failure.code,
        FailureCode::NotFound
            | FailureCode::NotDirectory
            | FailureCode::ForbiddenPath
            | FailureCode::InvalidPath
            | FailureCode::InvalidRequest
    );
    if !of_the_request {
        return error.into();
    }
    let field =
        if cwd && (!argv || failure.code == FailureCode::NotDirectory) { "cwd" } else { "command" };
    ApiError::field(field, failure.message.clone())
}
