//! What can be done to a process: a signal, input, its end.

use std::time::Duration;

use axum::extract::State;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Process, look, request, show, start};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped};

/// Between TERM and KILL (miosa-go 2.0).
pub const GRACE: Duration = Duration::from_secs(5);

/// `DELETE …/processes/{pid}`: ends it and answers its record, which stays readable.
pub(super) async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<CommittedAnswer> {
    stop(&app, &exchange, &sandbox, values.at(1)).await
}

/// Ends a process: TERM, five seconds, KILL. One that has ended already is answered as it is.
///
/// # Errors
/// 404; 409 when the sandbox cannot take work.
pub async fn stop(
    app: &App,
    exchange: &ExchangeRef,
    sandbox: &Sandbox,
    named: &str,
) -> ApiResult<CommittedAnswer> {
    let mut process = look::find(app, sandbox, named).await?;
    if process.lives() && !defect!(KillAnswersOnly) {
        let agent = awake(app, sandbox).await?;
        let stopped = agent.stop_job(&process.job(), GRACE, false).await?;
        let now = app.clock.now(process.org);
        match stopped {
            Some(job) => process.learn(&job, now),
            None => process.lost("its machine was started anew", now),
        }
    }
    let (exchange, sandbox) = (exchange.clone(), sandbox.clone());
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            tx.update(&process)?;
            exchange.commit(tx, &Answer::ok(&show::show(&process, &sandbox))?)
        })
        .await
}

/// A signal by its number or its name, with or without `SIG`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a signal's name or number")]
pub enum Named {
    /// `15`.
    Number(i32),
    /// `SIGTERM`, `TERM`, `15`.
    Name(String),
}

impl Named {
    /// Its number.
    ///
    /// # Errors
    /// 422 for none that Linux has.
    pub fn number(&self) -> ApiResult<i32> {
        let known = match self {
            Self::Number(number) => Signal::try_from(*number).ok(),
            Self::Name(name) => {
                let name = name.trim().to_ascii_uppercase();
                let numbered = name.parse::<i32>().ok().and_then(|n| Signal::try_from(n).ok());
                numbered.or_else(|| format!("SIG{}", name.trim_start_matches("SIG")).parse().ok())
            }
        };
        known.map(|signal| signal as i32).ok_or_else(|| {
            ApiError::field("signal", "must be a signal's name (SIGTERM) or number (15)")
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct SignalBody {
    signal: Named,
}

pub(super) async fn signal(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Input(body): Input<SignalBody>,
) -> ApiResult<Answer> {
    let number = body.signal.number()?;
    send(&app, &sandbox, values.at(1), number).await?;
    done(json!({ "signal": number }))
}

/// Sends a signal to a process and what it has started.
///
/// # Errors
/// 404; 409 when it does not run.
pub async fn send(app: &App, sandbox: &Sandbox, named: &str, number: i32) -> ApiResult<Process> {
    let (process, agent) = start::running(app, sandbox, named).await?;
    agent.signal_job(&process.job(), number).await?;
    Ok(process)
}

#[derive(Debug, Deserialize)]
pub(super) struct StdinBody {
    data: Option<String>,
    data_base64: Option<String>,
    /// Whether the input ends with this.
    eof: Option<bool>,
}

pub(super) async fn stdin(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Input(body): Input<StdinBody>,
) -> ApiResult<Answer> {
    let end = body.eof == Some(true);
    let bytes = request::input(body.data, body.data_base64.as_deref())?;
    if bytes.is_empty() && !end {
        return Err(ApiError::field("data", "is missing"));
    }
    let (process, agent) = start::running(&app, &sandbox, values.at(1)).await?;
    let written = bytes.len();
    agent.job_input(&process.job(), bytes, end).await?;
    done(json!({ "bytes": written }))
}

fn done(mut with: Value) -> ApiResult<Answer> {
    if let Some(fields) = with.as_object_mut() {
        fields.insert("ok".into(), true.into());
        fields.insert("success".into(), true.into());
    }
    Answer::ok(&with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_every_spelling() {
        for (named, number) in [
            (json!(15), 15),
            (json!("15"), 15),
            (json!("SIGTERM"), 15),
            (json!("kill"), 9),
            (json!("INT"), 2),
        ] {
            let signal: Named = serde_json::from_value(named).unwrap();
            assert_eq!(signal.number().unwrap(), number);
        }
        for named in [json!(0), json!(999), json!("SIGNOTHING"), json!("")] {
            let signal: Named = serde_json::from_value(named).unwrap();
            assert_eq!(signal.number().unwrap_err().code.status, 422);
        }
    }
}
