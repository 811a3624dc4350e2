//! Commands that one talks with, on a WebSocket: input, output, a terminal's size, the end.
//!
//! One conversation, four dialects: clients have framed it differently over time, and each has its path or subprotocol
//! (`dialect`). The socket is the command's life: closing it kills the command.

mod ask;
mod bare;
mod characters;
mod dialect;
mod frames;
mod json;
mod ports;
mod spawn;
mod talk;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use miosa_agent::protocol;

use super::exec::session::refused;
use super::exec::witness::Witness;
use super::sandboxes::Sandbox;
use super::sandboxes::awake::{awake, hold};
use crate::app::App;
use crate::http::socket::Upgrade;
use crate::http::{ApiResult, Route, Scoped};

use ask::Asked;
pub(super) use bare::resize;
use dialect::Dialect;
use talk::Talk;

/// The subprotocol of the framed dialect (miosa-typescript, miosa-go 2.0).
const FRAMES_PROTOCOL: &str = "miosa-exec-v1";

/// The routes.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/sandboxes/{id}/exec/stream", stream),
        Route::get("/sandboxes/{id}/exec/spawn", spawn),
        Route::get("/sandboxes/{id}/exec/ws", ws),
    ]
    .into_iter()
    .map(|route| route.family("exec").scope("sandboxes:exec").ticketed())
    .collect()
}

async fn stream(
    State(app): State<App>,
    upgrade: Upgrade,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    asked: Asked,
) -> ApiResult<Response> {
    let (upgrade, framed) = upgrade.speaking(FRAMES_PROTOCOL);
    // miosa-python 2.19 asks for no subprotocol.
    let dialect = if framed { Dialect::Frames } else { Dialect::Json };
    open(&app, upgrade, &sandbox, &headers, &asked, dialect).await
}

async fn spawn(
    State(app): State<App>,
    upgrade: Upgrade,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    asked: Asked,
) -> ApiResult<Response> {
    open(&app, upgrade, &sandbox, &headers, &asked, Dialect::Spawn).await
}

async fn ws(
    State(app): State<App>,
    upgrade: Upgrade,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    asked: Asked,
) -> ApiResult<Response> {
    open(&app, upgrade, &sandbox, &headers, &asked, Dialect::Bare).await
}

/// Starts the command before the socket opens: what cannot start is refused as any request is.
async fn open(
    app: &App,
    upgrade: Upgrade,
    sandbox: &Sandbox,
    headers: &HeaderMap,
    asked: &Asked,
    dialect: Dialect,
) -> ApiResult<Response> {
    let exec = asked.exec(dialect, headers)?;
    let agent = awake(app, sandbox).await?;
    let (argv, cwd) = (matches!(exec.command, protocol::Command::Argv(_)), exec.cwd.is_some());
    let listening = ports::listening(&agent, dialect).await;
    let command = exec.command.clone();
    let started = agent.exec(exec).await;
    let running = started.map_err(|error| ask::of_query(refused(error, argv, cwd)))?;
    let witness = Witness::of(app, sandbox, app.ids.next(), &command);
    let active = hold(app, sandbox);
    let talk = Talk { running, witness, agent, dialect, listening, stopping: app.stopping.clone() };
    Ok(upgrade.open(app, |socket| async move {
        let _active = active;
        talk.over(socket).await;
    }))
}
