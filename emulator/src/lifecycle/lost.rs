//! Machines whose agent went away without our doing: their sandboxes have failed, and say so.

use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

use crate::api::compute::sandboxes::{Sandbox, power};
use crate::app::App;
use crate::http::{ApiError, ApiResult};

/// Why, as the record says it.
const REASON: &str = "the machine ended by itself, or something outside the emulator ended it";

/// Runs until the emulator stops.
pub async fn watch(app: App, mut losses: Receiver<Uuid>) {
    loop {
        let lost = tokio::select! {
            () = app.stopping.cancelled() => return,
            lost = losses.recv() => lost,
        };
        let done = match lost {
            Ok(id) => one(&app, id).await,
            // Too many at once to name each: look at all.
            Err(RecvError::Lagged(_)) => all(&app).await,
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = done {
            tracing::error!(
                "a lost machine could not be marked: {} {:?}",
                error.message,
                error.log
            );
        }
    }
}

async fn one(app: &App, id: Uuid) -> ApiResult<()> {
    let found = app.store.read(move |view| view.get_any::<Sandbox>(id).map_err(ApiError::from));
    let Some(sandbox) = found.await? else { return Ok(()) };
    match power::broke(app, sandbox.org, id, REASON).await {
        // Removed meanwhile.
        Err(error) if error.code.status == 404 => Ok(()),
        done => done,
    }
}

async fn all(app: &App) -> ApiResult<()> {
    let rows = app.store.read(|view| view.all::<Sandbox>().map_err(ApiError::from)).await?;
    for sandbox in rows.into_iter().filter(|sandbox| sandbox.alive) {
        one(app, sandbox.id).await?;
    }
    Ok(())
}
