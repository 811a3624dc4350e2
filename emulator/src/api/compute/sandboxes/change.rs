//! Changing what is kept of a sandbox: `PATCH`, `extend`, `DELETE`.

use axum::extract::State as Extracted;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fields::{self, Tags};
use super::show::{Reader, show};
use super::transition::{not_running, tell, when_settled};
use super::{Sandbox, State, power};
use crate::app::App;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::validation::present;
use crate::http::{Answer, ApiError, ApiResult, Input, Scoped, codes, validation};

/// The body of a `PATCH`: what is absent stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::option_option)] // absent, null and a value are three things in a PATCH
pub struct Patch {
    #[serde(deserialize_with = "present")]
    name: Option<Option<String>>,
    slug: Option<String>,
    tags: Option<Tags>,
    #[serde(deserialize_with = "present")]
    metadata: Option<Option<Map<String, Value>>>,
    always_on: Option<bool>,
    persistent: Option<bool>,
    timeout_sec: Option<u32>,
    idle_timeout_sec: Option<u32>,
}

/// `PATCH /sandboxes/{id}`.
pub async fn patch(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Patch>,
) -> ApiResult<CommittedAnswer> {
    if let Some(Some(name)) = &body.name {
        fields::name(name)?;
    }
    if let Some(slug) = &body.slug {
        validation::slug("slug", slug)?;
    }
    let tags = body.tags.map(Tags::kept).transpose()?;
    let timeout_sec = body.timeout_sec.map(fields::timeout).transpose()?;
    let idle_timeout_sec = body.idle_timeout_sec.map(fields::idle_timeout).transpose()?;
    let (org, id, app_) = (sandbox.org, sandbox.id, app.clone());
    let now = app.clock.now(org);
    let answer = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            let missing = || ApiError::not_found("sandbox", id);
            let mut sandbox = tx.get::<Sandbox>(org, id)?.ok_or_else(missing)?;
            if sandbox.state == State::Destroyed {
                return Err(ended(&sandbox));
            }
            if let Some(name) = body.name {
                sandbox.name = name;
            }
            if let Some(slug) = body.slug {
                sandbox.slug = slug;
            }
            if let Some(tags) = tags {
                sandbox.tags = tags;
            }
            if let Some(metadata) = body.metadata {
                sandbox.metadata = metadata.unwrap_or_default();
            }
            if let Some(persistent) = body.persistent {
                sandbox.persistent = persistent;
            }
            if let Some(seconds) = idle_timeout_sec {
                sandbox.idle_timeout_sec = seconds;
            }
            if timeout_sec.is_some() || body.always_on.is_some() {
                sandbox.timeout_sec = timeout_sec.unwrap_or(sandbox.timeout_sec);
                sandbox.always_on = body.always_on.unwrap_or(sandbox.always_on);
                // A new timeout counts from now on.
                if sandbox.runs() {
                    sandbox.renew(now);
                }
            }
            sandbox.updated_at = now;
            defect!(PatchIsBirth => sandbox.created_at = now);
            tx.update(&sandbox)?;
            exchange.commit(tx, &Answer::ok(&show(&app_, &sandbox, &reader))?)
        })
        .await?;
    tell(&app);
    Ok(answer)
}

/// The body of a change of the tags (miosa-go 2.0: a list; older command lines: a map).
#[derive(Debug, Clone, Deserialize)]
pub struct Retag {
    tags: Tags,
}

/// `PATCH /sandboxes/{id}/tags`: these and no others.
pub async fn retag(
    app: Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Retag>,
) -> ApiResult<CommittedAnswer> {
    let body = Patch { tags: Some(body.tags), ..Patch::default() };
    patch(app, exchange, reader, sandbox, Input(body)).await
}

fn ended(sandbox: &Sandbox) -> ApiError {
    ApiError::new(
        codes::RESOURCE_STATE,
        format!("Sandbox {} has ended with its timeout.", sandbox.id),
    )
}

/// The body of an extend; without `timeout_sec` the timeout stays and begins anew.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Extend {
    timeout_sec: Option<u32>,
}

/// `POST /sandboxes/{id}/extend`.
pub async fn extend(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    reader: Reader,
    sandbox: Scoped<Sandbox>,
    Input(body): Input<Extend>,
) -> ApiResult<CommittedAnswer> {
    let timeout_sec = body.timeout_sec.map(fields::timeout).transpose()?;
    let (org, id, app_) = (sandbox.org, sandbox.id, app.clone());
    let now = app.clock.now(org);
    let answer = when_settled(&app, org, id, move |tx, mut sandbox| {
        if sandbox.state != State::Running && !defect!(ExtendsAnything) {
            return Err(not_running(&sandbox));
        }
        sandbox.timeout_sec = timeout_sec.unwrap_or(sandbox.timeout_sec);
        sandbox.renew(now);
        sandbox.updated_at = now;
        tx.update(&sandbox)?;
        exchange.commit(tx, &Answer::ok(&show(&app_, &sandbox, &reader))?)
    })
    .await?;
    tell(&app);
    Ok(answer)
}

/// `DELETE /sandboxes/{id}`: 404 from then on.
pub async fn delete(
    Extracted(app): Extracted<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
) -> ApiResult<CommittedAnswer> {
    let id = sandbox.id;
    power::remove(&app, (sandbox.org, id), move |tx| {
        let body =
            json!({ "id": id, "state": "destroyed", "status": "destroyed", "deleted": true });
        exchange.commit(tx, &Answer::ok(&body)?)
    })
    .await
}
