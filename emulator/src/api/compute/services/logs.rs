//! What a service said, as events in the words of every client; with `follow` also what it says from then on.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use miosa_agent::protocol::jobs::JobInfo;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{Service, find};
use crate::api::compute::exec_stream::lines::{Line, Lines};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::api::compute::sandboxes::transition::not_running;
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::{ApiError, ApiResult, Params, Scoped, sse};
use crate::machines::MachineError;
use crate::machines::agent::{JobOutput, JobSaid};

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    follow: Option<String>,
}

pub(super) async fn follow(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    let follow = match query.follow.as_deref() {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(ApiError::parameter("follow", "must be true or false")),
    };
    let service = find(&app, &sandbox, values.at(1)).await?;
    if !sandbox.alive {
        return Err(not_running(&sandbox));
    }
    let agent = awake(&app, &sandbox).await?;
    let events = match agent.job(&service.job()).await? {
        // It has not been started on this machine: it said nothing.
        None => stream::empty().boxed(),
        Some(job) => {
            let output = agent.job_output(&service.job(), 0, follow).await?;
            events(app.clone(), &service, output, &job).boxed()
        }
    };
    let connected = stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    let stopping = app.stopping.clone().cancelled_owned();
    Ok(sse::response(connected.chain(events).take_until(stopping)))
}

fn events(
    app: App,
    service: &Service,
    output: JobOutput,
    job: &JobInfo,
) -> impl Stream<Item = Result<Bytes, MachineError>> + Send + use<> {
    let reading = Reading {
        app,
        org: service.org,
        output,
        at: 0,
        live_from: job.log_end,
        stdout: Lines::default(),
        stderr: Lines::default(),
    };
    stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|events| (events, reading)))
    })
}

struct Reading {
    app: App,
    org: Uuid,
    output: JobOutput,
    /// How far in the log.
    at: u64,
    /// From here on a line is said now; when an earlier one was nobody knows.
    live_from: u64,
    stdout: Lines,
    stderr: Lines,
}

impl Reading {
    /// The next events, at least one; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, MachineError> {
        let mut events = Vec::new();
        while events.is_empty() {
            let Some(said) = self.output.next().await else { return Ok(None) };
            let time = (self.at >= self.live_from).then(|| self.app.clock.now(self.org));
            let mut write = |stream: &str, line: &Line| {
                let data = json!({
                    "timestamp": time, "stream": stream, "message": line.text, "line": line.text,
                });
                events.extend_from_slice(&sse::event("log", &data));
            };
            match said? {
                JobSaid::Stdout(bytes) => {
                    self.at += bytes.len() as u64;
                    self.stdout.feed(&bytes, |line| write("stdout", &line));
                }
                JobSaid::Stderr(bytes) => {
                    self.at += bytes.len() as u64;
                    self.stderr.feed(&bytes, |line| write("stderr", &line));
                }
                JobSaid::Lost(bytes) => {
                    self.at += bytes;
                    let text = format!("[{bytes} bytes are not kept any more]");
                    write("system", &Line { text, end: "\n" });
                }
                JobSaid::Stands(_) => {
                    self.stdout.end(|line| write("stdout", &line));
                    self.stderr.end(|line| write("stderr", &line));
                }
            }
        }
        Ok(Some(events.into()))
    }
}
