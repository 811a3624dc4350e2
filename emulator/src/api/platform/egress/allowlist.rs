//! Rules: hosts that are allowed, and hosts that are denied.

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::lists::{self, MOST, Reader, asked, named};
use super::pattern::Pattern;
use super::policies::unbound;
use super::policy::{Effect, Policy};
use super::rule::Rule;
use crate::api::compute::sandboxes::Sandbox;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::{load, visible};
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Params, Scoped, validation};
use crate::store::Filter;

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    policy_id: Option<Uuid>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    effect: Option<Effect>,
    host: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let sandbox =
        asked(&app, &caller, query.resource_type.as_deref(), query.resource_id.as_deref()).await?;
    let (org, of) = (caller.org, sandbox.map(|sandbox| sandbox.id));
    let rules = app
        .store
        .read(move |view| lists::every::<Rule>(view, org, of))
        .await
        .map_err(ApiError::from)?;
    let shown: Vec<Value> = rules
        .iter()
        .filter(|rule| rule.workspace.is_none() || visible(*rule, &caller))
        .filter(|rule| query.policy_id.is_none() || rule.policy_id == query.policy_id)
        .filter(|rule| query.effect.is_none_or(|effect| rule.effect == effect))
        .filter(|rule| query.host.as_ref().is_none_or(|host| rule.host == *host))
        .filter(|rule| query.resource_type.is_none() || rule.sandbox.is_some())
        .map(Rule::show)
        .collect();
    Ok(reader.list("rules", shown, None))
}

#[derive(Debug, Deserialize)]
pub(super) struct Create {
    host: String,
    effect: Option<Effect>,
    methods: Option<Vec<String>>,
    path_glob: Option<String>,
    policy_id: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    note: Option<String>,
}

pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    Pattern::parse(&body.host).map_err(|why| ApiError::field("host", why))?;
    let methods = methods(body.methods.unwrap_or_default())?;
    for (field, text) in [("path_glob", &body.path_glob), ("note", &body.note)] {
        text.as_deref().map_or(Ok(()), |text| validation::text(field, text, 0, 1000))?;
    }
    let sandbox =
        named(&app, &caller, body.resource_type.as_deref(), body.resource_id.as_deref()).await?;
    let rule = Rule {
        id: app.ids.next(),
        org: caller.org,
        workspace: sandbox.as_ref().map(|sandbox| sandbox.owner.workspace_id),
        host: body.host.trim().to_ascii_lowercase(),
        effect: body.effect.unwrap_or(Effect::Allow),
        methods,
        path_glob: body.path_glob,
        policy_id: None,
        sandbox: sandbox.as_ref().map(|sandbox| sandbox.id),
        note: body.note,
        created_at: app.clock.now(caller.org),
    };
    let org = caller.org;
    let committed = app
        .store
        .write(move |tx| -> ApiResult<_> {
            let mut rule = rule;
            if let Some(named) = &body.policy_id {
                let policy = policy(tx, &caller, named)?;
                // What belongs to a sandbox's policy is for that sandbox, and goes with it.
                rule.sandbox = rule.sandbox.or(policy.sandbox);
                rule.workspace = rule.workspace.or(policy.workspace);
                rule.policy_id = Some(policy.id);
            }
            if rule.sandbox.is_none() {
                unbound(&caller, None)?;
            }
            if tx.count::<Rule>(&Filter { org, ..Filter::default() })? >= u64::from(MOST) {
                return Err(ApiError::field("host", format!("there may be {MOST} rules at most")));
            }
            tx.insert(&rule)?;
            let location = format!("/egress/allowlist/{}", rule.id);
            exchange.commit(tx, &Answer::created(&rule.show(), location)?)
        })
        .await?;
    app.egress.changed(org);
    Ok(committed)
}

/// The policy that a rule is to belong to: one that was made, or one that is there from the start.
fn policy(view: &crate::store::View<'_>, caller: &Caller, named: &str) -> ApiResult<Policy> {
    let missing = || ApiError::not_found("egress_policy", named);
    let id = Uuid::parse_str(named).map_err(|_| missing())?;
    if let Some(policy) = view.get::<Policy>(caller.org, id)? {
        let seen = policy.workspace.is_none() || visible(&policy, caller);
        return if seen { Ok(policy) } else { Err(missing()) };
    }
    if id == caller.org {
        return Ok(Policy::of_org(caller.org));
    }
    load::<Sandbox>(view, caller, named, None)
        .map(|sandbox| Policy::of_sandbox(&sandbox))
        .map_err(|_| missing())
}

fn methods(methods: Vec<String>) -> ApiResult<Vec<String>> {
    let known =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "*"];
    let methods: Vec<String> =
        methods.iter().map(|method| method.trim().to_ascii_uppercase()).collect();
    if methods.len() > known.len() || !methods.iter().all(|method| known.contains(&method.as_str()))
    {
        return Err(ApiError::field("methods", "must be methods of HTTP, each once"));
    }
    Ok(methods)
}

pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    rule: Scoped<Rule>,
) -> ApiResult<CommittedAnswer> {
    let (org, id) = (rule.org, rule.id);
    let committed = app
        .store
        .write(move |tx| -> ApiResult<_> {
            if !tx.remove::<Rule>(org, id)? {
                return Err(ApiError::not_found("egress_rule", id));
            }
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    app.egress.changed(caller.org);
    Ok(committed)
}
