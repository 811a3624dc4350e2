//! The compute chapter.

pub mod sandboxes;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
