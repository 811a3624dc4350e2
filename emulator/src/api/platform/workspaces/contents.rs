//! What is in a workspace or a project: counted, listed, and moved.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::limits::{self, Taking};
use super::Workspace;
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::api::compute::snapshots::Snapshot;
use crate::api::platform::ownership;
use crate::http::{ApiError, ApiResult, codes};
use crate::store::{Filter, Resource, Tx, View};

/// How many there are, in all and in each state.
pub(in super::super) fn by_state<R: Resource>(
    view: &View<'_>,
    inside: &Filter,
) -> ApiResult<Value> {
    let counted = view.count_states::<R>(inside)?;
    let total: u64 = counted.iter().map(|(_, n)| n).sum();
    let states: Map<String, Value> =
        counted.into_iter().map(|(state, n)| (state, n.into())).collect();
    Ok(json!({ "total": total, "by_state": states }))
}

/// The workspace that something is to be moved into.
///
/// # Errors
/// 422 `WORKSPACE_NOT_FOUND`.
pub(in super::super) fn target(view: &View<'_>, org: Uuid, named: &str) -> ApiResult<Workspace> {
    ownership::named_workspace(view, org, named)?.ok_or_else(|| {
        ApiError::new(
            codes::WORKSPACE_NOT_FOUND,
            format!("target_workspace_id: there is no workspace {named}."),
        )
    })
}

/// Whether the workspace may take in the sandboxes that pass the filter, with their snapshots.
///
/// # Errors
/// 409 while one of them is being changed, 422 or 429 where there is no room.
pub(in super::super) fn admit(tx: &Tx<'_>, into: &Workspace, moving: &Filter) -> ApiResult<()> {
    let sandboxes = tx.every::<Sandbox>(moving)?;
    let mut taking = Taking::default();
    for sandbox in &sandboxes {
        settled(sandbox)?;
        taking.sandboxes += u64::from(sandbox.state != State::Destroyed);
        taking.running += u64::from(sandbox.state == State::Running);
    }
    taking.bytes = tx.sum::<Snapshot>(moving, "$.size_bytes")?;
    limits::move_in(tx, into.org, into.id, taking)
}

/// Whether nothing is being done to the sandbox: what is written at the end of that would be of the old workspace.
pub(super) fn settled(sandbox: &Sandbox) -> ApiResult<()> {
    if !sandbox.state.is_transitional() {
        return Ok(());
    }
    Err(ApiError::new(
        codes::RESOURCE_STATE,
        format!("Sandbox {} is {}. Try again.", sandbox.id, sandbox.state.as_str()),
    ))
}
