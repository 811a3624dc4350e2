//! `/_emulator/*`: what only an emulator has.

use crate::http::Route;

/// Every control route; paths are below `/_emulator`.
pub fn routes() -> Vec<Route> {
    Vec::new()
}
