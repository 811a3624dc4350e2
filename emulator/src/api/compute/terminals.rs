//! Terminals: shells that outlive the socket they are seen on.
//!
//! A terminal keeps the end of what it showed. Whoever comes back within ten minutes sees that again and goes on; the last
//! to come takes the terminal over. It ends with its shell, with its sandbox, by `DELETE`, or when nobody comes. Typing is
//! activity of the sandbox; merely looking is not.

mod open;
pub mod registry;
mod session;
mod stream;

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::exec::terminal_size;
use super::sandboxes::Sandbox;
use super::sandboxes::awake::awake;
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Input, Route, Scoped};
use crate::proxy::address::ClientHost;

use open::Wanted;

/// Where a terminal is seen.
const STREAM: &str = "/sandboxes/{id}/terminal/stream";

/// Every route of the family. `repeatable`: terminals end with the emulator, so that one may be opened anew.
pub fn routes() -> Vec<Route> {
    [
        Route::post("/sandboxes/{id}/terminal", create).repeatable(),
        Route::get(STREAM, stream::stream).ticketed(),
        Route::delete("/sandboxes/{id}/terminal/{session_id}", delete).repeatable(),
        Route::post("/sandboxes/{id}/pty/{session_id}/resize", resize).repeatable(),
        Route::post("/sandboxes/{id}/exec/resize", resize_named).repeatable(),
    ]
    .into_iter()
    .map(|route| {
        let family = if route.info.path.ends_with("exec/resize") { "exec" } else { "terminals" };
        route.family(family).scope("sandboxes:exec")
    })
    .collect()
}

async fn create(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    host: ClientHost,
    Input(wanted): Input<Wanted>,
) -> ApiResult<Answer> {
    let shell = wanted.shell().to_owned();
    let terminal = open::open(&app, &sandbox, wanted).await?;
    let size = terminal.size();
    let origin = crate::proxy::address::origin(&app, &host.0);
    let path = STREAM.replace("{id}", &sandbox.id.to_string());
    let shown = json!({
        "session_id": terminal.id,
        "id": terminal.id,
        "sandbox_id": sandbox.id,
        "cols": size.cols,
        "rows": size.rows,
        "shell": shell,
        "pid": terminal.pid,
        "status": "running",
        "stream_url": format!(
            "{}{}{path}?session_id={}",
            // `http` becomes `ws`, and `https` becomes `wss`.
            origin.replacen("http", "ws", 1), crate::http::paths::BASE, terminal.id,
        ),
        "created_at": app.clock.now(sandbox.org),
    });
    Answer::created(&shown, format!("/sandboxes/{}/terminal/{}", sandbox.id, terminal.id))
}

async fn delete(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
) -> ApiResult<Answer> {
    app.terminals.find(sandbox.id, session(values.at(1))?)?.end().await;
    Ok(Answer::Empty)
}

/// The new size.
#[derive(Debug, Deserialize)]
struct Resize {
    rows: u16,
    cols: u16,
    session_id: Option<String>,
}

async fn resize(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    Input(body): Input<Resize>,
) -> ApiResult<Answer> {
    resized(&app, &sandbox, values.at(1), &body).await
}

/// The same, as the command line client says it.
async fn resize_named(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Resize>,
) -> ApiResult<Answer> {
    let named = body.session_id.as_deref();
    let named = named.ok_or_else(|| ApiError::field("session_id", "is missing"))?;
    resized(&app, &sandbox, named, &body).await
}

async fn resized(app: &App, sandbox: &Sandbox, named: &str, body: &Resize) -> ApiResult<Answer> {
    let size = terminal_size(Some(body.rows), Some(body.cols))?;
    let terminal = app.terminals.find(sandbox.id, session(named)?)?;
    // A terminal of a paused sandbox takes its size when it goes on.
    awake(app, sandbox).await?;
    terminal.resize(size).await;
    Answer::ok(&json!({
        "ok": true, "session_id": terminal.id, "rows": size.rows, "cols": size.cols,
    }))
}

/// The id that a client names.
fn session(named: &str) -> ApiResult<Uuid> {
    Uuid::parse_str(named).map_err(|_| ApiError::not_found("terminal", named))
}
