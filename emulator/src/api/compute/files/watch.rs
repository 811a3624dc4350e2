//! Changes below a directory, as server-sent events.
//!
//! The head of the answer says that the watch is in place; a comment says so too. An event with an object would be taken
//! for a change (miosa-python 2.19 looks at the data alone), so what is no change carries none. Who only watches does
//! not keep a sandbox from being idle.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use miosa_agent::protocol::{Change, ChangeKind};
use serde::Deserialize;
use serde_json::json;

use super::path::Named;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::app::App;
use crate::http::{ApiError, ApiResult, Params, Route, Scoped, sse};
use crate::machines::MachineError;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![Route::get("/sandboxes/{id}/files/watch", watch).scope("sandboxes:read").ticketed()]
}

#[derive(Debug, Deserialize)]
struct Query {
    #[serde(default)]
    path: Named,
    recursive: Option<String>,
}

async fn watch(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    let path = query.path.or_workspace()?;
    // All levels unless told otherwise: miosa-python 2.19 has no way to ask.
    let recursive = match query.recursive.as_deref() {
        None | Some("" | "true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) => return Err(ApiError::parameter("recursive", "must be true or false")),
    };
    let agent = awake(&app, &sandbox).await?;
    let changes = agent.watch(path.as_str(), recursive).await?;
    let stopping = app.stopping.clone().cancelled_owned();
    Ok(sse::response(events(changes).take_until(stopping)))
}

fn events(
    changes: impl Stream<Item = Result<Change, MachineError>> + Send,
) -> impl Stream<Item = Result<Bytes, MachineError>> + Send {
    let connected = stream::iter([Ok(Bytes::from_static(b": connected\n\n"))]);
    connected.chain(changes.map(|change| change.map(|change| event(&change))))
}

fn event(change: &Change) -> Bytes {
    let name = match change.event {
        ChangeKind::Created => "created",
        ChangeKind::Modified => "modified",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Renamed => "renamed",
        ChangeKind::Overflow => {
            let why = "There were too many changes or directories: look at the files anew.";
            return sse::event("overflow", &why.into());
        }
    };
    let (path, is_dir) = (&change.path, change.is_dir);
    let data = match &change.old_path {
        None => json!({ "event": name, "type": name, "path": path, "is_dir": is_dir }),
        Some(old) => json!({
            "event": name, "type": name, "path": path, "is_dir": is_dir, "old_path": old,
        }),
    };
    sse::event("change", &data)
}
