//! Snapshots: a sandbox's files at one moment.
//!
//! Made while the client waits; the sandbox is `snapshotting` meanwhile and stands where it stood afterwards.
//! A restore of a sandbox is in place: the same sandbox, its files as they were, its processes ended. Another sandbox is
//! made by [`fork`]; what is known of all of an organization's snapshots is their [`history`].

pub mod create;
pub mod dependents;
pub mod fork;
pub mod history;
pub mod look;
pub mod many;
pub mod named;
pub mod record;
pub mod removal;
pub mod restore;
pub mod retention;
pub mod source;

pub use record::{Snapshot, Status};

use axum::extract::State;

use super::sandboxes::transition::not_running;
use super::sandboxes::{Sandbox, State as SandboxState};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Pages, Route, Scoped};
use crate::store::outbox::Event;
use crate::store::{Filter, Tx};

/// The routes. `repeatable`: a snapshot that was being made is undone at start, a removal is one transaction with its
/// answer, and restoring twice is restoring once.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("snapshots").scope("sandboxes:read");
    let write = |route: Route| route.family("snapshots").scope("sandboxes:write").repeatable();
    let make = |route: Route| route.family("snapshots").scope("sandboxes:create").repeatable();
    let mut routes = vec![
        write(Route::post("/sandboxes/{id}/snapshots", create::create)),
        write(Route::post("/sandboxes/{id}/snapshot", create::create)),
        read(Route::get("/sandboxes/{id}/snapshots", list)),
        read(Route::get("/sandboxes/{id}/snapshots/{snapshot_id}", get)),
        write(Route::delete("/sandboxes/{id}/snapshots/{snapshot_id}", removal::delete)),
        write(Route::post("/sandboxes/{id}/restore/{snapshot_id}", restore::restore)),
        read(Route::get("/snapshots", history::list)),
        read(Route::get("/snapshots/groups", history::groups)),
        write(Route::post("/snapshots/delete", many::delete)),
        read(Route::get("/snapshots/{id}", history::get)),
        write(Route::delete("/snapshots/{id}", removal::delete_flat)),
        read(Route::get("/snapshots/{id}/tree", look::tree)),
        read(Route::get("/snapshots/{id}/files", look::content)),
        make(Route::post("/snapshots/{id}/fork", fork::fork)),
        make(Route::post("/snapshots/{id}/restore", fork::fork)),
    ];
    routes.extend(named::routes());
    routes
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

async fn get(sandbox: Scoped<Sandbox, 0>, snapshot: Scoped<Snapshot, 1>) -> ApiResult<Answer> {
    Answer::ok(&of(&sandbox, snapshot.0)?.show())
}

/// A snapshot of this sandbox: where the path names the sandbox by its name, nothing else has checked it.
///
/// # Errors
/// 404 when it is another's.
fn of(sandbox: &Sandbox, snapshot: Snapshot) -> ApiResult<Snapshot> {
    if snapshot.sandbox_id == sandbox.id {
        Ok(snapshot)
    } else {
        Err(ApiError::not_found("snapshot", snapshot.id))
    }
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
