//! Making, moving, copying and removing.

use axum::extract::State;
use http::StatusCode;
use miosa_agent::protocol::{Entry, FileOp};
use serde::Deserialize;
use serde_json::Value;

use super::entry;
use super::path::Named;
use super::write::done;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::defects::defect;
use crate::http::{Answer, ApiError, ApiResult, Input, Params, Route, Scoped};

/// The routes.
pub fn routes() -> Vec<Route> {
    let write = |route: Route| route.scope("sandboxes:write");
    vec![
        write(Route::post("/sandboxes/{id}/fs/mkdir", mkdir)).repeatable(),
        write(Route::post("/sandboxes/{id}/files/mkdir", mkdir)).repeatable(),
        write(Route::post("/sandboxes/{id}/fs/rename", rename)),
        write(Route::post("/sandboxes/{id}/files/rename", rename)),
        write(Route::post("/sandboxes/{id}/fs/copy", copy)).repeatable(),
        write(Route::post("/sandboxes/{id}/files/copy", copy)).repeatable(),
        write(Route::post("/sandboxes/{id}/fs/chmod", chmod)).repeatable(),
        write(Route::post("/sandboxes/{id}/files/chmod", chmod)).repeatable(),
        write(Route::delete("/sandboxes/{id}/fs", remove)),
        write(Route::delete("/sandboxes/{id}/files", remove)),
    ]
}

async fn entry_of(app: &App, sandbox: &Sandbox, op: FileOp) -> ApiResult<Value> {
    let found: Entry = awake(app, sandbox).await?.file_op(&op).await?;
    Ok(entry::show(&found))
}

#[derive(Debug, Deserialize)]
struct Mkdir {
    #[serde(default)]
    path: Named,
    recursive: Option<bool>,
    #[serde(default, deserialize_with = "entry::mode")]
    mode: Option<u32>,
}

async fn mkdir(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Mkdir>,
) -> ApiResult<Answer> {
    let path = body.path.required()?.to_string();
    let recursive = body.recursive.unwrap_or(true);
    let made = entry_of(&app, &sandbox, FileOp::Mkdir { path, recursive, mode: body.mode }).await?;
    Ok(done(StatusCode::CREATED, made))
}

#[derive(Debug, Deserialize)]
struct FromTo {
    #[serde(default)]
    from: Named,
    #[serde(default)]
    to: Named,
    recursive: Option<bool>,
}

async fn rename(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<FromTo>,
) -> ApiResult<Answer> {
    let (from, to) = (body.from.required()?.to_string(), body.to.required()?.to_string());
    defect!(RenameCopies => {
        let copied = entry_of(&app, &sandbox, FileOp::Copy { from, to, recursive: true }).await?;
        return Ok(done(StatusCode::OK, copied));
    });
    let moved = entry_of(&app, &sandbox, FileOp::Rename { from, to }).await?;
    Ok(done(StatusCode::OK, moved))
}

async fn copy(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<FromTo>,
) -> ApiResult<Answer> {
    let (from, to) = (body.from.required()?.to_string(), body.to.required()?.to_string());
    let recursive = body.recursive.unwrap_or(false);
    let copied = entry_of(&app, &sandbox, FileOp::Copy { from, to, recursive }).await?;
    Ok(done(StatusCode::OK, copied))
}

#[derive(Debug, Deserialize)]
struct Chmod {
    #[serde(default)]
    path: Named,
    #[serde(default, deserialize_with = "entry::mode")]
    mode: Option<u32>,
}

async fn chmod(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Chmod>,
) -> ApiResult<Answer> {
    let path = body.path.required()?.to_string();
    let mode = body.mode.ok_or_else(|| ApiError::field("mode", "is missing"))?;
    defect!(ChmodForgotten => {
        let found = entry_of(&app, &sandbox, FileOp::Stat { path }).await?;
        return Ok(done(StatusCode::OK, found));
    });
    let changed = entry_of(&app, &sandbox, FileOp::Chmod { path, mode }).await?;
    Ok(done(StatusCode::OK, changed))
}

#[derive(Debug, Deserialize)]
struct InQuery {
    #[serde(default)]
    path: Named,
    recursive: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InBody {
    #[serde(default)]
    path: Named,
    recursive: Option<bool>,
}

/// The path is in the query (computesdk 1.0, miosa-elixir 1.1) or in the body (miosa-cli-go).
async fn remove(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<InQuery>,
    Input(body): Input<InBody>,
) -> ApiResult<Answer> {
    let asked = match query.recursive.as_deref() {
        None | Some("") => None,
        Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        Some(_) => return Err(ApiError::parameter("recursive", "must be true or false")),
    };
    let recursive = asked.or(body.recursive).unwrap_or(true);
    let path = if query.path.is_given() { query.path } else { body.path }.required()?.to_string();
    let agent = awake(&app, &sandbox).await?;
    defect!(DeleteByPrefix => crate::defects::files::remove_prefixed(&agent, &path).await?);
    let _: Value = agent.file_op(&FileOp::Remove { path, recursive }).await?;
    Ok(Answer::Empty)
}
