//! Keys for one end user each (`POST /api-keys/scoped`; miosa-python 2.19, miosa-cli-go): they see the workspace that
//! they are bound to, do what their scopes say, and make no keys.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::scopes;
use super::mint::{self, Wanted};
use super::routes::with_secret;
use super::{ApiKey, presets};
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::route::Access;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Route, validation};

pub(super) fn route() -> Route {
    Route::post("/api-keys/scoped", create).access(Access::AuthEndpoint)
}

/// A key to make.
#[derive(Debug, Deserialize)]
struct Create {
    external_user_id: String,
    scopes: Vec<String>,
    label: Option<String>,
    name: Option<String>,
    workspace_id: Option<String>,
    expires_at: Option<Timestamp>,
    expires_in_days: Option<u32>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    validation::text("external_user_id", &body.external_user_id, 1, 255)?;
    let name = match (body.label, body.name) {
        (Some(label), Some(name)) if label != name => {
            return Err(ApiError::field("name", "contradicts label"));
        }
        (label, name) => label.or(name).unwrap_or_else(|| body.external_user_id.clone()),
    };
    validation::text("label", &name, 1, 255)?;
    let now = app.clock.now(caller.org);
    let expires_at = mint::expiry(body.expires_at, body.expires_in_days, now)?;
    app.clone()
        .store
        .write(move |tx| {
            mint::administers(tx, &caller)?;
            let saved = |name: &str| presets::saved(tx, caller.org, name);
            let asked = scopes::expand(Some(body.scopes), None, saved)?;
            let bound = mint::bond(tx, &caller, body.workspace_id.as_deref())?;
            let wanted = Wanted {
                name,
                scopes: scopes::handed_on(&caller, asked)?,
                // An end user is never let into all workspaces.
                workspace_id: Some(bound.unwrap_or(caller.workspace)),
                external_user_id: Some(body.external_user_id),
                expires_at,
                ..Wanted::default()
            };
            let (key, secret) = mint::issue(tx, &app, caller.org, wanted, now)?;
            let location = format!("/api-keys/{}", key.id);
            exchange.commit(tx, &Answer::created(&with_secret(&key, &secret, now), location)?)
        })
        .await
}

/// Whom a key was made for and what it reaches (miosa-python 2.19: `end_user` of one key).
pub(super) fn end_user(key: &ApiKey) -> Option<Value> {
    let external = key.external_user_id.as_ref()?;
    Some(json!({
        "external_user_id": external,
        "workspace_id": key.workspace_id,
        "scopes": key.scopes,
        "unrestricted": key.scopes.is_none(),
    }))
}
