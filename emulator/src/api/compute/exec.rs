//! Commands in a sandbox, answered when they have ended.
//!
//! A command that fails is an answer with its exit code, never an error (`api-reference/exec`). One that runs into its
//! timeout is an answer too: `timed_out`, exit code -1 (miosa-go 2.0, commands).

pub mod outcome;
pub mod request;
pub mod session;
pub mod witness;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;

use super::processes::request::Wanted;
use super::processes::{Origin, start};
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use miosa_agent::protocol::TerminalSize;

use crate::app::App;
use crate::defects::defect;
use crate::http::exchange::ExchangeRef;
use crate::http::idempotency::outcome_unknown;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, Scoped};

use outcome::Outcome;
use request::{Command, Limits};
use session::Session;

/// Seconds. The documented bound is 300 (`api-reference/exec`); agent workspaces ask for more (miosa-python 2.19).
const LIMITS: Limits = Limits { default: 30, most: 600 };

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/exec", exec)
            .family("exec")
            .scope("sandboxes:exec")
            .ends_with_client(),
    ]
}

async fn exec(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Input(command): Input<Command>,
) -> ApiResult<Response> {
    if command.is_detached() {
        let request::Checked { exec, stdin, .. } = command.detach(&LIMITS, &headers)?;
        let origin = Origin::Command;
        let wanted = Wanted { exec, stdin, open: false, name: None, origin };
        return start::detached(&app, &exchange, &sandbox, wanted).await;
    }
    let command = command.check(&LIMITS, &headers)?;
    let agent = awake(&app, &sandbox).await?;
    let _active = hold(&app, &sandbox);
    let id = app.ids.next();
    let _turn: Option<tokio::sync::MutexGuard<'static, ()>> =
        defect!(OneAtATime, Some(crate::defects::commands::turn().await), None);
    let session = Session::start(&app, &sandbox, &agent, id, command)
        .await
        .map_err(|error| broken(&exchange, error))?;
    let outcome = Outcome::collect(session).await.map_err(|error| broken(&exchange, error))?;
    Ok(Answer::ok(&outcome.show(id))?.into_response())
}

/// A command whose agent has gone may have run. Under a key it must not run again; without one the client decides.
pub fn broken(exchange: &ExchangeRef, error: ApiError) -> ApiError {
    let sent = matches!(error.code.status, 500 | 502 | 504);
    if sent && exchange.claim.get().is_some() {
        let log = error.log.unwrap_or(error.message);
        return outcome_unknown().log(log);
    }
    error
}

/// The size of a terminal, in characters.
///
/// # Errors
/// 422 when nobody could have such a one.
pub fn terminal_size(rows: Option<u16>, cols: Option<u16>) -> ApiResult<TerminalSize> {
    const USUAL: TerminalSize = TerminalSize { rows: 24, cols: 80 };
    const MOST: u16 = 2000;
    let size = TerminalSize { rows: rows.unwrap_or(USUAL.rows), cols: cols.unwrap_or(USUAL.cols) };
    for (field, number) in [("rows", size.rows), ("cols", size.cols)] {
        if !(1..=MOST).contains(&number) {
            return Err(ApiError::field(field, format!("must be a whole number from 1 to {MOST}")));
        }
    }
    Ok(size)
}
