//! The compute chapter.

pub mod previews;
pub mod sandboxes;
pub mod templates;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    [previews::routes(), sandboxes::routes(), templates::routes()].into_iter().flatten().collect()
}
