//! Whether what was built works, tried in the build's own machine before its files are sealed.
//!
//! With a start command it is started and must go on, or end well. Then the ready command must succeed, or without one
//! the preview port must be listened on; without any of them it is enough that commands run.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::journal::{AGE, Journal, Listener, Speaker};
use super::record::Failure;
use super::run::Stop;
use super::step::{lost, shell};
use crate::api::compute::templates::spec::Spec;
use crate::machines::Agent;
use crate::machines::agent::{Output, Running};

/// How long one try of the ready command may take.
const TRY: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a start command is watched when nothing else tells whether it works.
const WATCHED: Duration = Duration::from_secs(1);
/// What is kept of what the ready command says.
const SAID: usize = 4096;

/// What one try has found.
enum Found {
    Works,
    NotYet(String),
}

/// Tries the template out; answers what the record says of it.
pub async fn certify(
    agent: &Agent,
    journal: &mut Journal,
    spec: &Spec,
    within: Duration,
) -> Result<Value, Stop> {
    let began = Instant::now();
    let deadline = began + within;
    let mut start = match &spec.start_cmd {
        Some(line) => Some(Start::new(agent, line).await?),
        None => None,
    };
    let check = match spec {
        Spec { ready_cmd: Some(_), .. } => "ready_command",
        Spec { start_cmd: Some(_), preview_port: Some(_), .. } => "port",
        Spec { start_cmd: Some(_), .. } => "start_command",
        _ => "command",
    };
    let (mut attempts, mut why) = (0, String::from("nothing was tried"));
    loop {
        attempts += 1;
        let tried = {
            let trying = attempt(agent, spec, check);
            tokio::pin!(trying);
            loop {
                tokio::select! {
                    tried = &mut trying => break Some(tried?),
                    () = sleep_until(deadline) => break None,
                    heard = Start::hear(&mut start, journal) => heard?,
                    () = sleep(AGE) => journal.settle().await?,
                }
            }
        };
        match tried {
            Some(Found::Works) => {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(json!({
                    "status": "passed", "check": check, "attempts": attempts, "duration_ms": ms,
                }));
            }
            Some(Found::NotYet(reason)) => why = reason,
            None => {
                let text = format!("{check} did not pass within {} s: {why}", within.as_secs());
                return Err(Failure::new("CERTIFICATION_FAILED", text).into());
            }
        }
        sleep(PAUSE).await;
    }
}

async fn attempt(agent: &Agent, spec: &Spec, check: &str) -> Result<Found, Stop> {
    match (check, &spec.ready_cmd, spec.preview_port) {
        ("ready_command", Some(line), _) => command(agent, line).await,
        ("port", _, Some(port)) => {
            let ports = agent.ports().await.map_err(lost)?;
            let listens = ports.ports.iter().any(|open| open.port == port);
            let reason = format!("nothing listens on port {port}");
            Ok(if listens { Found::Works } else { Found::NotYet(reason) })
        }
        ("start_command", ..) => {
            sleep(WATCHED).await;
            Ok(Found::Works)
        }
        _ => command(agent, ":").await,
    }
}

async fn command(agent: &Agent, line: &str) -> Result<Found, Stop> {
    let run = agent.run(shell(line, Some(TRY)), None, SAID).await;
    let finished = match run {
        Ok(finished) => finished,
        // It cannot start: who it should run as is not there, or where.
        Err(crate::machines::MachineError::Agent(failure)) => {
            return Ok(Found::NotYet(failure.message));
        }
        Err(error) => return Err(lost(error)),
    };
    if finished.exit.exit_code == 0 {
        return Ok(Found::Works);
    }
    let said = if finished.stderr.is_empty() { finished.stdout } else { finished.stderr };
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().last().unwrap_or_default().trim().to_owned();
    let words = if last.is_empty() { last } else { format!(": {last}") };
    Ok(Found::NotYet(format!("it exited {}{words}", finished.exit.exit_code)))
}

/// The start command, while it is tried. Dropping it ends it.
struct Start {
    running: Running,
    listener: Listener,
}

impl Start {
    async fn new(agent: &Agent, line: &str) -> Result<Self, Stop> {
        let running = agent.exec(shell(line, None)).await;
        let running = running.map_err(|error| {
            Stop::from(Failure::new("CERTIFICATION_FAILED", format!("startCmd: {error}")))
        })?;
        Ok(Self { running, listener: Listener::new(Speaker::Start) })
    }

    /// Hears the next piece; for ever, when there is nothing more to hear.
    async fn hear(start: &mut Option<Self>, journal: &mut Journal) -> Result<(), Stop> {
        let Some(this) = start else { return std::future::pending().await };
        let output = match this.running.next().await {
            Some(output) => output.map_err(lost)?,
            None => return Err(lost("the start command's stream ended without its exit")),
        };
        this.listener.hear(&output, journal);
        let Output::Exit(exit) = output else { return Ok(()) };
        if exit.exit_code == 0 {
            *start = None;
            return Ok(());
        }
        let said = this.listener.last_words();
        let words = if said.is_empty() { String::new() } else { format!(": {said}") };
        let text = format!("startCmd exited {}{words}", exit.exit_code);
        Err(Failure::new("CERTIFICATION_FAILED", text).into())
    }
}
