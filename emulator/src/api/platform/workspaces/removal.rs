//! `DELETE /workspaces/{id}` (miosa-cli: `?force=&dry_run=`).
//!
//! Projects, keys and tokens of the workspace go with it. Sandboxes do not: a workspace that still holds some is kept,
//! with `force` too, since their machines are removed one by one by their own DELETE.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::api_keys::{self, ApiKey};
use super::super::members;
use super::super::policies::{Policy, Tier, TierPolicy};
use super::super::projects::{Environment, Project};
use super::super::tokens::ScopedToken;
use super::Workspace;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Params, Scoped, codes};
use crate::store::{Filter, View};

/// How.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    force: Option<String>,
    dry_run: Option<String>,
}

fn flag(name: &str, value: Option<&str>) -> ApiResult<bool> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(ApiError::parameter(name, "must be true or false")),
    }
}

/// What stands in the workspace.
struct Contents {
    sandboxes: u64,
    projects: Vec<Project>,
    keys: Vec<ApiKey>,
    tokens: Vec<ScopedToken>,
}

impl Contents {
    fn of(view: &View<'_>, org: Uuid, workspace: Uuid) -> ApiResult<Self> {
        let inside = Filter { org, workspace: Some(workspace), ..Filter::default() };
        let living = Filter { not_states: vec!["destroyed"], ..inside.clone() };
        Ok(Self {
            sandboxes: view.count::<Sandbox>(&living)?,
            projects: view.every(&inside)?,
            keys: view.every(&inside)?,
            tokens: view.every(&inside)?,
        })
    }

    fn show(&self) -> Value {
        json!({
            "sandboxes": self.sandboxes,
            "projects": self.projects.len(),
            "api_keys": self.keys.len(),
            "tokens": self.tokens.len(),
        })
    }
}

/// Why it cannot be removed, if so.
fn obstacle(workspace: &Workspace, contents: &Contents, force: bool) -> Option<ApiError> {
    if workspace.is_default {
        return Some(ApiError::new(
            codes::RESOURCE_STATE,
            "The default workspace cannot be removed: what names no workspace goes there.",
        ));
    }
    if contents.sandboxes == 0 || defect!(FullWorkspaceGoes) {
        return None;
    }
    let also = if force { " `force` does not remove them." } else { "" };
    Some(
        ApiError::new(
            codes::RESOURCE_STATE,
            format!(
                "The workspace still holds {} sandboxes. Remove them first.{also}",
                contents.sandboxes
            ),
        )
        .details(json!({ "sandboxes": contents.sandboxes })),
    )
}

pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Params(query): Params<Query>,
) -> ApiResult<CommittedAnswer> {
    let force = flag("force", query.force.as_deref())?;
    let dry_run = flag("dry_run", query.dry_run.as_deref())?;
    let (org, id) = (caller.org, workspace.id);
    let now = app.clock.now(org);
    let of_app = app.clone();
    let answer = app
        .store
        .write(move |tx| {
            let workspace: Workspace =
                tx.get(org, id)?.ok_or_else(|| ApiError::not_found("workspace", id))?;
            let contents = Contents::of(tx, org, id)?;
            let obstacle = obstacle(&workspace, &contents, force);
            if dry_run {
                let answer = Answer::ok(&json!({
                    "id": id,
                    "dry_run": true,
                    "would_delete": contents.show(),
                    "blocked": obstacle.is_some(),
                    "reason": obstacle.map(|error| error.message),
                }))?;
                return exchange.commit(tx, &answer);
            }
            if let Some(error) = obstacle {
                return Err(error);
            }
            for project in &contents.projects {
                tx.remove_children::<Environment>(org, project.id)?;
                tx.remove::<Project>(org, project.id)?;
            }
            for key in &contents.keys {
                api_keys::retire(tx, &of_app, key, now)?;
            }
            for token in contents.tokens {
                tx.update(&ScopedToken { revoked: true, updated_at: now, ..token })?;
            }
            members::forget(tx, org, id)?;
            TierPolicy::write(tx, org, Tier::Workspace(id), Policy::default(), now)?;
            tx.remove::<Workspace>(org, id)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    app.identities.forget(org);
    app.limiter.forget(id);
    Ok(answer)
}
