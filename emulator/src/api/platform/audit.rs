//! The audit log (`GET /audit-log`) and its shorter sister `GET /activity`: who did what, and how it ended.
//!
//! What is recorded, and that nothing is left out, is `http/deeds.rs`; here it is read.

use axum::extract::FromRequestParts;
use axum::extract::State;
use chrono::DateTime;
use http::header::USER_AGENT;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::api_keys::ApiKey;
use super::events::resume::globs;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{Answer, ApiError, ApiResult, Caller, Pages, Params, Route, Scoped};
use crate::store::Paging;
use crate::store::audit::{Deed, Deeds, DeedsPart};

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/audit-log", list).family("audit").scope("audit:read"),
        Route::get("/activity", activity).family("activity").scope("audit:read"),
        Route::get("/api-keys/{id}/events", of_key).family("api_keys"),
    ]
}

/// The filters of every client: miosa-python 2.19 and the command line say `type`, `after`, `resource_type`; miosa-go 2.0
/// `action`, `since`, `resource`.
#[derive(Debug, Default, Deserialize)]
struct Query {
    #[serde(rename = "type")]
    kind: Option<String>,
    action: Option<String>,
    actor_id: Option<String>,
    resource_type: Option<String>,
    resource: Option<String>,
    resource_id: Option<String>,
    workspace_id: Option<Uuid>,
    after: Option<String>,
    before: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// How items are written for who asks: miosa-go 2.0 reads `resource` as a text, every other client as an object.
#[derive(Debug, Clone, Copy)]
struct Reader {
    go_sdk: bool,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { go_sdk: agent.is_some_and(|agent| agent.starts_with("miosa-go/2")) })
    }
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    pages: Pages,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let (which, paging) = query.read(&caller, pages)?;
    answer(&app, which, paging, "audit_log", |deed| show(deed, reader)).await
}

/// What was done and succeeded (miosa-python 2.19).
async fn activity(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    pages: Pages,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let (which, paging) = query.read(&caller, pages)?;
    let which = Deeds { done: true, ..which };
    answer(&app, which, paging, "activity", |deed| show(deed, reader)).await
}

#[derive(Debug, Default, Deserialize)]
struct Trail {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// What was done with a key and to it, and from where (miosa-python 2.19).
async fn of_key(
    State(app): State<App>,
    key: Scoped<ApiKey>,
    reader: Reader,
    pages: Pages,
    Params(query): Params<Trail>,
) -> ApiResult<Answer> {
    let which = Deeds {
        org: key.org,
        key: Some(key.id),
        actions: globs("type", query.kind.as_deref().unwrap_or_default())?,
        ..Deeds::default()
    };
    answer(&app, which, pages.paging, "events", |deed| show(deed, reader)).await
}

async fn answer(
    app: &App,
    which: Deeds,
    paging: Paging,
    plural: &'static str,
    show: impl Fn(&Deed) -> Value,
) -> ApiResult<Answer> {
    app.store.caught_up().await;
    let read = app.store.read(move |view| view.deeds(&which, paging)).await;
    let DeedsPart { deeds, total, more } = read.map_err(ApiError::from)?;
    let next = deeds.last().filter(|_| more);
    Ok(Answer::List {
        next_cursor: next.map(|last| last.seq.to_string()),
        items: deeds.iter().map(show).collect(),
        plural,
        total,
        page: paging.page(),
        size: paging.size(),
        meta: Map::new(),
    })
}

impl Query {
    fn read(self, caller: &Caller, pages: Pages) -> ApiResult<(Deeds, Paging)> {
        let mut which = Deeds {
            org: caller.org,
            workspace: caller.bound_workspace.or(self.workspace_id),
            actions: globs("type", self.kind.or(self.action).as_deref().unwrap_or_default())?,
            actor: self.actor_id,
            resource_type: self.resource_type.or(self.resource),
            resource_id: self.resource_id,
            since: self.since.map(|text| moment("since", &text)).transpose()?,
            until: self.until.map(|text| moment("until", &text)).transpose()?,
            ..Deeds::default()
        };
        let elsewhere = self.workspace_id.is_some_and(|asked| which.workspace != Some(asked));
        if elsewhere {
            // It is there for nobody who is bound to another.
            which.resource_id = Some(String::new());
        }
        let mut paging = pages.paging;
        // A moment bounds the list; what `next_cursor` said goes on from there.
        if let Some(text) = self.after.filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(before) => paging = Paging::Cursor { before: Some(before), size: paging.size() },
                Err(_) => which.since = Some(moment("after", &text)?),
            }
        }
        if let Some(text) = self.before.filter(|text| !text.is_empty()) {
            which.until = Some(moment("before", &text)?);
        }
        Ok((which, paging))
    }
}

/// An ISO 8601 time of a query.
pub fn moment(name: &str, text: &str) -> ApiResult<Timestamp> {
    DateTime::parse_from_rfc3339(text).map(|moment| Timestamp(moment.timestamp_millis())).map_err(|_| {
        ApiError::parameter(name, "must be an ISO 8601 time such as 2026-05-17T10:00:00Z, or a cursor where the list gave one")
    })
}

fn show(deed: &Deed, reader: Reader) -> Value {
    let facts = &deed.facts;
    let outcome = match facts.status {
        ..=399 => "success",
        401 | 403 => "denied",
        _ => "failure",
    };
    let resource = if reader.go_sdk {
        json!(deed.resource_type)
    } else {
        json!({ "type": deed.resource_type, "id": deed.resource_id })
    };
    json!({
        "id": deed.id,
        "type": deed.action,
        "action": deed.action,
        "status": outcome,
        "actor": {
            "type": facts.actor_type, "id": deed.actor, "user_id": facts.user_id,
            "external_user_id": facts.external_user_id,
        },
        "actor_type": facts.actor_type,
        "actor_id": deed.actor,
        "resource": resource,
        "resource_type": deed.resource_type,
        "resource_id": deed.resource_id.clone().unwrap_or_default(),
        "tenant_id": deed.org,
        "workspace_id": deed.workspace,
        "ip_address": facts.address,
        "metadata": {
            "request_id": facts.request_id, "method": facts.method, "route": facts.route,
            "status_code": facts.status, "code": facts.code,
        },
        "ts": deed.at,
        "created_at": deed.at,
    })
}
