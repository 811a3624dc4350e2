//! A step of a build: a command that runs to its end, heard line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use miosa_agent::protocol::{Command, Exec};
use serde_json::json;
use tokio::time::timeout;

use super::journal::{AGE, Journal, Listener, Speaker};
use super::record::Failure;
use super::run::Stop;
use crate::machines::agent::Output;
use crate::machines::{Agent, MachineError};

/// The agent ends a command at its timeout; when it has said nothing for this long after, it is not there any more.
const LATE: Duration = Duration::from_secs(10);

/// A command for the shell, as the machine's defaults have it.
pub fn shell(line: &str, within: Option<Duration>) -> Exec {
    let ms = |within: Duration| u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    Exec {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        timeout_ms: within.map(ms),
        stdin: false,
        tty: None,
        detached: false,
    }
}

/// Runs a step.
pub async fn run(
    agent: &Agent,
    journal: &mut Journal,
    (number, of): (usize, usize),
    line: &str,
    within: Duration,
) -> Result<(), Stop> {
    journal.say("step_started", json!({ "step": number, "of": of, "command": line }));
    journal.flush().await?;
    let mut running = agent
        .exec(shell(line, Some(within)))
        .await
        .map_err(|error| unstarted(number, line, &error))?;
    let mut listener = Listener::new(Speaker::Step(number));
    let mut quiet = Duration::ZERO;
    loop {
        let output = match timeout(AGE, running.next()).await {
            Ok(Some(output)) => output.map_err(lost)?,
            Ok(None) => return Err(lost("its stream ended without an exit")),
            Err(_) => {
                quiet += AGE;
                if quiet > within + LATE {
                    return Err(lost("it says nothing any more"));
                }
                journal.settle().await?;
                continue;
            }
        };
        quiet = Duration::ZERO;
        listener.hear(&output, journal);
        journal.settle().await?;
        let Output::Exit(exit) = output else { continue };
        let code = if exit.timed_out { -1 } else { exit.exit_code };
        journal.say(
            "step_finished",
            json!({ "step": number, "exit_code": code, "duration_ms": exit.duration_ms }),
        );
        let said = listener.last_words();
        let words = if said.is_empty() { String::new() } else { format!(": {said}") };
        let name = named(number, line);
        return if exit.timed_out {
            let text = format!("{name} took longer than {} s{words}", within.as_secs());
            Err(Failure::new("BUILD_STEP_TIMEOUT", text).into())
        } else if code != 0 {
            Err(Failure::new("BUILD_STEP_FAILED", format!("{name} exited {code}{words}")).into())
        } else {
            Ok(())
        };
    }
}

/// `step 3 \`npm ci\``, as miosa-cli shows it.
fn named(number: usize, line: &str) -> String {
    const MOST: usize = 120;
    let first = line.lines().next().unwrap_or_default();
    let short: String = first.chars().take(MOST).collect();
    let more = if short.len() < line.trim_end().len() { "…" } else { "" };
    format!("step {number} `{short}{more}`")
}

/// The agent could not start it: the user or the directory of the spec is not there.
fn unstarted(number: usize, line: &str, error: &MachineError) -> Stop {
    match error {
        MachineError::Agent(failure) => {
            let text = format!("{} cannot start: {}", named(number, line), failure.message);
            Failure::new("BUILD_STEP_FAILED", text).into()
        }
        other => lost(other),
    }
}

/// The machine went away in the middle.
pub fn lost(error: impl std::fmt::Display) -> Stop {
    Failure::new("BUILD_MACHINE_LOST", format!("the build's machine went away: {error}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_by_its_number_and_first_line() {
        assert_eq!(named(3, "npm ci"), "step 3 `npm ci`");
        assert_eq!(named(1, "a\nb"), "step 1 `a…`");
        assert!(named(1, &"x".repeat(500)).len() < 150);
    }
}
