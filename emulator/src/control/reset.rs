//! `POST /_emulator/reset`: everything of an organization is unreachable when this answers; its machines and
//! snapshots are removed behind it.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::Operator;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::snapshots::Snapshot;
use crate::api::platform;
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params};
use crate::store::Resource as _;

/// Whose.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// `true`: every organization's.
    #[serde(default)]
    all: Option<String>,
}

pub(super) async fn post(
    State(app): State<App>,
    operator: Operator,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let all = query.all.as_deref() == Some("true");
    if all {
        operator.require_everything()?;
    }
    let orgs = if all { platform::organizations::all_ids(&app).await? } else { vec![operator.org] };
    let (mut machines, mut snapshots) = (Vec::new(), Vec::new());
    for org in orgs {
        let mut theirs: (Vec<Sandbox>, Vec<Snapshot>) = app
            .store
            .read(|view| Ok::<_, ApiError>((view.all::<Sandbox>()?, view.all::<Snapshot>()?)))
            .await?;
        theirs.0.retain(|sandbox| sandbox.org == org);
        theirs.1.retain(|snapshot| snapshot.keys().org == org);
        platform::reset(&app, org).await?;
        app.journal.forget(org);
        app.previews.close_all_of(org);
        machines.extend(theirs.0.into_iter().map(|sandbox| sandbox.id));
        snapshots.extend(theirs.1.into_iter().map(|snapshot| snapshot.keys().id));
    }
    let answer = Answer::ok(&json!({
        "reset": true, "all": all, "sandboxes": machines.len(), "snapshots": snapshots.len(),
    }));
    let reaper = app.clone();
    app.tasks.spawn(async move {
        for id in machines {
            if let Err(error) = reaper.machines.remove(id).await {
                tracing::warn!("after a reset: machine {id} could not be removed: {error}");
            }
        }
        for id in snapshots {
            if let Err(error) = reaper.machines.remove_snapshot(id).await {
                tracing::warn!("after a reset: snapshot {id} could not be removed: {error}");
            }
        }
    });
    answer
}
