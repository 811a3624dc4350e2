//! Looking at a workspace as a whole: stats (`api-reference/workspaces`), inventory (miosa-cli), its sandboxes and computers.

use axum::extract::State;
use serde_json::{Map, Value, json};

use super::super::api_keys::ApiKey;
use super::super::limits::{Usage, Whose};
use super::super::members::{Invite, Member};
use super::super::projects::{Environment, Project};
use super::{Workspace, by_state};
use crate::api::compute::previews::Preview;
use crate::api::compute::sandboxes::show::{Reader, show};
use crate::api::compute::sandboxes::{Sandbox, State as SandboxState};
use crate::api::compute::snapshots::Snapshot;
use crate::app::App;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiResult, Pages, Scoped};
use crate::store::{Filter, Paging, Resource, View};

fn inside(workspace: &Workspace) -> Filter {
    Filter { org: workspace.org, workspace: Some(workspace.id), ..Filter::default() }
}

/// Everything, counted.
pub(super) async fn stats(
    State(app): State<App>,
    workspace: Scoped<Workspace>,
) -> ApiResult<Answer> {
    let workspace = workspace.0;
    let shown = app
        .store
        .read(move |view| -> ApiResult<_> {
            let inside = inside(&workspace);
            let usage = Usage::of(view, workspace.org, &Whose::Workspace(workspace.id))?;
            Ok(json!({
                "workspace_id": workspace.id,
                "sandboxes": by_state::<Sandbox>(view, &inside)?,
                "snapshots": by_state::<Snapshot>(view, &inside)?,
                "projects": view.count::<Project>(&inside)?,
                "environments": view.count::<Environment>(&inside)?,
                "previews": view.count::<Preview>(&inside)?,
                "api_keys": view.count::<ApiKey>(&inside)?,
                // Until somebody changes that, its founder is alone in it.
                "members": view.count::<Member>(&inside)?.max(1),
                "pending_invites": view.count::<Invite>(&Filter {
                    states: vec!["pending".to_owned()],
                    ..inside
                })?,
                "running": usage.running,
                "storage_bytes": usage.bytes,
                // Not emulated: there can be none.
                "computers": 0,
                "deployments": 0,
                "databases": 0,
                "limits": workspace.settings,
            }))
        })
        .await?;
    Answer::ok(&shown)
}

/// Of each kind this many are named; the totals are whole.
const NAMED: Paging = Paging::Number { page: 1, size: 200 };

/// Everything, by name.
pub(super) async fn inventory(
    State(app): State<App>,
    workspace: Scoped<Workspace>,
) -> ApiResult<Answer> {
    let workspace = workspace.0;
    let shown = app
        .store
        .read(move |view| -> ApiResult<_> {
            let mut found = Inventory { resources: Map::new(), totals: Map::new() };
            let inside = inside(&workspace);
            let living =
                Filter { not_states: vec![SandboxState::Destroyed.as_str()], ..inside.clone() };
            found.add::<Sandbox>(view, &living)?;
            found.add::<Snapshot>(view, &inside)?;
            found.add::<Preview>(view, &inside)?;
            found.add::<Project>(view, &inside)?;
            found.add::<Environment>(view, &inside)?;
            found.add::<ApiKey>(view, &inside)?;
            Ok(json!({
                "workspace_id": workspace.id,
                "resources": found.resources,
                "totals": found.totals,
            }))
        })
        .await?;
    Answer::ok(&shown)
}

struct Inventory {
    resources: Map<String, Value>,
    totals: Map<String, Value>,
}

impl Inventory {
    fn add<R: Resource>(&mut self, view: &View<'_>, filter: &Filter) -> ApiResult<()> {
        let listing = view.page::<R>(filter, NAMED)?;
        let items: Vec<Value> = listing
            .items
            .iter()
            .map(|item| {
                let keys = item.keys();
                json!({
                    "type": R::KIND,
                    "id": keys.id,
                    "name": keys.name.or(keys.slug),
                    "state": keys.state,
                    "project_id": keys.project,
                    "created_at": item.created_at(),
                })
            })
            .collect();
        self.totals.insert(R::PLURAL.into(), listing.total.into());
        self.resources.insert(R::PLURAL.into(), items.into());
        Ok(())
    }
}

/// Its sandboxes that are there.
pub(super) async fn sandboxes(
    State(app): State<App>,
    exchange: ExchangeRef,
    reader: Reader,
    workspace: Scoped<Workspace>,
    pages: Pages,
) -> ApiResult<Answer> {
    let not_states = vec![SandboxState::Destroyed.as_str()];
    let filter = Filter { not_states, ..inside(&workspace) };
    let listing = pages.read::<Sandbox>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |sandbox| show(&app, &sandbox, &reader))
}

/// Computers are not emulated: no workspace has any.
pub(super) async fn computers(_: Scoped<Workspace>) -> ApiResult<Answer> {
    Ok(Answer::whole(Vec::new(), "computers"))
}
