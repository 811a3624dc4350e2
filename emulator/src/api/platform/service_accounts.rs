//! Service accounts: names that keys of programs are kept under (miosa-python 2.19, miosa-cli-go). Owners and admins make
//! them; removing one revokes its keys.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::api_keys::{
    ApiKey, Wanted, administers, bond, check_rules, expiry, issue, retire, saved, with_secret,
};
use super::scopes;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::networks::Network;
use crate::http::validation::present;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, codes, validation,
};
use crate::store::{Filter, Keys, Paging, Resource, StoreError, View};

/// How many keys an account may have; one page reads them all.
const MOST_KEYS: u32 = 100;

/// A service account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceAccount {
    id: Uuid,
    org: Uuid,
    name: String,
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Resource for ServiceAccount {
    const KIND: &'static str = "service_account";
    const PLURAL: &'static str = "service_accounts";

    fn keys(&self) -> Keys<'_> {
        Keys {
            id: self.id,
            org: self.org,
            name: Some(&self.name),
            state: "active",
            ..Keys::default()
        }
    }

    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

impl ServiceAccount {
    fn show(&self, active_keys: usize) -> Value {
        json!({
            "id": self.id,
            "tenant_id": self.org,
            "name": self.name,
            "description": self.description,
            "active_key_count": active_keys,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }
}

fn keys_of(view: &View<'_>, org: Uuid, account: Uuid) -> Result<Vec<ApiKey>, StoreError> {
    let filter = Filter { org, parent: Some(account), ..Filter::default() };
    Ok(view.page::<ApiKey>(&filter, Paging::Number { page: 1, size: MOST_KEYS })?.items)
}

fn active(keys: &[ApiKey], now: Timestamp) -> usize {
    let ended = |key: &&ApiKey| key.inactive || key.expires_at.is_some_and(|at| at <= now);
    keys.iter().filter(|key| !ended(key)).count()
}

/// Every route of the family. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    [
        Route::get("/service-accounts", list),
        Route::post("/service-accounts", create),
        Route::patch("/service-accounts/{id}", update),
        Route::delete("/service-accounts/{id}", delete),
        Route::get("/service-accounts/{id}/keys", list_keys),
        Route::post("/service-accounts/{id}/keys", create_key),
    ]
    .into_iter()
    .map(|route| route.family("api_keys").repeatable())
    .collect()
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    pages: Pages,
) -> ApiResult<Answer> {
    // An account belongs to no workspace, so whoever is bound to one sees none.
    let filter = Filter { org: caller.org, workspace: caller.bound_workspace, ..Filter::default() };
    let listing = pages.read::<ServiceAccount>(&app.store, filter, &exchange).await?;
    let now = app.clock.now(caller.org);
    let ids: Vec<Uuid> = listing.items.iter().map(|account| account.id).collect();
    let counts = app
        .store
        .read(move |view| {
            ids.into_iter()
                .map(|id| Ok(active(&keys_of(view, caller.org, id)?, now)))
                .collect::<ApiResult<Vec<usize>>>()
        })
        .await?;
    let mut counts = counts.into_iter();
    Answer::list(listing, |account| account.show(counts.next().unwrap_or_default()))
}

/// An account to make.
#[derive(Debug, Deserialize)]
struct Create {
    name: String,
    description: Option<String>,
}

fn check(name: Option<&str>, description: Option<&str>) -> ApiResult<()> {
    name.map_or(Ok(()), |name| validation::text("name", name, 1, 255))?;
    description.map_or(Ok(()), |text| validation::text("description", text, 0, 1000))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    check(Some(&body.name), body.description.as_deref())?;
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            administers(tx, &caller)?;
            let account = ServiceAccount {
                id: app.ids.next(),
                org: caller.org,
                name: body.name,
                description: body.description,
                created_at: now,
                updated_at: now,
            };
            tx.insert(&account)?;
            let location = format!("/service-accounts/{}", account.id);
            exchange.commit(tx, &Answer::created(&account.show(0), location)?)
        })
        .await
}

