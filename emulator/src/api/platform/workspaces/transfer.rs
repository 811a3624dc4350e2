//! `POST /workspaces/{id}/transfer`: sandboxes and projects, to another workspace (miosa-python 2.19). All or none.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::limits::{self, Taking};
use super::super::ownership;
use super::super::projects::Project;
use super::contents::settled;
use super::{Workspace, admit, note, target};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::api::compute::snapshots::Snapshot;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Scoped, codes};
use crate::store::{Filter, Moving, Tx};

/// No request moves more.
const MOST: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Transfer {
    resource_ids: Vec<String>,
    target_workspace_id: String,
}

pub(super) async fn transfer(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Input(body): Input<Transfer>,
) -> ApiResult<CommittedAnswer> {
    if caller.bound_workspace.is_some() {
        return Err(ownership::out_of_bounds());
    }
    if !(1..=MOST).contains(&body.resource_ids.len()) {
        return Err(ApiError::field("resource_ids", format!("must be 1 to {MOST} ids")));
    }
    let from = workspace.0;
    app.clone()
        .store
        .write(move |tx| {
            let to = target(tx, from.org, &body.target_workspace_id)?;
            if to.id == from.id {
                return Err(ApiError::field("target_workspace_id", "must be another workspace"));
            }
            let mut moved = Vec::new();
            for named in &body.resource_ids {
                moved.push(one(tx, &app, &from, &to, named)?);
            }
            let answer = json!({
                "transferred": moved.len(),
                "resources": moved,
                "source_workspace_id": from.id,
                "target_workspace_id": to.id,
            });
            for workspace in [&from, &to] {
                note(tx, &app, workspace, "workspace.transferred", &answer)?;
            }
            exchange.commit(tx, &Answer::ok(&answer)?)
        })
        .await
}

fn one(tx: &Tx<'_>, app: &App, from: &Workspace, to: &Workspace, named: &str) -> ApiResult<Value> {
    let missing = || {
        ApiError::field(
            "resource_ids",
            format!("{named} is no sandbox and no project of this workspace"),
        )
    };
    let id = Uuid::parse_str(named).map_err(|_| missing())?;
    let external = to.external_workspace_id.as_deref();
    let sandbox = tx.get::<Sandbox>(from.org, id)?;
    if let Some(sandbox) = sandbox.filter(|found| found.owner.workspace_id == from.id) {
        settled(&sandbox)?;
        let snapshots = Filter { org: from.org, parent: Some(id), ..Filter::default() };
        let taking = Taking {
            sandboxes: u64::from(sandbox.state != SandboxState::Destroyed),
            running: u64::from(sandbox.state == SandboxState::Running),
            bytes: tx.sum::<Snapshot>(&snapshots, "$.size_bytes")?,
        };
        limits::move_in(tx, to.org, to.id, taking)?;
        let into = ownership::default_project(tx, app, to, app.clock.now(to.org))?.id;
        tx.relocate(from.org, Moving::One { id, into }, to.id, external)?;
        return Ok(json!({ "type": "sandbox", "id": id, "project_id": into }));
    }
    let project = tx.get::<Project>(from.org, id)?;
    let project = project.filter(|found| found.workspace_id == from.id).ok_or_else(missing)?;
    if from.default_project_id == Some(project.id) {
        return Err(ApiError::new(
            codes::RESOURCE_STATE,
            "The default project stays: what names no project goes there.",
        ));
    }
    admit(tx, to, &Filter { org: from.org, project: Some(id), ..Filter::default() })?;
    tx.relocate(from.org, Moving::Project(id), to.id, external)?;
    Ok(json!({ "type": "project", "id": id }))
}
