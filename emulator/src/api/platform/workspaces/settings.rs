//! `PUT /workspaces/{id}/settings` (`api-reference/workspaces`): what a workspace may use, whoever works in it. No policy
//! lifts it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::super::ownership::out_of_bounds;
use super::{Workspace, activity};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Scoped};

/// The settings; what is absent or null is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sandboxes that are there, running or not.
    pub max_sandboxes: Option<u64>,
    /// Sandboxes that run at one time.
    pub max_concurrent: Option<u64>,
    /// Gigabytes (1024³ bytes) that snapshots keep.
    pub max_storage_gb: Option<u64>,
}

impl Settings {
    /// Whether the numbers are such that every client can read them.
    fn validate(self) -> ApiResult<()> {
        for (field, value) in [
            ("max_sandboxes", self.max_sandboxes),
            ("max_concurrent", self.max_concurrent),
            ("max_storage_gb", self.max_storage_gb),
        ] {
            if value.is_some_and(|value| i64::try_from(value).is_err()) {
                return Err(ApiError::field(field, "is too large"));
            }
        }
        Ok(())
    }
}

/// Replaces them. A setting below what is used already refuses what comes, and takes nothing away.
pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Input(settings): Input<Settings>,
) -> ApiResult<CommittedAnswer> {
    settings.validate()?;
    if caller.external_user_id.is_some() {
        return Err(out_of_bounds());
    }
    let (org, id, now) = (caller.org, workspace.id, app.clock.now(caller.org));
    app.clone()
        .store
        .write(move |tx| {
            let changed = tx.modify::<Workspace>(org, id, |workspace| {
                workspace.settings = settings;
                workspace.updated_at = now;
            })?;
            let workspace = changed.ok_or_else(|| ApiError::not_found("workspace", id))?;
            activity::note(tx, &app, &workspace, "workspace.settings_changed", &settings)?;
            exchange.commit(tx, &Answer::ok(&workspace.show())?)
        })
        .await
}
