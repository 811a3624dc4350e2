//! `/api-keys` (`api-reference/authentication`, `platform/api-keys`; miosa-python 2.19, miosa-cli-go).

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::scopes;
use super::mint::Wanted;
use super::record::KeyType;
use super::{ApiKey, delegation, mint, presets};
use crate::app::App;
use crate::clock::Timestamp;
use crate::defects::defect;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::networks::Network;
use crate::http::validation::present;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Nothing, Pages, Route, Scoped, validation,
};
use crate::store::{Filter, Tx};

/// Every route of the family. `repeatable`: each change is one transaction with its answer, so that one without an answer
/// has not happened.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/api-keys", list),
        Route::post("/api-keys", create),
        Route::get("/api-keys/{id}", get),
        Route::patch("/api-keys/{id}", update),
        Route::delete("/api-keys/{id}", delete),
        Route::post("/api-keys/{id}/rotate", rotate),
    ]
    .into_iter()
    .chain(presets::routes())
    .chain([delegation::route()])
    .map(|route| route.family("api_keys").repeatable())
    .collect()
}

/// A key to make.
#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    #[serde(default)]
    key_type: KeyType,
    purpose: Option<String>,
    scopes: Option<Vec<String>>,
    preset: Option<String>,
    expires_at: Option<Timestamp>,
    expires_in_days: Option<u32>,
    workspace_id: Option<String>,
    external_user_id: Option<String>,
    rate_limit_rpm: Option<u32>,
    #[serde(default)]
    allowed_ips: Vec<Network>,
    metadata: Option<Map<String, Value>>,
}

/// The record with its secret: the only answer that carries one.
pub(in super::super) fn with_secret(key: &ApiKey, secret: &str, now: Timestamp) -> Value {
    let mut shown = key.show(now);
    if let Value::Object(fields) = &mut shown {
        fields.insert("key".into(), secret.into());
        fields.insert("token".into(), secret.into());
    }
    shown
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    validation::text("name", &body.name, 1, 255)?;
    if let Some(external) = &body.external_user_id {
        validation::text("external_user_id", external, 1, 255)?;
    }
    mint::check_rules(body.rate_limit_rpm, &body.allowed_ips)?;
    let now = app.clock.now(caller.org);
    let expires_at = mint::expiry(body.expires_at, body.expires_in_days, now)?;
    app.clone()
        .store
        .write(move |tx| {
            mint::may_make(tx, &caller, body.key_type)?;
            let saved = |name: &str| presets::saved(tx, caller.org, name);
            let asked = scopes::expand(body.scopes, body.preset.as_deref(), saved)?;
            let wanted = Wanted {
                name: body.name,
                key_type: body.key_type,
                purpose: body.purpose,
                scopes: scopes::handed_on(&caller, asked)?,
                workspace_id: mint::bond(tx, &caller, body.workspace_id.as_deref())?,
                external_user_id: body.external_user_id,
                service_account_id: None,
                rate_limit_rpm: body.rate_limit_rpm,
                allowed_ips: body.allowed_ips,
                metadata: body.metadata.unwrap_or_default(),
                expires_at,
            };
            let (key, secret) = mint::issue(tx, &app, caller.org, wanted, now)?;
            let location = format!("/api-keys/{}", key.id);
            exchange.commit(tx, &Answer::created(&with_secret(&key, &secret, now), location)?)
        })
        .await
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
) -> ApiResult<Answer> {
    let filter = Filter { org: caller.org, workspace: caller.bound_workspace, ..Filter::default() };
    let now = app.clock.now(caller.org);
    let listing = pages.read::<ApiKey>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |key| key.show(now))
}

async fn get(State(app): State<App>, key: Scoped<ApiKey>) -> ApiResult<Answer> {
    let mut shown = key.show(app.clock.now(key.org));
    if let (Value::Object(fields), Some(end_user)) = (&mut shown, delegation::end_user(&key)) {
        fields.insert("end_user".into(), end_user);
    }
    Answer::ok(&shown)
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Active,
    Inactive,
}

/// What changes (miosa-python 2.19: name, scopes, status; miosa-cli-go: name, rate).
#[derive(Debug, Deserialize)]
#[allow(clippy::option_option)] // the three cases of a PATCH field
struct Update {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    status: Option<Status>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_rpm: Option<Option<u32>>,
    allowed_ips: Option<Vec<Network>>,
    metadata: Option<Map<String, Value>>,
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    key: Scoped<ApiKey>,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    if let Some(name) = &body.name {
        validation::text("name", name, 1, 255)?;
    }
    let networks = body.allowed_ips.as_deref().unwrap_or_default();
    mint::check_rules(body.rate_limit_rpm.flatten(), networks)?;
    let now = app.clock.now(caller.org);
    let (org, id) = (caller.org, key.id);
    let answer = app
        .store
        .write(move |tx| {
            let mut key = changeable(tx, &caller, id)?;
            let saved = |name: &str| presets::saved(tx, org, name);
            if let Some(scopes) = scopes::expand(body.scopes, None, saved)? {
                // Nobody gives a key, its own included, more than it has itself.
                mint::not_a_token(&caller)?;
                key.scopes = scopes::handed_on(&caller, Some(scopes))?;
            }
            if let Some(name) = body.name {
                key.name = name;
            }
            if let Some(status) = body.status {
                key.inactive = status == Status::Inactive;
            }
            if let Some(metadata) = body.metadata {
                key.metadata = metadata;
            }
            key.allowed_ips = body.allowed_ips.unwrap_or(key.allowed_ips);
            key.rate_limit_rpm = body.rate_limit_rpm.unwrap_or(key.rate_limit_rpm);
            key.updated_at = now;
            tx.update(&key)?;
            exchange.commit(tx, &Answer::ok(&key.show(now))?)
        })
        .await?;
    app.identities.forget(org);
    Ok(answer)
}

/// The key as it is now, when the caller may change it.
fn changeable(tx: &Tx<'_>, caller: &Caller, id: Uuid) -> ApiResult<ApiKey> {
    let key = tx.get(caller.org, id)?.ok_or_else(|| ApiError::not_found("api_key", id))?;
    mint::may_change(tx, caller, &key)?;
    Ok(key)
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    key: Scoped<ApiKey>,
) -> ApiResult<CommittedAnswer> {
    let (org, id) = (caller.org, key.id);
    let now = app.clock.now(org);
    let of_app = app.clone();
    let answer = app
        .store
        .write(move |tx| {
            mint::not_a_token(&caller)?;
            let key = changeable(tx, &caller, id)?;
            mint::retire(tx, &of_app, &key, now)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    if !defect!(RevokedKeyLivesOn) {
        app.identities.forget(org);
    }
    Ok(answer)
}

async fn rotate(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    key: Scoped<ApiKey>,
    _: Input<Nothing>,
) -> ApiResult<CommittedAnswer> {
    let (org, id) = (caller.org, key.id);
    let now = app.clock.now(org);
    let secret = mint::secret(key.key_type)?;
    let of_app = app.clone();
    let answer = app
        .store
        .write(move |tx| {
            let mut key = changeable(tx, &caller, id)?;
            mint::retire_secret(tx, &of_app, &key, now)?;
            key.set_secret(&secret);
            key.updated_at = now;
            tx.update(&key)?;
            exchange.commit(tx, &Answer::ok(&with_secret(&key, &secret, now))?)
        })
        .await?;
    if !defect!(RotatedKeyLivesOn) {
        app.identities.forget(org);
    }
    Ok(answer)
}