/// What changes. `null` clears.
#[derive(Debug, Deserialize)]
#[allow(clippy::option_option)] // the three cases of a PATCH field
struct Update {
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    account: Scoped<ServiceAccount>,
    Input(body): Input<Update>,
) -> ApiResult<CommittedAnswer> {
    check(body.name.as_deref(), body.description.as_ref().and_then(Option::as_deref))?;
    let now = app.clock.now(caller.org);
    let id = account.id;
    app.store
        .write(move |tx| {
            administers(tx, &caller)?;
            let account = tx
                .modify::<ServiceAccount>(caller.org, id, |account| {
                    account.name = body.name.unwrap_or_else(|| account.name.clone());
                    account.description =
                        body.description.unwrap_or_else(|| account.description.take());
                    account.updated_at = now;
                })?
                .ok_or_else(|| ApiError::not_found("service_account", id))?;
            let keys = active(&keys_of(tx, caller.org, id)?, now);
            exchange.commit(tx, &Answer::ok(&account.show(keys))?)
        })
        .await
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    account: Scoped<ServiceAccount>,
) -> ApiResult<CommittedAnswer> {
    let (org, id) = (caller.org, account.id);
    let now = app.clock.now(org);
    let of_app = app.clone();
    let answer = app
        .store
        .write(move |tx| {
            administers(tx, &caller)?;
            for key in keys_of(tx, org, id)? {
                retire(tx, &of_app, &key, now)?;
            }
            tx.remove::<ServiceAccount>(org, id)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await?;
    app.identities.forget(org);
    Ok(answer)
}

async fn list_keys(
    State(app): State<App>,
    account: Scoped<ServiceAccount>,
    exchange: ExchangeRef,
    pages: Pages,
) -> ApiResult<Answer> {
    let filter = Filter { org: account.org, parent: Some(account.id), ..Filter::default() };
    let now = app.clock.now(account.org);
    let listing = pages.read::<ApiKey>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |key| key.show(now))
}

/// A key to make.
#[derive(Debug, Deserialize)]
struct CreateKey {
    name: String,
    scopes: Option<Vec<String>>,
    preset: Option<String>,
    workspace_id: Option<String>,
    #[serde(default)]
    allowed_ips: Vec<Network>,
    rate_limit_rpm: Option<u32>,
    expires_at: Option<Timestamp>,
    expires_in_days: Option<u32>,
}

async fn create_key(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    account: Scoped<ServiceAccount>,
    Input(body): Input<CreateKey>,
) -> ApiResult<CommittedAnswer> {
    validation::text("name", &body.name, 1, 255)?;
    check_rules(body.rate_limit_rpm, &body.allowed_ips)?;
    let (org, id) = (caller.org, account.id);
    let now = app.clock.now(org);
    let expires_at = expiry(body.expires_at, body.expires_in_days, now)?;
    app.clone()
        .store
        .write(move |tx| {
            administers(tx, &caller)?;
            // It may have been removed since it was loaded; its keys with it.
            tx.get::<ServiceAccount>(org, id)?
                .ok_or_else(|| ApiError::not_found("service_account", id))?;
            if keys_of(tx, org, id)?.len() >= MOST_KEYS as usize {
                return Err(ApiError::new(
                    codes::CONFLICT,
                    format!("A service account has at most {MOST_KEYS} keys."),
                ));
            }
            let asked =
                scopes::expand(body.scopes, body.preset.as_deref(), |name| saved(tx, org, name))?;
            let wanted = Wanted {
                name: body.name,
                scopes: scopes::handed_on(&caller, asked)?,
                workspace_id: bond(tx, &caller, body.workspace_id.as_deref())?,
                service_account_id: Some(id),
                allowed_ips: body.allowed_ips,
                rate_limit_rpm: body.rate_limit_rpm,
                expires_at,
                ..Wanted::default()
            };
            let (key, secret) = issue(tx, &app, org, wanted, now)?;
            let location = format!("/api-keys/{}", key.id);
            exchange.commit(tx, &Answer::created(&with_secret(&key, &secret, now), location)?)
        })
        .await
}
