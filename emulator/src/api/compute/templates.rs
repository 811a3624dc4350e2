//! Templates: what sandboxes start from. The built-in ones, and those that an organization builds of its own.
//!
//! A template of one's own is a [`spec`], and [`builds`] of it: each really runs its steps in a machine and seals the
//! files that come out. The build that is live is what its sandboxes start from; [`origin`] is what they take along.

pub mod base;
pub mod builds;
pub mod catalogue;
pub mod create;
pub mod event;
pub mod find;
pub mod origin;
pub mod readiness;
pub mod record;
pub mod removal;
pub mod show;
pub mod spec;
pub mod versions;

pub use builds::Build;
pub use origin::{FromTemplate, Origin};
pub use record::{Live, Status, Template};

use crate::http::Route;

/// The routes. `repeatable`: each mutation is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.family("templates").scope("sandboxes:read");
    let write = |route: Route| route.family("templates").scope("sandboxes:write").repeatable();
    vec![
        read(Route::get("/templates", catalogue::catalogue)),
        read(Route::get("/sandbox-templates", find::list)),
        write(Route::post("/sandbox-templates", create::create)),
        read(Route::get("/sandbox-templates/build-spec", spec::schema::schema)),
        read(Route::post("/sandbox-templates/validate", create::validate)).repeatable(),
        read(Route::get("/sandbox-templates/{id}", find::get)),
        write(Route::delete("/sandbox-templates/{id}", removal::delete)),
        write(Route::post("/sandbox-templates/{id}/promote", versions::promote)),
        write(Route::post("/sandbox-templates/{id}/rollback", versions::rollback)),
        read(Route::get("/sandbox-templates/{id}/builds", builds::routes::list)),
        write(Route::post("/sandbox-templates/{id}/builds", builds::routes::create)),
        read(Route::get("/sandbox-template-builds/{id}", builds::routes::get)),
        read(Route::get("/sandbox-template-builds/{id}/logs", builds::log::read)),
        read(Route::get("/sandbox-template-builds/{id}/logs/stream", builds::log::stream))
            .ticketed(),
    ]
}
