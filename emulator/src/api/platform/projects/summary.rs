//! `GET /projects/{id}/summary`: what is in a project, counted.

use axum::extract::State;
use serde_json::json;

use super::environment::{self, Environment};
use super::{Project, variable};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::snapshots::Snapshot;
use crate::api::platform::workspaces;
use crate::app::App;
use crate::http::{Answer, ApiResult, Scoped};
use crate::store::Filter;

pub(super) async fn summary(State(app): State<App>, project: Scoped<Project>) -> ApiResult<Answer> {
    let (of_app, project) = (app.clone(), project.0);
    let shown = app
        .store
        .write(move |tx| -> ApiResult<_> {
            let inside =
                Filter { org: project.org, project: Some(project.id), ..Filter::default() };
            Environment::ensure_default(tx, &of_app, &project)?;
            let environments = tx.every::<Environment>(&environment::of(&project))?;
            let variables: usize =
                environments.iter().map(|of| variable::show(&of.variables).len()).sum();
            Ok(json!({
                "project": project.show(),
                "environments": environments.iter().map(Environment::show).collect::<Vec<_>>(),
                "sandboxes": workspaces::by_state::<Sandbox>(tx, &inside)?,
                "snapshots": workspaces::by_state::<Snapshot>(tx, &inside)?,
                "shared_variables": variables,
                // Services and deployments are not emulated: there can be none.
                "services": 0,
                "deployments": 0,
            }))
        })
        .await?;
    Answer::ok(&shown)
}
