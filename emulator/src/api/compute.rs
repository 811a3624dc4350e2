//! The compute chapter.

pub mod previews;
pub mod sandboxes;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    [previews::routes()].into_iter().flatten().collect()
}
