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
use crate::api::compute::snapshots::source::Source;
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::ownership::Owner;
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

impl Fork {
    /// What is asked for: a sandbox like the one that is forked, and what the body says otherwise.
    ///
    /// # Errors
    /// 422 for a value that cannot be, 501 for what is not built.
    pub fn plan(self, source: Source, base: Base, owner: &mut Owner) -> ApiResult<Plan> {
        refuse_unbuilt(&[
            ("environment", &self.environment),
            ("environment_id", &self.environment_id),
            ("env_id", &self.env_id),
        ])?;
        let _ = (self.no_env, self.fail_fast); // nothing is attached, nothing queued
        if let Some(name) = &self.name {
            fields::name(name)?;
        }
        if let Some(slug) = &self.slug {
            crate::http::validation::slug("slug", slug)?;
        }
        if self.template_id.as_ref().is_some_and(|template| *template != source.template_id) {
            return Err(ApiError::field(
                "template_id",
                "must be that of the sandbox that is forked",
            ));
        }
        let mut plan = source.like(base);
        plan.timeout_sec = fields::timeout(self.timeout_sec.unwrap_or(plan.timeout_sec))?;
        plan.env = self.env.unwrap_or(plan.env);
        fields::env(&plan.env)?;
        plan.metadata = self.metadata.unwrap_or(plan.metadata);
        (plan.name, plan.slug) = (self.name, self.slug);
        if let Some(user) = self.external_user_id {
            crate::http::validation::text("external_user_id", &user, 1, 255)?;
            owner.external_user_id = Some(user);
        }
        Ok(plan)
    }
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
    let source = sandbox.0;
    let mut owner = source.owner.clone();
    let (copy, named) = match &body.snapshot_id {
        // A copy of this moment, unless a snapshot is named.
        None => (Some(app.ids.next()), None),
        Some(named) => (None, Some(named.clone())),
    };
    let base = copy.map_or(source.base.clone(), Base::Snapshot);
    let base = defect!(ForkStartsEmpty, source.base.clone(), base);
    let plan = body.plan(Source::of(&source), base, &mut owner)?;
    let operation = exchange.operation();
    let (app_, snapshot, org) = (app.clone(), named, source.org);
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
