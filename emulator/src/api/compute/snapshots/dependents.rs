//! What still needs a snapshot: a name, and snapshots that were taken on top of it (miosa-go 2.0).
//!
//! A sandbox that was made from it is no dependent: its files are its own, and it goes on without the snapshot.

use serde_json::{Value, json};

use super::Snapshot;
use super::named::NamedSnapshot;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::{Filter, Paging, View};

/// As many as are named.
const MOST: Paging = Paging::Number { page: 1, size: 100 };

/// The name that keeps a snapshot.
pub fn name(view: &View<'_>, snapshot: &Snapshot) -> ApiResult<Option<NamedSnapshot>> {
    let filter = Filter { org: snapshot.org, parent: Some(snapshot.id), ..Filter::default() };
    Ok(view.page::<NamedSnapshot>(&filter, MOST)?.items.into_iter().next())
}

/// The snapshots on top of it.
pub fn children(view: &View<'_>, snapshot: &Snapshot) -> ApiResult<Vec<Snapshot>> {
    let filter = Filter {
        org: snapshot.org,
        fields: vec![("$.parent_snapshot_id".into(), snapshot.id.to_string())],
        not_states: vec!["failed"],
        ..Filter::default()
    };
    Ok(view.page::<Snapshot>(&filter, MOST)?.items)
}

/// All of them, as clients read them.
pub fn all(view: &View<'_>, snapshot: &Snapshot) -> ApiResult<Vec<Value>> {
    let name = name(view, snapshot)?;
    let name =
        name.map(|named| json!({ "type": "named_snapshot", "id": named.id, "label": named.name }));
    let children = children(view, snapshot)?
        .into_iter()
        .map(|child| json!({ "type": "child_snapshot", "id": child.id, "label": child.comment }));
    Ok(name.into_iter().chain(children).collect())
}

/// Refuses what would take something's ground away.
///
/// # Errors
/// 409 `SNAPSHOT_IN_USE` naming the dependents.
pub fn refuse(dependents: Vec<Value>) -> ApiResult<()> {
    if dependents.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(
        codes::SNAPSHOT_IN_USE,
        "Something still needs this snapshot; nothing was changed.",
    )
    .details(json!({ "dependents": dependents })))
}
