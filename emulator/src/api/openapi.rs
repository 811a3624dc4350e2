//! The contract as one document.

use crate::http::Route;

/// The route that serves it.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
