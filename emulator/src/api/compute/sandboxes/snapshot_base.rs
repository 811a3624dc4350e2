//! From the name of a snapshot to what a machine's files can start from.

use uuid::Uuid;

use crate::api::compute::snapshots::{Snapshot, Status};
use crate::http::scoped::visible;
use crate::http::{ApiError, ApiResult, Caller, codes};
use crate::machines::Base;
use crate::store::View;

/// What a machine that starts from this snapshot starts from.
///
/// # Errors
/// 404 when there is none that the caller may see; 409 `SNAPSHOT_NOT_READY` while it is made or when that failed.
pub fn of(view: &View<'_>, caller: &Caller, named: &str) -> ApiResult<Base> {
    let missing = || ApiError::not_found("snapshot", named);
    let id = Uuid::parse_str(named).map_err(|_| missing())?;
    let snapshot = view
        .get::<Snapshot>(caller.org, id)?
        .filter(|snapshot| visible(snapshot, caller))
        .ok_or_else(missing)?;
    if snapshot.status == Status::Ready {
        return Ok(Base::Snapshot(id));
    }
    Err(ApiError::new(
        codes::SNAPSHOT_NOT_READY,
        format!(
            "Snapshot {id} is {}; only a ready one can be started from.",
            snapshot.status.as_str()
        ),
    ))
}
