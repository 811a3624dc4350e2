//! `/tokens/scoped`.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::super::api_keys::{bond, not_a_token, saved};
use super::super::{jwt, scopes};
use super::ScopedToken;
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::route::Access;
use crate::http::{
    Answer, ApiError, ApiResult, Caller, Input, Pages, Params, Route, Scoped, validation,
};
use crate::store::{Filter, Paging};

/// How long a token may live, and does when nothing is said, in seconds.
const LONGEST: u32 = 86_400;
const USUAL: u32 = 3_600;

/// Every route of the family. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    [
        Route::post("/tokens/scoped", create).access(Access::AuthEndpoint),
        Route::get("/tokens/scoped", list),
        Route::delete("/tokens/scoped/{id}", delete),
    ]
    .into_iter()
    .map(|route| route.family("api_keys").repeatable())
    .collect()
}

/// A token to sign.
#[derive(Debug, Deserialize)]
struct Create {
    user_id: String,
    workspace_id: Option<String>,
    scopes: Option<Vec<String>>,
    expires_in_seconds: Option<u32>,
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    Input(body): Input<Create>,
) -> ApiResult<CommittedAnswer> {
    validation::text("user_id", &body.user_id, 1, 255)?;
    let seconds = body.expires_in_seconds.unwrap_or(USUAL);
    if !(1..=LONGEST).contains(&seconds) {
        return Err(ApiError::field(
            "expires_in_seconds",
            format!("must be a whole number from 1 to {LONGEST}"),
        ));
    }
    not_a_token(&caller)?;
    let now = app.clock.now(caller.org);
    app.clone()
        .store
        .write(move |tx| {
            let asked = scopes::expand(body.scopes, None, |name| saved(tx, caller.org, name))?;
            let scopes = scopes::handed_on(&caller, asked)?.unwrap_or_else(|| vec!["*".into()]);
            let workspace = bond(tx, &caller, body.workspace_id.as_deref())?;
            let token = ScopedToken {
                id: app.ids.next(),
                org: caller.org,
                workspace_id: workspace.unwrap_or(caller.workspace),
                user_id: body.user_id,
                scopes,
                expires_at: now.plus_seconds(i64::from(seconds)),
                revoked: false,
                created_at: now,
                updated_at: now,
            };
            let key = tx
                .setting(jwt::SETTING)?
                .ok_or_else(|| ApiError::internal("there is no signing key"))?;
            let signed = jwt::sign(
                &key,
                &jwt::Claims {
                    jti: token.id,
                    org: token.org,
                    sub: token.user_id.clone(),
                    workspace_id: token.workspace_id,
                    scopes: token.scopes.clone(),
                    iat: now.0.div_euclid(1000),
                    exp: token.expires_at.0.div_euclid(1000),
                },
            )?;
            tx.insert(&token)?;
            let shown = json!({
                "id": token.id,
                "token": signed,
                "expires_at": token.expires_at,
                "scopes": token.scopes,
                "user_id": token.user_id,
                "workspace_id": token.workspace_id,
            });
            let location = format!("/tokens/scoped/{}", token.id);
            exchange.commit(tx, &Answer::created(&shown, location)?)
        })
        .await
}

/// Where to go on (miosa-cli-go calls the cursor `before`).
#[derive(Debug, Deserialize)]
struct Query {
    before: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    mut pages: Pages,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    if let Some(before) = query.before {
        let before = before
            .parse()
            .ok()
            .filter(|seq| *seq > 0)
            .ok_or_else(|| ApiError::parameter("before", "take it from `next_cursor`"))?;
        pages.paging = Paging::Cursor { before: Some(before), size: pages.paging.size() };
    }
    let filter = Filter {
        org: caller.org,
        workspace: caller.bound_workspace,
        states: vec!["active".into()],
        ..Filter::default()
    };
    let now = app.clock.now(caller.org);
    let listing = pages.read::<ScopedToken>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |token| token.show(now))
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    token: Scoped<ScopedToken>,
) -> ApiResult<CommittedAnswer> {
    not_a_token(&caller)?;
    let now = app.clock.now(caller.org);
    let (org, id) = (caller.org, token.id);
    let answer = app
        .store
        .write(move |tx| {
            tx.modify::<ScopedToken>(org, id, |token| {
                token.revoked = true;
                token.updated_at = now;
            })?
            .ok_or_else(|| ApiError::not_found("token", id))?;
            exchange.commit(tx, &Answer::ok(&json!({ "revoked": true }))?)
        })
        .await?;
    app.identities.forget(org);
    Ok(answer)
}
