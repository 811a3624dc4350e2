//! Policies: list, make, change.

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::lists::{self, MOST, Reader, asked, named};
use super::policy::{self, Effect, Mode, Policy};
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::{PathValues, load, visible};
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Params, validation};
use crate::store::{Filter, View};

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    resource_type: Option<String>,
    resource_id: Option<String>,
    mode: Option<Mode>,
}

/// Those that apply where it is asked for; all of them, when it is not.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let sandbox =
        asked(&app, &caller, query.resource_type.as_deref(), query.resource_id.as_deref()).await?;
    let whose = caller.clone();
    let all = app
        .store
        .read(move |view| match &sandbox {
            Some(sandbox) => policy::of(view, whose.org, Some(sandbox)),
            None => everywhere(view, whose.org),
        })
        .await
        .map_err(ApiError::from)?;
    let shown: Vec<Value> = all
        .iter()
        .filter(|policy| policy.workspace.is_none() || visible(*policy, &caller))
        .filter(|policy| query.mode.is_none_or(|mode| policy.mode == mode))
        .filter(|policy| query.resource_type.is_none() || policy.sandbox.is_some())
        .map(|policy| policy.show(&app))
        .collect();
    Ok(reader.list("policies", shown, None))
}

/// Everything that was made, and the organization's first one where none of its own was.
fn everywhere(view: &View<'_>, org: Uuid) -> Result<Vec<Policy>, crate::store::StoreError> {
    let mut all = lists::every::<Policy>(view, org, None)?;
    if !all.iter().any(|policy| policy.sandbox.is_none()) {
        all.push(Policy::of_org(org));
    }
    Ok(all)
}

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    name: String,
    description: Option<String>,
    mode: Option<Mode>,
    default_effect: Option<Effect>,
    resource_type: Option<String>,
    resource_id: Option<String>,
}

pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    check(Some(&body.name), body.description.as_deref())?;
    let sandbox =
        named(&app, &caller, body.resource_type.as_deref(), body.resource_id.as_deref()).await?;
    unbound(&caller, sandbox.as_ref())?;
    let now = app.clock.now(caller.org);
    let policy = Policy {
        id: app.ids.next(),
        org: caller.org,
        workspace: sandbox.as_ref().map(|sandbox| sandbox.owner.workspace_id),
        name: body.name,
        description: body.description,
        // What an explicit policy is made for (miosa-python 2.19).
        mode: body.mode.unwrap_or(Mode::Enforce),
        default_effect: body.default_effect.unwrap_or(Effect::Deny),
        sandbox: sandbox.map(|sandbox| sandbox.id),
        created_at: Some(now),
        updated_at: Some(now),
    };
    let shown = policy.show(&app);
    let location = format!("/egress/policies/{}", policy.id);
    let org = caller.org;
    let committed = app
        .store
        .write(move |tx| -> ApiResult<_> {
            if tx.count::<Policy>(&Filter { org, ..Filter::default() })? >= u64::from(MOST) {
                return Err(ApiError::field(
                    "name",
                    format!("there may be {MOST} policies at most"),
                ));
            }
            tx.insert(&policy)?;
            exchange.commit(tx, &Answer::created(&shown, location)?)
        })
        .await?;
    app.egress.changed(org);
    Ok(committed)
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Update {
    name: Option<String>,
    description: Option<String>,
    mode: Option<Mode>,
    default_effect: Option<Effect>,
    resource_type: Option<String>,
    resource_id: Option<String>,
}

pub(super) async fn update(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    let id = path.at(0).to_owned();
    change(&app, caller, exchange, body, move |view, caller| {
        let parsed = Uuid::parse_str(&id).map_err(|_| ApiError::not_found("egress_policy", &id))?;
        if let Some(policy) = view.get::<Policy>(caller.org, parsed)? {
            return Ok(policy);
        }
        if parsed == caller.org {
            return Ok(Policy::of_org(caller.org));
        }
        load::<Sandbox>(view, caller, &id, None)
            .map(|sandbox| Policy::of_sandbox(&sandbox))
            .map_err(|_| ApiError::not_found("egress_policy", &id))
    })
    .await
}

/// Without an id: the newest policy of the resource that the body names, else of the organization (miosa-go 2.0, MCP).
pub(super) async fn set_mode(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    if body.mode.is_none() {
        return Err(ApiError::field("mode", "is missing"));
    }
    let sandbox =
        named(&app, &caller, body.resource_type.as_deref(), body.resource_id.as_deref()).await?;
    change(&app, caller, exchange, body, move |view, caller| {
        let all = policy::of(view, caller.org, sandbox.as_ref())?;
        all.into_iter().next().ok_or_else(|| ApiError::internal("a resource has no policy"))
    })
    .await
}

async fn change(
    app: &App,
    caller: Caller,
    exchange: ExchangeRef,
    body: Update,
    find: impl FnOnce(&View<'_>, &Caller) -> ApiResult<Policy> + Send + 'static,
) -> ApiResult<CommittedAnswer> {
    check(body.name.as_deref(), body.description.as_deref())?;
    let (org, now, shower) = (caller.org, app.clock.now(caller.org), app.clone());
    let committed = app
        .store
        .write(move |tx| -> ApiResult<_> {
            let mut policy = find(tx, &caller)?;
            if policy.workspace.is_some() && !visible(&policy, &caller) {
                return Err(ApiError::not_found("egress_policy", policy.id));
            }
            if policy.workspace.is_none() {
                unbound(&caller, None)?;
            }
            policy.name = body.name.unwrap_or(policy.name);
            policy.description = body.description.or(policy.description);
            policy.mode = body.mode.unwrap_or(policy.mode);
            policy.default_effect = body.default_effect.unwrap_or(policy.default_effect);
            policy.updated_at = Some(now);
            if policy.created_at.is_none() {
                policy.created_at = Some(now);
                tx.insert(&policy)?;
            } else {
                tx.update(&policy)?;
            }
            exchange.commit(tx, &Answer::ok(&policy.show(&shower))?)
        })
        .await?;
    app.egress.changed(org);
    Ok(committed)
}

fn check(name: Option<&str>, description: Option<&str>) -> ApiResult<()> {
    name.map_or(Ok(()), |name| validation::text("name", name, 1, 255))?;
    description.map_or(Ok(()), |text| validation::text("description", text, 0, 4000))
}

/// What holds for the whole organization is not changed by who is bound to a part of it.
///
/// # Errors
/// 403.
pub(super) fn unbound(caller: &Caller, sandbox: Option<&Sandbox>) -> ApiResult<()> {
    if caller.bound_workspace.is_some() && sandbox.is_none() {
        return Err(ApiError::new(
            crate::http::codes::FORBIDDEN,
            "This credential is bound to a workspace; name a sandbox of it (resource_type, resource_id).",
        ));
    }
    Ok(())
}
