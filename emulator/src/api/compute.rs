//! The compute chapter.

pub mod batches;
pub mod bulk;
pub mod code;
pub mod commands;
pub mod env;
pub mod exec;
pub mod exec_python;
pub mod exec_socket;
pub mod exec_stream;
pub mod files;
pub mod logs;
pub mod previews;
pub mod processes;
pub mod run;
pub mod sandboxes;
pub mod services;
pub mod shares;
pub mod snapshots;
pub mod template_start;
pub mod templates;
pub mod terminals;
pub mod tunnel;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    [
        sandboxes::routes(),
        run::routes(),
        template_start::routes(),
        batches::routes(),
        bulk::routes(),
        env::routes(),
        exec::routes(),
        exec_python::routes(),
        exec_socket::routes(),
        exec_stream::routes(),
        commands::routes(),
        processes::routes(),
        code::routes(),
        services::routes(),
        files::routes(),
        logs::routes(),
        snapshots::routes(),
        previews::routes(),
        shares::routes(),
        templates::routes(),
        terminals::routes(),
        tunnel::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
