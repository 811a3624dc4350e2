//! The platform chapter.

pub mod identities;
pub mod ownership;

use crate::http::Route;

/// Every route of the chapter.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
