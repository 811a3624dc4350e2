//! Which request does what.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use miosa_agent::protocol::{Failure, FailureCode, FileOp, Health, Signal};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer::{Body, Outcome, failure, invalid, json, nothing};
use crate::machine::Machine;
use crate::{content, egress, exec, files, jobs, ports, tunnel, usage};

/// The longest JSON that is read, in bytes.
const MAX_JSON: usize = 64 * 1024;

/// The longest environment: what a process can have, and what JSON makes of it.
const MAX_ENVIRONMENT: usize = 1024 * 1024;

/// How long the body of a short request may take.
const BODY_TIME: Duration = Duration::from_secs(10);

pub async fn answer(machine: Arc<Machine>, request: Request<Incoming>) -> Response<Body> {
    route(machine, request).await.unwrap_or_else(|refusal| failure(&refusal))
}

async fn route(machine: Arc<Machine>, request: Request<Incoming>) -> Outcome {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/health") => json(&Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: machine.started.elapsed().as_millis() as u64,
        }),
        (&Method::POST, "/v1/exec") => exec::run(machine, body).await,
        (&Method::POST, "/v1/signal") => {
            let wanted: Signal = read_json(body).await?;
            signal(&machine, wanted)
        }
        (method, path) if path.starts_with("/v1/jobs") => {
            jobs::routes::answer(machine, method, path, query, body).await
        }
        (&Method::POST, path) if path.starts_with("/v1/files/") => {
            let op: FileOp = read_json(body).await?;
            let answered = blocking(move || files::run(&machine.workspace, op)).await?;
            json(&answered)
        }
        (&Method::GET, "/v1/content") => content::read(machine, read_query(query)?).await,
        (&Method::PUT, "/v1/content") => content::write(machine, read_query(query)?, body).await,
        (&Method::GET, "/v1/pack") => files::pack::stream(machine, read_query(query)?).await,
        (&Method::PUT, "/v1/unpack") => {
            files::unpack::take(machine, read_query(query)?, body).await
        }
        (&Method::GET, "/v1/watch") => files::watch::follow(machine, read_query(query)?).await,
        (&Method::POST, "/v1/tcp") => tunnel::to_port(read_query(query)?, body).await,
        (&Method::POST, "/v1/egress") => egress::take(&machine, body).await,
        (&Method::PUT, "/v1/environment") => {
            let to = read_bytes(body, MAX_ENVIRONMENT).await?;
            machine.change_environment(serde_json::from_slice(&to).map_err(invalid)?)?;
            Ok(nothing())
        }
        (&Method::GET, "/v1/ports") => {
            json(&blocking(move || Ok(ports::listening(&machine))).await?)
        }
        (&Method::GET, "/v1/usage") => json(&blocking(move || Ok(usage::measure(&machine))).await?),
        (&Method::POST, "/v1/freeze") => {
            machine.freeze().await;
            Ok(nothing())
        }
        (&Method::POST, "/v1/thaw") => {
            machine.thaw();
            Ok(nothing())
        }
        (&Method::POST, "/v1/shutdown") => {
            let Shutdown { grace_ms } = read_query(query)?;
            let grace = Duration::from_millis(grace_ms.min(MAX_GRACE_MS));
            machine.shutdown.send_modify(|asked| *asked = asked.or(Some(grace)));
            Ok(nothing())
        }
        (method, path) => {
            Err(Failure::new(FailureCode::NotFound, format!("no route {method} {path}")))
        }
    }
}

/// The longest grace of a shutdown.
const MAX_GRACE_MS: u64 = 60_000;

#[derive(Deserialize)]
struct Shutdown {
    #[serde(default)]
    grace_ms: u64,
}

fn signal(machine: &Machine, Signal { pid, signal }: Signal) -> Outcome {
    signal_group(machine, pid, signal)?
        .ok_or_else(|| Failure::new(FailureCode::NotFound, format!("no command {pid} runs")))?;
    Ok(nothing())
}

/// Sends a signal to the group of a command; `None` when it does not run any more.
pub fn signal_group(machine: &Machine, pid: i32, signal: i32) -> Result<Option<()>, Failure> {
    let signal = nix::sys::signal::Signal::try_from(signal)
        .map_err(|_| invalid(format_args!("{signal} is not a signal")))?;
    machine
        .reaper
        .while_running(pid, || nix::sys::signal::kill(Pid::from_raw(-pid), signal))
        .transpose()
        .map_err(|error| Failure::new(FailureCode::Io, error.to_string()))
}

/// Runs what waits for the disk where it holds up nobody else.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(FailureCode::Io, error.to_string()))?
}

pub fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Failure> {
    serde_urlencoded::from_str(query).map_err(invalid)
}

async fn read_json<T: DeserializeOwned>(body: Incoming) -> Result<T, Failure> {
    serde_json::from_slice(&read_bytes(body, MAX_JSON).await?).map_err(invalid)
}

/// A whole body of at most `most` bytes.
pub async fn read_bytes(body: Incoming, most: usize) -> Result<Bytes, Failure> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect());
    Ok(whole.await.map_err(invalid)?.map_err(invalid)?.to_bytes())
}
