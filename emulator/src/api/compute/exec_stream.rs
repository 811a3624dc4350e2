//! Commands in a sandbox, line by line while they run.
//!
//! The events carry their type in the data too: miosa-typescript never looks at an event's name. `line` is the line,
//! `data` is the same text with its line end, for consumers that join the pieces again.
//!
//! Who asks for a `ticket` gets one, and takes the events with it (`by_ticket`).

mod by_ticket;
pub mod lines;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

use super::exec::broken;
use super::exec::request::{Command, Limits};
use super::exec::session::Session;
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{ActivityGuard, awake, hold};
use crate::app::App;
use crate::defects::defect;
use crate::http::exchange::ExchangeRef;
use crate::http::presented::Presented;
use crate::http::{ApiError, ApiResult, Input, Route, Scoped, sse};
use crate::machines::agent::Output;
use crate::proxy::address::ClientHost;

use lines::{Line, Lines};

/// Seconds. A stream shows a server that runs on (miosa-python 2.19, agent workspaces), so it has the time it may have.
const LIMITS: Limits = Limits { default: 900, most: 900 };

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/sandboxes/{id}/exec/stream", stream)
            .family("exec")
            .scope("sandboxes:exec")
            .ends_with_client(),
        Route::get(by_ticket::EVENTS, by_ticket::events)
            .family("exec")
            .scope("sandboxes:exec")
            .ticketed(),
    ]
}

async fn stream(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    presented: Presented,
    host: ClientHost,
    headers: HeaderMap,
    Input(command): Input<Command>,
) -> ApiResult<Response> {
    let by_ticket = command.by_ticket();
    let command = command.check(&LIMITS, &headers)?;
    let agent = awake(&app, &sandbox).await?;
    if by_ticket {
        return by_ticket::mint(&app, &sandbox, command, presented, &host)
            .map(IntoResponse::into_response);
    }
    let id = app.ids.next();
    let session = Session::start(&app, &sandbox, &agent, id, command)
        .await
        .map_err(|error| broken(&exchange, error))?;
    let active = hold(&app, &sandbox);
    defect!(LeaverStopsSandbox => {
        let events = events(session, id, active, write);
        return Ok(sse::response(crate::defects::commands::stopping(&app, sandbox.id, events)));
    });
    Ok(sse::response(events(session, id, active, write)))
}

/// Writes a line of one of the two streams as an event.
type Write = fn(&mut Vec<u8>, &str, &Line);

/// The command's lines as events. Only as fast as the client reads; dropping it kills the command.
fn events(
    session: Session,
    id: Uuid,
    active: ActivityGuard,
    write: Write,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    let following = Following {
        session,
        id,
        stdout: Lines::default(),
        stderr: Lines::default(),
        ended: false,
        write,
        _active: active,
    };
    futures_util::stream::unfold(following, |mut following| async move {
        if following.ended {
            return None;
        }
        let events = following.next().await.map_err(|error| {
            following.ended = true;
            let text = error.log.unwrap_or(error.message);
            tracing::warn!("a command's stream broke off: {text}");
            std::io::Error::other(text)
        });
        Some((events, following))
    })
}

struct Following {
    session: Session,
    id: Uuid,
    stdout: Lines,
    stderr: Lines,
    ended: bool,
    write: Write,
    _active: ActivityGuard,
}

impl Following {
    /// The next events, at least one.
    async fn next(&mut self) -> ApiResult<Bytes> {
        let (mut events, write) = (Vec::new(), self.write);
        while events.is_empty() {
            match self.session.next().await? {
                Some(Output::Stdout(bytes)) => {
                    self.stdout.feed(&bytes, |line| write(&mut events, "stdout", &line));
                }
                Some(Output::Stderr(bytes)) => {
                    let name = defect!(StderrAsStdout, "stdout", "stderr");
                    self.stderr.feed(&bytes, |line| write(&mut events, name, &line));
                }
                Some(Output::Exit(exit)) => {
                    if !defect!(LastLineLost) {
                        self.stdout.end(|line| write(&mut events, "stdout", &line));
                    }
                    self.stderr.end(|line| write(&mut events, "stderr", &line));
                    let code = if exit.timed_out { -1 } else { exit.exit_code };
                    let data = json!({
                        "type": "exit", "exit_code": code, "exitCode": code,
                        "duration_ms": exit.duration_ms, "timed_out": exit.timed_out,
                        "exec_id": self.id,
                    });
                    events.extend_from_slice(&sse::event("exit", &data));
                    self.ended = true;
                }
                None => {
                    return Err(ApiError::internal("a command's stream ended without its exit"));
                }
            }
        }
        Ok(events.into())
    }
}

/// Writes a line as an event.
pub fn write(events: &mut Vec<u8>, name: &str, line: &Line) {
    let data = json!({ "type": name, "line": line.text, "data": line.with_end() });
    events.extend_from_slice(&sse::event(name, &data));
}
