//! Which request does what with jobs.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use hyper::body::Incoming;
use miosa_agent::codec::MAX_START;
use miosa_agent::protocol::jobs::Jobs;
use miosa_agent::protocol::{Failure, FailureCode};
use serde::Deserialize;

use super::{Job, life, output, start};
use crate::answer::{Outcome, invalid, json, nothing, streamed};
use crate::machine::Machine;
use crate::routes::{read_bytes, read_query, signal_group};

/// The most that is written to a job's input at once, in bytes.
const MAX_INPUT: usize = 16 * 1024 * 1024;

/// The longest grace of a stop.
const MAX_GRACE_MS: u64 = 60_000;

#[derive(Deserialize)]
struct Which {
    id: String,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    end: bool,
    #[serde(default)]
    signal: i32,
    #[serde(default)]
    grace_ms: u64,
    #[serde(default)]
    forget: bool,
}

pub async fn answer(
    machine: Arc<Machine>,
    method: &Method,
    path: &str,
    query: &str,
    body: Incoming,
) -> Outcome {
    if path == "/v1/jobs" {
        return match *method {
            Method::GET => {
                json(&Jobs { jobs: machine.jobs.all().iter().map(|job| job.info()).collect() })
            }
            _ => {
                let wanted = read_bytes(body, MAX_START).await?;
                let wanted = serde_json::from_slice(&wanted).map_err(invalid)?;
                json(&start(&machine, wanted)?)
            }
        };
    }
    let which: Which = read_query(query)?;
    let job = machine.jobs.find(&which.id)?;
    match (method, path) {
        (&Method::GET, "/v1/jobs/info") => json(&job.info()),
        (&Method::GET, "/v1/jobs/output") => {
            Ok(streamed(output::frames(job, which.from, which.follow)))
        }
        (&Method::POST, "/v1/jobs/stdin") => {
            let bytes = read_bytes(body, MAX_INPUT).await?;
            if !bytes.is_empty() {
                write(&job, Some(bytes)).await?;
            }
            if which.end {
                write(&job, None).await?;
            }
            Ok(nothing())
        }
        (&Method::POST, "/v1/jobs/signal") => {
            let pid = job.running().ok_or_else(|| not_running(&job))?;
            signal_group(&machine, pid, which.signal)?.ok_or_else(|| not_running(&job))?;
            Ok(nothing())
        }
        (&Method::POST, "/v1/jobs/stop") => {
            let grace = Duration::from_millis(which.grace_ms.min(MAX_GRACE_MS));
            // In a task of its own: a stop that has begun goes on without its client.
            let stopping = tokio::spawn(async move {
                let info = life::stop(&machine, &job, grace).await;
                if which.forget {
                    machine.jobs.forget(&which.id);
                }
                info
            });
            json(&stopping.await.map_err(|error| {
                Failure::new(FailureCode::Io, format!("a stop was cut off: {error}"))
            })?)
        }
        (method, path) => {
            Err(Failure::new(FailureCode::NotFound, format!("no route {method} {path}")))
        }
    }
}

fn not_running(job: &Job) -> Failure {
    Failure::new(FailureCode::NotRunning, format!("job {} does not run", job.id))
}

/// Gives a job input. Waits while it has not read what came before.
async fn write(job: &Job, bytes: Option<bytes::Bytes>) -> Result<(), Failure> {
    if job.running().is_none() {
        return Err(not_running(job));
    }
    tokio::select! {
        sent = job.input.send(bytes) => sent.map_err(|_| not_running(job)),
        () = job.ended() => Err(not_running(job)),
    }
}
