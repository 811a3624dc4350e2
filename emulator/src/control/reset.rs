//! `POST /_emulator/reset`: everything of an organization is unreachable when this answers; its machines and
//! snapshots are removed behind it.

use axum::extract::State as Extracted;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Operator;
use crate::api::compute::sandboxes::{Sandbox, State};
use crate::api::compute::snapshots::Snapshot;
use crate::api::compute::templates::builds;
use crate::api::platform;
use crate::app::App;
use crate::http::{Answer, ApiResult, Params};
use crate::store::{Resource as _, View};

/// Whose.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    /// `true`: every organization's.
    #[serde(default)]
    all: Option<String>,
}

pub(super) async fn post(
    Extracted(app): Extracted<App>,
    operator: Operator,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let all = query.all.as_deref() == Some("true");
    if all {
        operator.require_everything()?;
    }
    let orgs = if all { platform::organizations::all_ids(&app).await? } else { vec![operator.org] };
    let mut gone = Gone::default();
    for org in orgs {
        let theirs = platform::reset(&app, org, move |tx| Gone::of(tx, org)).await?;
        app.journal.forget(org);
        app.previews.close_all_of(org);
        gone.sandboxes.extend(theirs.sandboxes);
        gone.snapshots.extend(theirs.snapshots);
        gone.machines.extend(theirs.machines);
        gone.images.extend(theirs.images);
    }
    let answer = Answer::ok(&json!({
        "reset": true, "all": all, "sandboxes": gone.sandboxes.len(), "snapshots": gone.snapshots.len(),
    }));
    // Nobody can reach them any more. Should the emulator stop before the end, its next start removes the rest.
    app.clone().tasks.spawn(reap(app, gone));
    answer
}

/// What an organization had on machines.
#[derive(Debug, Default)]
struct Gone {
    sandboxes: Vec<Uuid>,
    snapshots: Vec<Uuid>,
    /// Of builds that were under way.
    machines: Vec<Uuid>,
    /// Of templates.
    images: Vec<Uuid>,
}

impl Gone {
    fn of(view: &View<'_>, org: Uuid) -> ApiResult<Self> {
        let sandboxes = view.all::<Sandbox>()?.into_iter();
        let snapshots = view.all::<Snapshot>()?.into_iter();
        let (machines, images) = builds::belongings(view, org)?;
        Ok(Self {
            machines,
            images,
            sandboxes: sandboxes
                .filter(|sandbox| sandbox.org == org && sandbox.state != State::Destroyed)
                .map(|sandbox| sandbox.id)
                .collect(),
            snapshots: snapshots
                .filter(|snapshot| snapshot.keys().org == org)
                .map(|snapshot| snapshot.keys().id)
                .collect(),
        })
    }
}

async fn reap(app: App, gone: Gone) {
    const AT_ONCE: usize = 4;
    let machines = &app.machines;
    if machines.host().is_none() {
        return;
    }
    let sandboxes = stream::iter(gone.sandboxes.into_iter().chain(gone.machines))
        .for_each_concurrent(AT_ONCE, |id| async move {
            if let Err(error) = machines.remove(id).await {
                tracing::warn!("after a reset: machine {id} could not be removed: {error}");
            }
        });
    sandboxes.await;
    let snapshots = stream::iter(gone.snapshots.into_iter().chain(gone.images))
        .for_each_concurrent(AT_ONCE, |id| async move {
            if let Err(error) = machines.remove_snapshot(id).await {
                tracing::warn!("after a reset: snapshot {id} could not be removed: {error}");
            }
        });
    snapshots.await;
}
