//! What a process says, as events: what is kept first, then what comes, its exit last.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use miosa_agent::protocol::jobs::JobInfo;
use serde_json::json;

use super::look;
use crate::api::compute::exec_stream::lines::Lines;
use crate::api::compute::exec_stream::write;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::api::compute::sandboxes::transition::not_running;
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::{ApiResult, Scoped, sse};
use crate::machines::MachineError;
use crate::machines::agent::{JobOutput, JobSaid};

/// `GET …/processes/{pid}/stream`. Who only watches does not keep a sandbox from being idle.
pub(super) async fn follow(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Response> {
    let process = look::find(&app, &sandbox, values.at(1)).await?;
    if !sandbox.alive {
        return Err(not_running(&sandbox));
    }
    let agent = awake(&app, &sandbox).await?;
    let output = agent.job_output(&process.job(), 0, true).await?;
    let stopping = app.stopping.clone().cancelled_owned();
    Ok(sse::response(events(output).take_until(stopping)))
}

/// The events of a job's output.
pub fn events(output: JobOutput) -> impl Stream<Item = Result<Bytes, MachineError>> + Send {
    let reading = Reading { output, stdout: Lines::default(), stderr: Lines::default() };
    // The head of the answer leaves with this, also when the process is silent.
    let connected = stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    connected.chain(stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|events| (events, reading)))
    }))
}

struct Reading {
    output: JobOutput,
    stdout: Lines,
    stderr: Lines,
}

impl Reading {
    /// The next events, at least one; `None` after the exit.
    async fn next(&mut self) -> Result<Option<Bytes>, MachineError> {
        let mut events = Vec::new();
        while events.is_empty() {
            let Some(said) = self.output.next().await else { return Ok(None) };
            match said? {
                JobSaid::Stdout(bytes) => {
                    self.stdout.feed(&bytes, |line| write(&mut events, "stdout", &line));
                }
                JobSaid::Stderr(bytes) => {
                    self.stderr.feed(&bytes, |line| write(&mut events, "stderr", &line));
                }
                JobSaid::Lost(bytes) => {
                    events.extend_from_slice(&sse::event(
                        "lost",
                        &json!({ "type": "lost", "bytes": bytes }),
                    ));
                }
                JobSaid::Stands(job) => {
                    self.stdout.end(|line| write(&mut events, "stdout", &line));
                    self.stderr.end(|line| write(&mut events, "stderr", &line));
                    events.extend_from_slice(&exit(&job));
                }
            }
        }
        Ok(Some(events.into()))
    }
}

fn exit(job: &JobInfo) -> Bytes {
    let code = job.exit.as_ref().map(|exit| if exit.timed_out { -1 } else { exit.exit_code });
    let data = json!({
        "type": "exit", "exit_code": code, "exitCode": code, "stopped": job.stopped,
        "timed_out": job.exit.as_ref().is_some_and(|exit| exit.timed_out),
        "duration_ms": job.exit.as_ref().map(|exit| exit.duration_ms),
    });
    sse::event("exit", &data)
}
