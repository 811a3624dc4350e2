//! Removing snapshots: asked for, by retention, and what a crash has left.
//!
//! The row goes first, then the files: what a crash leaves between the two is files that nobody can name any more, and
//! [`recover`] clears them away. Machines made from a snapshot keep working without it.

use std::collections::HashSet;

use axum::extract::State;
use uuid::Uuid;

use super::{Snapshot, Status, dependents, emit, of};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::templates::builds;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Scoped, codes};
use crate::store::{StoreError, Tx};

/// How many one turn of the lifecycle removes.
const TURN: u32 = 100;

/// `DELETE /sandboxes/{id}/snapshots/{snapshot_id}`.
pub(super) async fn delete(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox, 0>,
    snapshot: Scoped<Snapshot, 1>,
) -> ApiResult<CommittedAnswer> {
    remove(&app, &exchange, of(&sandbox, snapshot.0)?).await
}

/// `DELETE /snapshots/{id}` (miosa-cli-go).
pub(super) async fn delete_flat(
    State(app): State<App>,
    exchange: ExchangeRef,
    snapshot: Scoped<Snapshot>,
) -> ApiResult<CommittedAnswer> {
    remove(&app, &exchange, snapshot.0).await
}

async fn remove(
    app: &App,
    exchange: &ExchangeRef,
    snapshot: Snapshot,
) -> ApiResult<CommittedAnswer> {
    let (id, now) = (snapshot.id, app.clock.now(snapshot.org));
    let (committing, exchange) = (app.clone(), exchange.clone());
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let snapshot = tx
                .get::<Snapshot>(snapshot.org, id)?
                .ok_or_else(|| ApiError::not_found("snapshot", id))?;
            if snapshot.status == Status::Creating {
                return Err(ApiError::new(
                    codes::SNAPSHOT_NOT_READY,
                    "The snapshot is still being made; remove it when it is ready.",
                ));
            }
            dependents::refuse(dependents::all(tx, &snapshot)?)?;
            forget(tx, &committing, &snapshot, now)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    app.emitted.notify_waiters();
    clear(app, &[id]).await;
    Ok(answer)
}

/// Removes the row; its files go when that is committed.
pub(super) fn forget(tx: &Tx<'_>, app: &App, snapshot: &Snapshot, now: Timestamp) -> ApiResult<()> {
    tx.remove::<Snapshot>(snapshot.org, snapshot.id)?;
    emit(tx, app, "snapshot.deleted", snapshot, now)
}

/// Removes the files of snapshots whose rows are gone.
pub(super) async fn clear(app: &App, snapshots: &[Uuid]) {
    for id in snapshots {
        if let Err(error) = app.machines.remove_snapshot(*id).await {
            tracing::warn!("the files of snapshot {id} stay until the next start: {error}");
        }
    }
}

/// Removes the organization's snapshots that retention lets go by now. For the lifecycle.
pub async fn expire_due(app: &App, org: Uuid) -> ApiResult<usize> {
    let now = app.clock.now(org);
    let removing = app.clone();
    let gone = app
        .store
        .write(move |tx| -> ApiResult<Vec<Uuid>> {
            let due = tx.due::<Snapshot>(org, now, TURN)?;
            for snapshot in &due {
                forget(tx, &removing, snapshot, now)?;
            }
            Ok(due.into_iter().map(|snapshot| snapshot.id).collect())
        })
        .await?;
    if !gone.is_empty() {
        app.emitted.notify_waiters();
        clear(app, &gone).await;
    }
    Ok(gone.len())
}

/// What a crash has left, at start-up and before requests come: a snapshot that was being made is undone, files
/// without a row go. Answers the operations that are undone: their requests may run anew under their keys.
///
/// # Errors
/// When the store fails. Files that cannot be looked for or removed are logged, and stay until the next start.
pub async fn recover(app: &App) -> ApiResult<Vec<Uuid>> {
    let (known, undone) = app
        .store
        .write(|tx| -> Result<(HashSet<Uuid>, Vec<Uuid>), StoreError> {
            // Images of templates are nobody's snapshots, and stay.
            let (mut known, mut undone) = (builds::images(tx)?, Vec::new());
            for snapshot in tx.all::<Snapshot>()? {
                if snapshot.status == Status::Creating {
                    undone.push(snapshot.operation);
                    tx.remove::<Snapshot>(snapshot.org, snapshot.id)?;
                } else if snapshot.status == Status::Ready {
                    known.insert(snapshot.id);
                }
            }
            Ok((known, undone))
        })
        .await?;
    if app.machines.host().is_none() {
        return Ok(undone);
    }
    match app.machines.list_snapshots().await {
        Ok(found) => {
            let left: Vec<Uuid> = found.into_iter().filter(|id| !known.contains(id)).collect();
            clear(app, &left).await;
        }
        // They are looked for again at the next start; nothing is thrown away meanwhile.
        Err(error) => tracing::error!("the snapshots could not be listed: {error}"),
    }
    Ok(undone)
}
