//! Sandboxes: create, list, get, change, pause, resume, extend, fork, delete.
//!
//! What is kept of one is [`record`], what clients read of it [`show`]. Every change of state goes through
//! [`transition`]: claimed, acted out, settled. Whoever works inside one passes [`awake`].

pub mod activity;
pub mod awake;
pub mod change;
pub mod create;
pub mod event;
pub mod fields;
pub mod find;
pub mod fork;
pub mod measures;
pub mod metrics;
pub mod power;
pub mod readiness;
pub mod record;
pub mod refused_fields;
pub mod resources;
pub mod runtimes;
pub mod show;
pub mod sizes;
pub mod snapshot_base;
pub mod startup;
pub mod switch;
pub mod transition;
pub mod usage;

pub use record::{Sandbox, State};

use crate::http::Route;
use crate::http::route::Access;

/// The routes of the family. `repeatable`: their outcome is one transaction with their answer, or is undone at start.
pub fn routes() -> Vec<Route> {
    let read = "sandboxes:read";
    let write = "sandboxes:write";
    [
        Route::post("/sandboxes", create::create).scope("sandboxes:create").repeatable(),
        Route::get("/sandboxes", find::list).scope(read),
        Route::get("/sandboxes/runtimes", runtimes::runtimes).scope(read),
        Route::get("/sandboxes/by-name/{name}", find::by_name).scope(read),
        Route::get("/sandboxes/{id}", find::get).scope(read),
        Route::patch("/sandboxes/{id}", change::patch).scope(write).repeatable(),
        Route::delete("/sandboxes/{id}", change::delete).scope(write).repeatable(),
        Route::post("/sandboxes/{id}/pause", switch::pause).scope(write).repeatable(),
        Route::post("/sandboxes/{id}/stop", switch::stop).scope(write).repeatable(),
        Route::post("/sandboxes/{id}/resume", switch::resume).scope(write).repeatable(),
        Route::post("/sandboxes/{id}/extend", change::extend).scope(write).repeatable(),
        Route::post("/sandboxes/{id}/fork", fork::fork).scope("sandboxes:create").repeatable(),
        Route::patch("/sandboxes/{id}/tags", change::retag).scope(write).repeatable(),
        Route::get("/sandboxes/{id}/resources", resources::read).scope(read),
        Route::patch("/sandboxes/{id}/resources", resources::resize).scope(write).repeatable(),
        Route::get("/sandboxes/{id}/metrics", metrics::metrics).scope(read),
        Route::get("/sandboxes/{id}/ports", metrics::ports).scope(read),
        Route::get("/sandboxes/{id}/usage", usage::usage).scope(read),
        Route::get("/sandboxes/{id}/readiness", readiness::readiness)
            .scope(read)
            .access(Access::Uncounted),
        Route::get("/sandboxes/{id}/readiness/stream", readiness::stream)
            .scope(read)
            .ticketed()
            .access(Access::Uncounted),
    ]
    .into_iter()
    .map(|route| route.family("sandboxes"))
    .collect()
}
