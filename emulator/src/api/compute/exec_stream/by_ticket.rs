//! A streamed command in two steps (`api-reference/streaming-exec`): a ticket first, its events on a stream that a browser
//! can open.
//!
//! The command starts when its events are opened, not before: nothing runs that nobody watches, nothing has to be kept of
//! what it says, and a ticket that is never used leaves nothing behind. It runs once, as its ticket is good for once.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, json};
use uuid::Uuid;

use super::super::exec::request::Checked;
use super::super::exec::session::Session;
use super::super::sandboxes::Sandbox;
use super::super::sandboxes::awake::{awake, hold};
use super::lines::Line;
use crate::app::App;
use crate::http::exchange::ExchangeRef;
use crate::http::paths::BASE;
use crate::http::presented::Presented;
use crate::http::tickets::{self, Purpose};
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped, sse};
use crate::proxy::address::{self, ClientHost};

/// Where the events are.
pub(super) const EVENTS: &str = "/sandboxes/{id}/exec/stream/events";

/// How long a ticket is good for, in seconds (`api-reference/streaming-exec`).
const SECONDS: i64 = 60;

/// A command waits in memory for its stream; what it reads must be short (miosa-go 2.0, commands).
const MAX_STDIN: usize = 32 * 1024;

/// A command that waits for its stream.
struct Waiting {
    sandbox: Uuid,
    command: Checked,
}

/// Answers with a ticket for the command.
pub(super) fn mint(
    app: &App,
    sandbox: &Sandbox,
    command: Checked,
    presented: Presented,
    host: &ClientHost,
) -> ApiResult<Answer> {
    if command.stdin.as_ref().is_some_and(|stdin| stdin.len() > MAX_STDIN) {
        return Err(ApiError::field("stdin", format!("must have at most {MAX_STDIN} bytes here")));
    }
    let waiting = Waiting { sandbox: sandbox.id, command };
    let purpose = Purpose::Errand(EVENTS, Box::new(waiting));
    let minted = app.tickets.mint(&app.clock, sandbox.org, presented, SECONDS, purpose)?;
    let path = EVENTS.replace("{id}", &sandbox.id.to_string());
    let base = format!("{}{BASE}", address::origin(app, &host.0));
    Ok(Answer::One {
        status: StatusCode::ACCEPTED,
        value: json!({
            "ticket": minted.text,
            "expires_at": minted.expires_at.0.div_euclid(1000),
            "expires_in": SECONDS,
            "stream_url": format!("{base}{path}?ticket={}", minted.text),
        }),
        beside: Map::new(),
        location: None,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    ticket: String,
}

/// Runs the command and sends what it says. A client that goes away ends it.
pub(super) async fn events(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    let waiting: Waiting = tickets::errand(&app, &exchange, &query.ticket)?;
    if waiting.sandbox != sandbox.id {
        return Err(tickets::unknown());
    }
    let agent = awake(&app, &sandbox).await?;
    let id = app.ids.next();
    let session = Session::start(&app, &sandbox, &agent, id, waiting.command).await?;
    let active = hold(&app, &sandbox);
    Ok(sse::response(super::events(session, id, active, write)))
}

fn write(events: &mut Vec<u8>, stream: &str, line: &Line) {
    let data = json!({
        "type": "output", "stream": stream, "line": line.text, "data": line.with_end(),
    });
    events.extend_from_slice(&sse::event("output", &data));
}
