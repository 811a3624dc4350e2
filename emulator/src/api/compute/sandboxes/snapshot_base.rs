//! From the name of a snapshot to what a machine's files can start from: all that this family needs of snapshots.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::http::scoped::visible;
use crate::http::{ApiError, ApiResult, Caller, codes};
use crate::machines::Base;
use crate::store::{Keys, Resource, View};

/// A snapshot's row, as far as it is read here; its family owns the rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// Its id, also the sealed copy's.
    pub id: Uuid,
    /// The organization.
    pub org: Uuid,
    /// The workspace.
    #[serde(default, alias = "workspace_id")]
    pub workspace: Option<Uuid>,
    /// Where it stands.
    #[serde(default, alias = "state")]
    pub status: String,
}

impl Resource for SnapshotRow {
    const KIND: &'static str = "snapshot";
    const PLURAL: &'static str = "snapshots";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            workspace: self.workspace,
            state: &self.status,
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        Timestamp(0)
    }

    fn updated_at(&self) -> Timestamp {
        Timestamp(0)
    }
}

/// What a machine that starts from this snapshot starts from.
///
/// # Errors
/// 404 when there is none that the caller may see; 409 `SNAPSHOT_NOT_READY` while it is made or when that failed.
pub fn of(view: &View<'_>, caller: &Caller, named: &str) -> ApiResult<Base> {
    let missing = || ApiError::not_found("snapshot", named);
    let id = Uuid::parse_str(named).map_err(|_| missing())?;
    let row = view
        .get::<SnapshotRow>(caller.org, id)?
        .filter(|row| visible(row, caller))
        .ok_or_else(missing)?;
    match row.status.as_str() {
        "ready" | "completed" | "active" | "available" => Ok(Base::Snapshot(id)),
        other => Err(ApiError::new(
            codes::SNAPSHOT_NOT_READY,
            format!("Snapshot {id} is {other}; only a ready one can be started from."),
        )),
    }
}
