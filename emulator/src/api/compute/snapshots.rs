//! Snapshots: a sandbox's files at one moment.
//!
//! Made while the client waits; the sandbox is `snapshotting` meanwhile and stands where it stood afterwards.
//! A restore is in place: the same sandbox, its files as they were, its processes ended.

pub mod create;
pub mod record;
pub mod removal;
pub mod restore;

pub use record::{Snapshot, Status};

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::sandboxes::transition::not_running;
use super::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Pages, Params, Route, Scoped};
use crate::store::outbox::Event;
use crate::store::{Filter, Paging, Tx};

/// The routes. `repeatable`: a snapshot that was being made is undone at start, a removal is one transaction with its
/// answer, and restoring twice is restoring once.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("snapshots").scope("sandboxes:read");
    let write = |route: Route| route.family("snapshots").scope("sandboxes:write").repeatable();
    vec![
        write(Route::post("/sandboxes/{id}/snapshots", create::create)),
        write(Route::post("/sandboxes/{id}/snapshot", create::create)),
        read(Route::get("/sandboxes/{id}/snapshots", list)),
        read(Route::get("/sandboxes/{id}/snapshots/{snapshot_id}", get)),
        write(Route::delete("/sandboxes/{id}/snapshots/{snapshot_id}", removal::delete)),
        write(Route::post("/sandboxes/{id}/restore/{snapshot_id}", restore::restore)),
        read(Route::get("/snapshots", list_all)),
        read(Route::get("/snapshots/{id}", get_flat)),
        write(Route::delete("/snapshots/{id}", removal::delete_flat)),
    ]
}

async fn list(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    exchange: ExchangeRef,
    pages: Pages,
) -> ApiResult<Answer> {
    let filter = Filter { org: sandbox.org, parent: Some(sandbox.id), ..Filter::default() };
    let listing = pages.read::<Snapshot>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |snapshot| snapshot.show())
}

#[derive(Debug, Deserialize)]
struct Which {
    /// Of this sandbox.
    resource_id: Option<String>,
    /// In this workspace.
    workspace_id: Option<String>,
    /// Whose id or comment contains this, whatever its case.
    q: Option<String>,
}

/// Every snapshot that the caller may see (miosa-python 2.19, snapshot history).
async fn list_all(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    let id = |name: &str, text: Option<String>| {
        text.map(|text| {
            Uuid::parse_str(&text).map_err(|_| ApiError::parameter(name, "must be a UUID"))
        })
        .transpose()
    };
    let asked = id("workspace_id", which.workspace_id)?;
    if let (Some(asked), Some(bound)) = (asked, caller.bound_workspace)
        && asked != bound
    {
        return Ok(Answer::whole(Vec::new(), "snapshots"));
    }
    let filter = Filter {
        org: caller.org,
        workspace: asked.or(caller.bound_workspace),
        parent: id("resource_id", which.resource_id)?,
        search: which.q.filter(|text| !text.is_empty()),
        ..Filter::default()
    };
    let listing = pages.read::<Snapshot>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |snapshot| snapshot.show())
}

async fn get(_: Scoped<Sandbox, 0>, snapshot: Scoped<Snapshot, 1>) -> ApiResult<Answer> {
    Answer::ok(&snapshot.show())
}

/// With what depends on it (miosa-python 2.19): sandboxes whose files started from it.
async fn get_flat(State(app): State<App>, snapshot: Scoped<Snapshot>) -> ApiResult<Answer> {
    const MOST: Paging = Paging::Number { page: 1, size: 100 };
    let filter = Filter {
        org: snapshot.org,
        workspace: Some(snapshot.owner.workspace_id),
        fields: vec![("$.base.snapshot".into(), snapshot.id.to_string())],
        not_states: vec![SandboxState::Destroyed.as_str()],
        ..Filter::default()
    };
    let sandboxes =
        app.store.read(move |view| ApiResult::Ok(view.page::<Sandbox>(&filter, MOST)?)).await?;
    let dependents: Vec<Value> = sandboxes
        .items
        .iter()
        .map(|sandbox| {
            let label = sandbox.name.as_ref().unwrap_or(&sandbox.slug);
            json!({ "type": "sandbox", "id": sandbox.id, "label": label })
        })
        .collect();
    Ok(Answer::ok(&snapshot.show())?.beside("dependents", dependents.into()))
}

/// Whether a snapshot can be made or restored while the sandbox stands here; transitions have ended before.
///
/// # Errors
/// 409 when its files are not there.
fn check_state(sandbox: &Sandbox) -> ApiResult<()> {
    match sandbox.state {
        SandboxState::Running | SandboxState::Paused => Ok(()),
        _ => Err(not_running(sandbox)),
    }
}

/// Writes an event about a snapshot into the transaction that makes it true.
fn emit(tx: &Tx<'_>, app: &App, kind: &str, snapshot: &Snapshot, at: Timestamp) -> ApiResult<()> {
    tx.emit(&Event {
        seq: 0,
        id: app.ids.next(),
        org: snapshot.org,
        workspace: Some(snapshot.owner.workspace_id),
        kind: kind.to_owned(),
        subject_kind: "snapshot".to_owned(),
        subject_id: snapshot.id,
        at,
        data: snapshot.show(),
    })?;
    Ok(())
}
