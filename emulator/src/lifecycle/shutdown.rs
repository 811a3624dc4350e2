//! The end, when the server has stopped taking requests.
//!
//! A persistent sandbox outlives the emulator where its machine can: a Docker container goes on, anything else is
//! paused with its files. One that is not persistent ends. With `ephemeral` nothing at all is left behind.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::api::compute::sandboxes::event::{Happening, emit};
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::app::App;
use crate::http::{ApiError, ApiResult};
use crate::machines::HostKind;

/// How long requests that go on without their client may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How many machines are ended at once.
const AT_ONCE: usize = 8;

/// Ends what must not outlive the emulator. Call it after [`App::stopping`](crate::app::Parts) was cancelled and the
/// server and its tasks have ended.
///
/// # Errors
/// When the store fails; a machine that cannot be ended is logged, and settled at the next start.
pub async fn shutdown(app: &App, ephemeral: bool) -> ApiResult<()> {
    let Some(kind) = app.machines.host().map(|host| host.kind()) else { return Ok(()) };
    // A create that is under way must be seen below, whichever way it ends. What lasts longer (a command) ends with
    // its machine.
    app.tasks.close();
    if tokio::time::timeout(GRACE, app.tasks.wait()).await.is_err() {
        tracing::info!("{} requests are cut off at the end", app.tasks.len());
    }
    app.machines.settle().await;
    app.recorder.flush(app).await;
    if ephemeral {
        return everything(app).await;
    }
    let rows = app.store.read(|view| view.all::<Sandbox>().map_err(ApiError::from)).await?;
    let living = rows.into_iter().filter(|row| row.host == kind && row.state != State::Destroyed);
    let ends = futures_util::stream::iter(living)
        .map(|row| one(app, row, kind))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<ApiResult<()>>>()
        .await;
    ends.into_iter().collect()
}

async fn one(app: &App, row: Sandbox, kind: HostKind) -> ApiResult<()> {
    let ran = row.runs();
    let ends = ran && !row.persistent;
    let stays = kind == HostKind::Docker || !row.alive;
    if stays && !ends {
        return Ok(());
    }
    let (org, id, app_) = (row.org, row.id, app.clone());
    let now = app.clock.now(org);
    app.store
        .write(move |tx| -> ApiResult<()> {
            let Some(mut sandbox) = tx.get::<Sandbox>(org, id)? else { return Ok(()) };
            if ends {
                sandbox.set_stopped(State::Destroyed, false, now);
                sandbox.destroyed_at = Some(now);
                emit(tx, &app_, &sandbox, Happening::Destroyed("shutdown"))?;
            } else {
                sandbox.set_stopped(State::Paused, false, now);
                if ran {
                    emit(tx, &app_, &sandbox, Happening::Paused("shutdown"))?;
                }
            }
            tx.update(&sandbox)?;
            Ok(())
        })
        .await?;
    let ended = if ends { app.machines.remove(id).await } else { app.machines.stop(id).await };
    if let Err(error) = ended {
        tracing::error!(sandbox = %id, "its machine could not be ended: {error}");
    }
    Ok(())
}

async fn everything(app: &App) -> ApiResult<()> {
    let machines = app.machines.list().await?;
    let removals = futures_util::stream::iter(machines).map(|machine| async move {
        if let Err(error) = app.machines.remove(machine.id).await {
            tracing::error!(machine = %machine.id, "could not be removed: {error}");
        }
    });
    removals.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    for snapshot in app.machines.list_snapshots().await? {
        if let Err(error) = app.machines.remove_snapshot(snapshot).await {
            tracing::error!(%snapshot, "could not be removed: {error}");
        }
    }
    Ok(())
}
