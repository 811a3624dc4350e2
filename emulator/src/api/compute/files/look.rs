//! What is there: one entry, a directory, a tree.

use axum::extract::State;
use miosa_agent::protocol::{Entry, FileOp, Listing, Tree};
use serde::Deserialize;
use serde_json::{Value, json};

use super::entry;
use super::path::Named;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::defects::defect;
use crate::http::validation::numeric;
use crate::http::{Answer, ApiError, ApiResult, Input, Params, Route, Scoped};

/// The agent goes no deeper.
const MAX_DEPTH: u32 = 20;

/// The routes.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.scope("sandboxes:read").repeatable();
    vec![
        read(Route::post("/sandboxes/{id}/fs/stat", stat)),
        read(Route::post("/sandboxes/{id}/files/stat", stat)),
        read(Route::get("/sandboxes/{id}/fs/stat", stat_in_query)),
        read(Route::get("/sandboxes/{id}/files/stat", stat_in_query)),
        read(Route::get("/sandboxes/{id}/fs", list)),
        read(Route::get("/sandboxes/{id}/files", list)),
        read(Route::get("/sandboxes/{id}/files/list", list)),
        read(Route::get("/sandboxes/{id}/files/tree", tree)),
    ]
}

#[derive(Debug, Deserialize)]
struct One {
    #[serde(default)]
    path: Named,
}

async fn stat(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Input(one): Input<One>,
) -> ApiResult<Answer> {
    described(&app, &sandbox, &one).await
}

/// The reference asks this way of computers (`api-reference/filesystem`), the SDKs by POST.
async fn stat_in_query(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(one): Params<One>,
) -> ApiResult<Answer> {
    described(&app, &sandbox, &one).await
}

async fn described(app: &App, sandbox: &Sandbox, one: &One) -> ApiResult<Answer> {
    let path = one.path.required()?.to_string();
    let agent = awake(app, sandbox).await?;
    let found: Entry = agent.file_op(&FileOp::Stat { path }).await?;
    Answer::ok(&entry::show(&found))
}

#[derive(Debug, Deserialize)]
struct Below {
    #[serde(default)]
    path: Named,
    #[serde(default, deserialize_with = "numeric")]
    depth: Option<u32>,
}

impl Below {
    fn depth(&self, default: u32) -> ApiResult<u32> {
        let depth = self.depth.unwrap_or(default);
        if (1..=MAX_DEPTH).contains(&depth) {
            Ok(depth)
        } else {
            Err(ApiError::parameter(
                "depth",
                format!("must be a whole number from 1 to {MAX_DEPTH}"),
            ))
        }
    }
}

async fn list(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(below): Params<Below>,
) -> ApiResult<Answer> {
    let (path, depth) = (below.path.or_workspace()?.to_string(), below.depth(1)?);
    let agent = awake(&app, &sandbox).await?;
    let listing: Listing = agent.file_op(&FileOp::List { path, depth }).await?;
    let hidden = |entry: &&Entry| !(defect!(DotfilesHidden) && entry.name.starts_with('.'));
    let entries: Vec<Value> = listing.entries.iter().filter(hidden).map(entry::show).collect();
    Answer::ok(&json!({
        "path": listing.path, "entries": entries, "files": entries, "truncated": listing.truncated,
    }))
}

async fn tree(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(below): Params<Below>,
) -> ApiResult<Answer> {
    let (path, depth) = (below.path.or_workspace()?.to_string(), below.depth(3)?);
    let agent = awake(&app, &sandbox).await?;
    let tree: Tree = agent.file_op(&FileOp::Tree { path, depth }).await?;
    Answer::ok(&entry::show_tree(&tree))
}
