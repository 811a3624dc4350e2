//! What a sandbox's metadata says about its snapshots (miosa-python 2.19, agent workspaces): how long they are kept, and how
//! many.

use uuid::Uuid;

use super::removal::forget;
use super::{Snapshot, dependents};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::ApiResult;
use crate::store::{Filter, Paging, Tx};

/// Further back nobody looks.
const FURTHEST: u32 = 200;

/// Seconds that a snapshot is kept when its create says nothing.
pub(super) fn of(sandbox: &Sandbox) -> Option<u64> {
    sandbox.metadata.get("snapshot_expiration_sec")?.as_u64().filter(|seconds| *seconds > 0)
}

/// How many snapshots the sandbox keeps: a number, or an object with a `count`.
fn most(sandbox: &Sandbox) -> Option<usize> {
    let said = sandbox.metadata.get("keep_last_snapshots")?;
    let count = said.as_u64().or_else(|| said.get("count")?.as_u64())?;
    usize::try_from(count).ok().filter(|count| *count > 0)
}

/// Removes the rows of snapshots that are one too many; their files are the caller's to clear. What somebody keeps, names
/// or stands on stays, and does not count.
pub(super) fn make_room(
    tx: &Tx<'_>,
    app: &App,
    sandbox: &Sandbox,
    now: Timestamp,
) -> ApiResult<Vec<Uuid>> {
    let Some(most) = most(sandbox) else { return Ok(Vec::new()) };
    let filter = Filter {
        org: sandbox.org,
        parent: Some(sandbox.id),
        states: vec!["ready".to_owned()],
        ..Filter::default()
    };
    let newest_first =
        tx.page::<Snapshot>(&filter, Paging::Offset { offset: 0, size: FURTHEST })?;
    let mut evicted = Vec::new();
    for snapshot in newest_first.items.into_iter().filter(|snapshot| !snapshot.keep).skip(most) {
        if dependents::all(tx, &snapshot)?.is_empty() {
            forget(tx, app, &snapshot, now)?;
            evicted.push(snapshot.id);
        }
    }
    Ok(evicted)
}
