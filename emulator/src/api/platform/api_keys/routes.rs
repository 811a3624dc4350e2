//! `/api-keys` (`api-reference/authentication`, `platform/api-keys`; miosa-python 2.19, miosa-cli-go).

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::scopes;
use super::record::KeyType;
use super::{ApiKey, mint};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, validation};
use crate::store::{Filter, Tx};

/// The longest that `expires_in_days` may say.
const MOST_DAYS: u32 = 3650;

/// Every route of the family. `repeatable`: each change is one transaction with its answer, so that one without an answer
/// has not happened.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/api-keys", list),
        Route::post("/api-keys", create),
        Route::get("/api-keys/presets", presets),
        Route::get("/api-keys/{id}", get),
        Route::patch("/api-keys/{id}", update),
        Route::delete("/api-keys/{id}", delete),
        Route::post("/api-keys/{id}/rotate", rotate),
    ]
    .into_iter()
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
    metadata: Option<Map<String, Value>>,
}

impl Create {
    fn expiry(&self, now: Timestamp) -> ApiResult<Option<Timestamp>> {
        match (self.expires_at, self.expires_in_days) {
            (Some(_), Some(_)) => {
                Err(ApiError::field("expires_in_days", "say this or expires_at, not both"))
            }
            (Some(at), None) if at <= now => {
                Err(ApiError::field("expires_at", "must be in the future"))
            }
            (at @ Some(_), None) => Ok(at),
            (None, Some(days)) if (1..=MOST_DAYS).contains(&days) => {
                Ok(Some(now.plus_seconds(i64::from(days) * 86_400)))
            }
            (None, Some(_)) => Err(ApiError::field(
                "expires_in_days",
                format!("must be a whole number from 1 to {MOST_DAYS}"),
            )),
            (None, None) => Ok(None),
        }
    }
}

/// The record with its secret: the only answer that carries one.
fn with_secret(key: &ApiKey, secret: &str, now: Timestamp) -> Value {
    let mut shown = key.show(now);
    if let Value::Object(fields) = &mut shown {
        fields.insert("key".into(), secret.into());
        fields.insert("token".into(), secret.into());
    }
    shown
}

/// What is kept as it was said but limits nothing: rates are counted per workspace.
fn flag_rate(exchange: &ExchangeRef, rate: Option<u32>) {
    if rate.is_some() {
        exchange.flag("not_enforced:rate_limit_rpm");
    }
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
    let now = app.clock.now(caller.org);
    let expires_at = body.expiry(now)?;
    let asked = scopes::expand(body.scopes, body.preset.as_deref())?;
    let scopes = scopes::handed_on(&caller, asked)?;
    flag_rate(&exchange, body.rate_limit_rpm);
    let secret = mint::secret(body.key_type)?;
    app.clone()
        .store
        .write(move |tx| {
            mint::may_make(tx, &caller, body.key_type)?;
            let mut key = ApiKey {
                id: app.ids.next(),
                org: caller.org,
                name: body.name,
                key_type: body.key_type,
                purpose: body.purpose.unwrap_or_else(|| "api".into()),
                fingerprint: String::new(),
                prefix: String::new(),
                last_four: String::new(),
                scopes,
                workspace_id: mint::bond(tx, &caller, body.workspace_id.as_deref())?,
                external_user_id: body.external_user_id,
                rate_limit_rpm: body.rate_limit_rpm,
                metadata: body.metadata.unwrap_or_default(),
                expires_at,
                last_used_at: None,
                created_at: now,
                updated_at: now,
            };
            key.set_secret(&secret);
            tx.insert(&key)?;
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

async fn presets(_: Caller) -> Answer {
    Answer::whole(scopes::presets(), "presets")
}

async fn get(State(app): State<App>, key: Scoped<ApiKey>) -> ApiResult<Answer> {
    Answer::ok(&key.show(app.clock.now(key.org)))
}

/// What changes.
#[derive(Debug, Deserialize)]
struct Update {
    name: Option<String>,
    rate_limit_rpm: Option<u32>,
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
    flag_rate(&exchange, body.rate_limit_rpm);
    let now = app.clock.now(caller.org);
    let id = key.id;
    app.store
        .write(move |tx| {
            let mut key = changeable(tx, &caller, id)?;
            if let Some(name) = body.name {
                key.name = name;
            }
            if let Some(metadata) = body.metadata {
                key.metadata = metadata;
            }
            key.rate_limit_rpm = body.rate_limit_rpm.or(key.rate_limit_rpm);
            key.updated_at = now;
            tx.update(&key)?;
            exchange.commit(tx, &Answer::ok(&key.show(now))?)
        })
        .await
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
    app.identities.forget(org);
    Ok(answer)
}

async fn rotate(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    key: Scoped<ApiKey>,
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
    app.identities.forget(org);
    Ok(answer)
}
