//! `/commands`: the newest way to run a command (miosa-go 2.0, miosa-cli-go), in two forms that its fields tell apart.
//!
//! With `timeout_seconds` or `stdin`, or with nothing of either form, it is answered when it has ended. With `detached`, or as
//! older command lines ask (`sudo`, `tty`, `interactive`), it is started and answered with its number.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;

use super::exec::broken;
use super::exec::outcome::Outcome;
use super::exec::request::{Checked, Words, too_long};
use super::exec::session::Session;
use super::processes::request::Body;
use super::processes::{Origin, Process, control, logs, look, show, start};
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Pages, Params, Route, Scoped};

/// Seconds, when the client says nothing (miosa-go 2.0).
const USUAL: u64 = 60;
/// Seconds, at most.
const MOST: u64 = 600;
/// Bytes of a command line (miosa-go 2.0).
const MAX_COMMAND: usize = 65_536;
/// Bytes of `stdin` (miosa-go 2.0).
const MAX_STDIN: usize = 32_768;

/// The routes.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("processes").scope("sandboxes:read");
    let run = |route: Route| route.family("processes").scope("sandboxes:exec");
    vec![
        run(Route::post("/sandboxes/{id}/commands", run_command)).ends_with_client(),
        read(Route::get("/sandboxes/{id}/commands", list)),
        read(Route::get("/sandboxes/{id}/commands/{pid}", get)),
        read(Route::get("/sandboxes/{id}/commands/{pid}/logs", output)),
        run(Route::post("/sandboxes/{id}/commands/{pid}/kill", kill)),
    ]
}

/// Whether it is the detached form.
fn is_detached(body: &Body) -> bool {
    let synchronous = body.timeout_seconds.is_some() || body.stdin.is_some();
    let older = body.sudo.is_some() || body.tty.is_some() || body.interactive.is_some();
    body.detached.unwrap_or(older && !synchronous)
}

/// Checks what holds for both forms.
fn check(body: &Body) -> ApiResult<Duration> {
    if let Some(Words::Line(line)) = &body.command
        && line.len() > MAX_COMMAND
    {
        return Err(ApiError::field("command", format!("must have at most {MAX_COMMAND} bytes")));
    }
    if body.stdin.as_ref().is_some_and(|stdin| stdin.len() > MAX_STDIN) {
        return Err(ApiError::field("stdin", format!("must have at most {MAX_STDIN} bytes")));
    }
    match body.timeout_seconds.unwrap_or(USUAL) {
        0 => Err(ApiError::field("timeout_seconds", "must be at least 1 second")),
        seconds if seconds > MOST => Err(too_long("timeout_seconds", MOST)),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

async fn run_command(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Body>,
) -> ApiResult<Response> {
    let timeout = check(&body)?;
    if is_detached(&body) {
        let wanted = body.detached()?;
        return start::detached(&app, &exchange, &sandbox, wanted).await;
    }
    let stdin = body.stdin.clone().map(Bytes::from);
    let mut exec = body.exec()?;
    exec.stdin = stdin.is_some();
    exec.timeout_ms = u64::try_from(timeout.as_millis()).ok();
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let id = app.ids.next();
    let session = Session::start(&app, &sandbox, &agent, id, Checked { exec, stdin, timeout })
        .await
        .map_err(|error| broken(&exchange, error))?;
    let outcome = Outcome::collect(session).await.map_err(|error| broken(&exchange, error))?;
    Ok(Answer::ok(&outcome.show(id))?.into_response())
}

/// The detached commands, those that have ended included.
async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    pages: Pages,
) -> ApiResult<Answer> {
    look::refresh(&app, &sandbox).await?;
    let mut filter = look::of(&sandbox);
    filter.fields = vec![("$.origin".to_owned(), "command".to_owned())];
    let listing = pages.read::<Process>(&app.store, filter, &exchange).await?;
    let mut answer = Answer::list(listing, |process| show::show(&process, &sandbox))?;
    if let Answer::List { plural, .. } = &mut answer {
        *plural = "commands";
    }
    Ok(answer)
}

/// A detached command; what `/processes` has started is not one.
async fn find(app: &App, sandbox: &Sandbox, named: &str) -> ApiResult<Process> {
    let found = look::find(app, sandbox, named).await?;
    if found.origin == Origin::Command {
        Ok(found)
    } else {
        Err(ApiError::not_found("command", named))
    }
}

async fn get(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Answer> {
    let command = find(&app, &sandbox, values.at(1)).await?;
    Answer::ok(&show::show(&command, &sandbox))
}

async fn output(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Params(query): Params<logs::Query>,
) -> ApiResult<Answer> {
    let tail = query.lines()?;
    let command = find(&app, &sandbox, values.at(1)).await?;
    let kept = logs::of(&app, &sandbox, &command.id.to_string()).await?;
    Answer::ok(&kept.show(tail))
}

#[derive(Debug, Deserialize)]
struct Kill {
    signal: Option<control::Named>,
}

/// Without a signal it is ended as `DELETE …/processes/{pid}` ends one.
async fn kill(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Input(body): Input<Kill>,
) -> ApiResult<CommittedAnswer> {
    let signal = body.signal.map(|signal| signal.number()).transpose()?;
    let command = find(&app, &sandbox, values.at(1)).await?;
    let id = command.id.to_string();
    let Some(number) = signal else {
        return control::stop(&app, &exchange, &sandbox, &id).await;
    };
    let command = control::send(&app, &sandbox, &id, number).await?;
    let answer = Answer::ok(&show::show(&command, &sandbox))?;
    app.store.write(move |tx| exchange.commit(tx, &answer)).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(value: Value) -> Body {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_fields_tell_the_forms_apart() {
        for (value, detached) in [
            (json!({ "command": "a" }), false),
            (json!({ "command": "a", "timeout_seconds": 5 }), false),
            (json!({ "command": "a", "timeout_seconds": 5, "tty": true }), false),
            (json!({ "command": "a", "stdin": "x", "sudo": false }), false),
            (json!({ "command": "a", "detached": false, "sudo": true }), false),
            (json!({ "command": "a", "detached": true, "timeout_seconds": 5 }), true),
            (json!({ "command": "a", "sudo": false, "tty": false, "interactive": false }), true),
        ] {
            assert_eq!(is_detached(&body(value.clone())), detached, "{value}");
        }
    }

    #[test]
    fn bounds_are_refused_not_clamped() {
        let refused = |value| check(&body(value)).unwrap_err().code.name;
        assert_eq!(refused(json!({ "timeout_seconds": 601 })), "TIMEOUT_TOO_LONG");
        assert_eq!(refused(json!({ "timeout_seconds": 30_000 })), "TIMEOUT_TOO_LONG");
        assert_eq!(refused(json!({ "timeout_seconds": 0 })), "VALIDATION_FAILED");
        assert_eq!(refused(json!({ "stdin": "x".repeat(MAX_STDIN + 1) })), "VALIDATION_FAILED");
        assert_eq!(refused(json!({ "command": "x".repeat(MAX_COMMAND + 1) })), "VALIDATION_FAILED");
        let fits = json!({ "command": "x".repeat(MAX_COMMAND), "stdin": "x".repeat(MAX_STDIN) });
        assert_eq!(check(&body(fits)).unwrap().as_secs(), USUAL);
    }
}
