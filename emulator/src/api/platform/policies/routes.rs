//! `/tenant/policy`, `/workspaces/{id}/policy`, `/external-users/{id}/policy` and `…/effective-policy`.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::ownership;
use super::super::workspaces::Workspace;
use super::{Policy, Tier, TierPolicy, Tiers, may_manage, may_read};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Params, Route, Scoped, validation};

/// Every route of the policies. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    let read = "projects:read";
    let write = "projects:write";
    [
        Route::get("/tenant/policy", get_tenant).scope(read).family("tenants"),
        Route::put("/tenant/policy", put_tenant).scope(write).family("tenants"),
        Route::delete("/tenant/policy", delete_tenant).scope(write).family("tenants"),
        Route::get("/workspaces/{id}/policy", get_workspace).scope(read).family("workspaces"),
        Route::put("/workspaces/{id}/policy", put_workspace).scope(write).family("workspaces"),
        Route::delete("/workspaces/{id}/policy", delete_workspace)
            .scope(write)
            .family("workspaces"),
        Route::get("/external-users/{id}/policy", get_user).scope(read).family("external_users"),
        Route::put("/external-users/{id}/policy", put_user).scope(write).family("external_users"),
        Route::delete("/external-users/{id}/policy", delete_user)
            .scope(write)
            .family("external_users"),
        // An end user's own credential reads its own, whatever else it may do.
        Route::get("/external-users/{id}/effective-policy", effective).family("external_users"),
        super::bulk::route(),
    ]
    .into_iter()
    .map(Route::repeatable)
    .collect()
}

/// The end user that a path names.
///
/// # Errors
/// 422 for what cannot be a name.
pub(in super::super) fn user_of(path: &PathValues) -> ApiResult<String> {
    let user = path.at(0);
    validation::text("external_user_id", user, 1, 255)?;
    Ok(user.to_owned())
}

/// One object; the organization's comes without an envelope (miosa-go 2.0).
fn shown(tier: &Tier, policy: &Policy) -> ApiResult<Answer> {
    match tier {
        Tier::Tenant => Ok(Answer::Bare { status: StatusCode::OK, value: policy.show() }),
        Tier::Workspace(_) | Tier::User(_) => Answer::ok(&policy.show()),
    }
}

async fn get(app: App, caller: Caller, tier: Tier) -> ApiResult<Answer> {
    let of = tier.clone();
    let policy = app.store.read(move |view| TierPolicy::read(view, caller.org, &of)).await?;
    shown(&tier, &policy)
}

async fn put(
    app: App,
    caller: Caller,
    exchange: ExchangeRef,
    tier: Tier,
    change: Map<String, Value>,
) -> ApiResult<CommittedAnswer> {
    may_manage(&caller, &tier)?;
    let now = app.clock.now(caller.org);
    app.store
        .write(move |tx| {
            let policy = TierPolicy::read(tx, caller.org, &tier)?.merged(&change)?;
            let answer = shown(&tier, &policy)?;
            TierPolicy::write(tx, caller.org, tier, policy, now)?;
            exchange.commit(tx, &answer)
        })
        .await
}

async fn delete(
    app: App,
    caller: Caller,
    exchange: ExchangeRef,
    tier: Tier,
) -> ApiResult<CommittedAnswer> {
    may_manage(&caller, &tier)?;
    let now = app.clock.now(caller.org);
    app.store
        .write(move |tx| {
            TierPolicy::write(tx, caller.org, tier, Policy::default(), now)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}

async fn get_tenant(State(app): State<App>, caller: Caller) -> ApiResult<Answer> {
    get(app, caller, Tier::Tenant).await
}

async fn put_tenant(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(change): Input<Map<String, Value>>,
) -> ApiResult<CommittedAnswer> {
    put(app, caller, exchange, Tier::Tenant, change).await
}

async fn delete_tenant(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
) -> ApiResult<CommittedAnswer> {
    delete(app, caller, exchange, Tier::Tenant).await
}

async fn get_workspace(
    State(app): State<App>,
    caller: Caller,
    workspace: Scoped<Workspace>,
) -> ApiResult<Answer> {
    get(app, caller, Tier::Workspace(workspace.id)).await
}

async fn put_workspace(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
    Input(change): Input<Map<String, Value>>,
) -> ApiResult<CommittedAnswer> {
    put(app, caller, exchange, Tier::Workspace(workspace.id), change).await
}

async fn delete_workspace(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    workspace: Scoped<Workspace>,
) -> ApiResult<CommittedAnswer> {
    delete(app, caller, exchange, Tier::Workspace(workspace.id)).await
}

async fn get_user(State(app): State<App>, caller: Caller, path: PathValues) -> ApiResult<Answer> {
    let user = user_of(&path)?;
    may_read(&caller, &user)?;
    get(app, caller, Tier::User(user)).await
}

async fn put_user(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    Input(change): Input<Map<String, Value>>,
) -> ApiResult<CommittedAnswer> {
    put(app, caller, exchange, Tier::User(user_of(&path)?), change).await
}

async fn delete_user(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    delete(app, caller, exchange, Tier::User(user_of(&path)?)).await
}

#[derive(Debug, Deserialize)]
struct Query {
    /// Brings the workspace's policy in.
    workspace_id: Option<String>,
}

async fn effective(
    State(app): State<App>,
    caller: Caller,
    path: PathValues,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let user = user_of(&path)?;
    may_read(&caller, &user)?;
    let tiers = app
        .store
        .read(move |view| {
            let named = query.workspace_id.as_deref().filter(|named| !named.is_empty());
            let workspace = match named {
                Some(named) => Some(
                    ownership::named_workspace(view, caller.org, named)?
                        .map(|workspace| workspace.id)
                        .filter(|id| caller.bound_workspace.is_none_or(|bound| bound == *id))
                        .ok_or_else(|| ApiError::not_found("workspace", named))?,
                ),
                None => caller.bound_workspace,
            };
            Tiers::read(view, caller.org, workspace, Some(&user))
        })
        .await?;
    Answer::ok(&tiers.show())
}
