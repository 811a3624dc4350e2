//! The compute chapter.

pub mod exec;
pub mod exec_stream;
pub mod files;
pub mod previews;
pub mod sandboxes;
pub mod snapshots;
pub mod templates;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
<<<<<<< HEAD
    [
        sandboxes::routes(),
<<<<<<< HEAD
=======
        templates::routes(),
>>>>>>> files
        exec::routes(),
        exec_stream::routes(),
        files::routes(),
        snapshots::routes(),
<<<<<<< HEAD
        previews::routes(),
        templates::routes(),
=======
>>>>>>> files
    ]
    .into_iter()
    .flatten()
    .collect()
=======
    [previews::routes(), sandboxes::routes(), templates::routes()].into_iter().flatten().collect()
>>>>>>> proxy
}
