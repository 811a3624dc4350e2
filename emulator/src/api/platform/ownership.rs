//! Which workspace and project the selectors of a create mean.

use crate::app::App;
use crate::http::ownership::{Owner, Selectors};
use crate::http::{ApiError, ApiResult, Caller, codes};
use crate::store::Tx;

/// Finds or makes the workspace and project, in the transaction that makes what they own.
///
/// # Errors
/// 422 for selectors that contradict each other or name an id that is not there; 404-like ids of others look the same.
pub fn resolve(
    _tx: &Tx<'_>,
    _app: &App,
    _caller: &Caller,
    _selectors: &Selectors,
) -> ApiResult<Owner> {
    Err(ApiError::new(codes::not_emulated, "not built"))
}
