//! What happens without a request: timeouts and idle pauses, machines that die, the start after a crash, the end.
//!
//! The order of a life: [`reconcile`] before the first request is taken, [`start`] beside the server, [`shutdown`] when
//! the server has ended.

pub mod due;
pub mod lost;
mod reconcile;
pub mod retention;
mod shutdown;

pub use reconcile::{Report, reconcile};
pub use shutdown::shutdown;

use crate::api::compute::sandboxes::{measures, startup};
use crate::api::compute::templates::builds;
use crate::api::compute::{batches, bulk, services};
use crate::app::App;
use crate::recorder;

/// Starts what runs beside the server; it ends when the emulator stops.
pub fn start(app: &App) {
    // Subscribed here, not in the task: no loss may come in between.
    let losses = app.machines.lost();
    let starts = app.machines.started();
    app.tasks.spawn(lost::watch(app.clone(), losses));
    app.tasks.spawn(services::watch::watch(app.clone(), starts));
    app.tasks.spawn(due::watch(app.clone()));
    app.tasks.spawn(recorder::run(app.clone()));
    app.tasks.spawn(builds::queue::watch(app.clone()));
    app.tasks.spawn(reconcile::stragglers(app.clone()));
    app.tasks.spawn(measures::watch(app.clone()));
    app.tasks.spawn(go_on(app.clone()));
}

/// Goes on with what an emulator before this one had begun for somebody.
async fn go_on(app: App) {
    let all = async {
        startup::go_on(&app).await?;
        batches::dispatch::go_on(&app).await?;
        bulk::work::go_on(&app).await
    };
    if let Err(error) = all.await {
        tracing::error!("what had begun does not go on: {} {:?}", error.message, error.log);
    }
}
