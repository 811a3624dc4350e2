//! Routes.

use crate::http::Route;

/// Every route of the family.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
