//! Every route that a client is known to call.

use crate::http::Route;

/// Those that are not built, each answering 501.
pub fn not_built() -> Vec<Route> {
    Vec::new()
}
