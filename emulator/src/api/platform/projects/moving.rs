//! `POST /projects/{id}/move`: a project and everything in it, to another workspace (miosa-python 2.19).

use axum::extract::State;
use serde::Deserialize;

use super::super::ownership;
use super::super::workspaces::{self, Workspace, note};
use super::Project;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Scoped, codes};
use crate::store::{Filter, Moving};

#[derive(Debug, Deserialize)]
pub(super) struct Move {
    target_workspace_id: String,
}

pub(super) async fn move_to(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    project: Scoped<Project>,
    Input(body): Input<Move>,
) -> ApiResult<CommittedAnswer> {
    if caller.bound_workspace.is_some() {
        return Err(ownership::out_of_bounds());
    }
    let (org, id, now) = (caller.org, project.id, app.clock.now(caller.org));
    let answer = app
        .clone()
        .store
        .write(move |tx| {
            let missing = || ApiError::not_found("project", id);
            let project = tx.get::<Project>(org, id)?.ok_or_else(missing)?;
            let from = tx.get::<Workspace>(org, project.workspace_id)?;
            let target = workspaces::target(tx, org, &body.target_workspace_id)?;
            if target.id == project.workspace_id {
                return exchange.commit(tx, &Answer::ok(&project.show())?);
            }
            if from.as_ref().is_some_and(|from| from.default_project_id == Some(id)) {
                return Err(ApiError::new(
                    codes::RESOURCE_STATE,
                    "The default project stays: what names no project goes there.",
                ));
            }
            workspaces::admit(
                tx,
                &target,
                &Filter { org, project: Some(id), ..Filter::default() },
            )?;
            let external = target.external_workspace_id.as_deref();
            tx.relocate(org, Moving::Project(id), target.id, external)?;
            let moved = tx
                .modify::<Project>(org, id, |project| {
                    project.is_default = false;
                    project.updated_at = now;
                })?
                .ok_or_else(missing)?;
            let shown = moved.show();
            for workspace in from.iter().chain([&target]) {
                note(tx, &app, workspace, "workspace.project_moved", &shown)?;
            }
            exchange.commit(tx, &Answer::ok(&shown)?)
        })
        .await?;
    Ok(answer)
}
