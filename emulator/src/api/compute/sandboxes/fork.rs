//! `POST /sandboxes/{id}/fork`: another sandbox with the same files; the first goes on.

use std::collections::BTreeMap;

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::create::{Plan, intend, make};
use super::fields;
use super::refused_fields::refuse_unbuilt;
use super::show::Reader;
use super::{Sandbox, snapshot_base, transition};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{ApiError, ApiResult, Caller, Input, Scoped};
use crate::machines::Base;

/// The body; what is absent is as in the original, but for the name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Fork {
    snapshot_id: Option<String>,
    name: Option<String>,
    slug: Option<String>,
    external_user_id: Option<String>,
    metadata: Option<Map<String, Value>>,
    timeout_sec: Option<u32>,
    template_id: Option<String>,
    env: Option<BTreeMap<String, String>>,
    environment: Option<Value>,
    environment_id: Option<Value>,
    env_id: Option<Value>,
    no_env: Option<bool>,
    fail_fast: Option<bool>,
}

/// The handler.
pub async fn fork(
    Extracted(app): Extracted<App>,
    caller: Caller,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Fork>,
) -> ApiResult<CommittedAnswer> {
    refuse_unbuilt(&[
        ("environment", &body.environment),
        ("environment_id", &body.environment_id),
        ("env_id", &body.env_id),
    ])?;
    let _ = (body.no_env, body.fail_fast); // nothing is attached, nothing queued
    if let Some(name) = &body.name {
        fields::name(name)?;
    }
    if let Some(slug) = &body.slug {
        crate::http::validation::slug("slug", slug)?;
    }
    if body.template_id.as_ref().is_some_and(|template| *template != sandbox.template_id) {
        return Err(ApiError::field("template_id", "must be that of the sandbox that is forked"));
    }
    let timeout_sec = fields::timeout(body.timeout_sec.unwrap_or(sandbox.timeout_sec))?;
    let env = body.env.unwrap_or_else(|| sandbox.env.clone());
    fields::env(&env)?;
    let source = sandbox.0;
    let mut owner = source.owner.clone();
    if let Some(user) = body.external_user_id {
        crate::http::validation::text("external_user_id", &user, 1, 255)?;
        owner.external_user_id = Some(user);
    }
    // A copy of this moment, unless a snapshot is named.
    let copy = body.snapshot_id.is_none().then(|| app.ids.next());
    let plan = Plan {
        name: body.name,
        slug: body.slug,
        tags: source.tags,
        metadata: body.metadata.unwrap_or(source.metadata),
        template_id: source.template_id,
        base: copy.map_or(source.base, Base::Snapshot),
        size: source.size,
        shape: source.shape,
        timeout_sec,
        idle_timeout_sec: source.idle_timeout_sec,
        persistent: source.persistent,
        always_on: source.always_on,
        env,
        region: source.region,
        boot_path: "fork",
        // A fork has the files; what runs in the other one is the other one's.
        services: Vec::new(),
        startup: source.startup.of_a_copy(),
    };
    let operation = exchange.operation();
    let (app_, snapshot, org) = (app.clone(), body.snapshot_id, source.org);
    let write = app.store.write(move |tx| {
        let mut plan = plan;
        if let Some(named) = snapshot {
            plan.base = snapshot_base::of(tx, &caller, &named)?;
        }
        intend(tx, &app_, plan, owner, (caller.org, caller.user_id), operation)
    });
    let forked = write.await?;
    let Some(copy) = copy else { return make(&app, forked, reader, exchange).await };
    let sealed = transition::snapshotting(&app, org, source.id, operation, async {
        Ok(app.machines.snapshot(source.id, copy).await?)
    });
    if let Err(error) = sealed.await {
        let (org, id) = (forked.org, forked.id);
        let gone: ApiResult<bool> =
            app.store.write(move |tx| Ok(tx.remove::<Sandbox>(org, id)?)).await;
        gone?;
        forget_copy(&app, copy).await;
        return Err(error);
    }
    let made = make(&app, forked, reader, exchange).await;
    forget_copy(&app, copy).await;
    made
}

/// The copy was for this fork alone. One that stays behind is removed at the next start: no row names it.
async fn forget_copy(app: &App, copy: uuid::Uuid) {
    if let Err(error) = app.machines.remove_snapshot(copy).await {
        tracing::warn!(snapshot = %copy, "a fork's copy could not be removed yet: {error}");
    }
}
