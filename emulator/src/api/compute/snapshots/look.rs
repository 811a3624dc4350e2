//! The files of a snapshot, without a sandbox: `/tree` lists a folder, `/files` gives a file's bytes or a folder as a tar.
//!
//! Nothing is unpacked ahead, so no answer is the 202 `warming` that clients are ready for (miosa-python 2.19).

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use miosa_agent::protocol::EntryKind;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Snapshot, Status};
use crate::api::compute::files::entry;
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped, codes};
use crate::machines::MachineError;

#[derive(Debug, Deserialize)]
pub(super) struct At {
    /// From the root of the snapshot.
    #[serde(default = "root")]
    path: String,
}

fn root() -> String {
    "/".to_owned()
}

/// `GET /snapshots/{id}/tree`.
pub(super) async fn tree(
    State(app): State<App>,
    snapshot: Scoped<Snapshot>,
    Params(At { path }): Params<At>,
) -> ApiResult<Answer> {
    ready(&snapshot)?;
    let found = app.machines.list_sealed(snapshot.id, &path).await;
    let found = found.map_err(|error| refused(error, snapshot.id))?;
    let entries: Vec<Value> = found.iter().map(entry::show).collect();
    let path = format!("/{}", path.trim_matches('/'));
    Answer::ok(&json!({ "snapshot_id": snapshot.id, "path": path, "entries": entries }))
}

/// `GET /snapshots/{id}/files`.
pub(super) async fn content(
    State(app): State<App>,
    snapshot: Scoped<Snapshot>,
    Params(At { path }): Params<At>,
) -> ApiResult<Response> {
    ready(&snapshot)?;
    let opened = app.machines.open_sealed(snapshot.id, &path).await;
    let opened = opened.map_err(|error| refused(error, snapshot.id))?;
    let folder = opened.entry.kind == EntryKind::Dir;
    let mut response = Response::new(Body::from_stream(opened.bytes));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    let kind = if folder { "application/x-tar" } else { "application/octet-stream" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if !folder {
        headers.insert(CONTENT_LENGTH, opened.entry.size.into());
    }
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if let Some(named) = attachment(name, folder) {
        headers.insert(CONTENT_DISPOSITION, named);
    }
    Ok(response)
}

/// What a browser would call the download. A name with other than plain letters is left to it.
fn attachment(name: &str, folder: bool) -> Option<HeaderValue> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte);
    let name = if name.is_empty() { "snapshot" } else { name };
    let suffix = if folder { ".tar" } else { "" };
    let text = format!("attachment; filename=\"{name}{suffix}\"");
    name.bytes().all(plain).then(|| HeaderValue::from_str(&text).ok()).flatten()
}

fn ready(snapshot: &Snapshot) -> ApiResult<()> {
    match snapshot.status {
        Status::Ready => Ok(()),
        status => Err(ApiError::new(
            codes::SNAPSHOT_NOT_READY,
            format!("The snapshot is {}.", status.as_str()),
        )),
    }
}

fn refused(error: MachineError, snapshot: Uuid) -> ApiError {
    match error {
        MachineError::NotFound(missing) if missing == snapshot => ApiError::new(
            codes::SNAPSHOT_NOT_READY,
            "The snapshot's files are not on this host of machines.",
        ),
        error => error.into(),
    }
}
