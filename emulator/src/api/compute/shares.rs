//! Tokens for visitors: who has one sees a sandbox's previews without an account (`api-reference/preview-tokens`,
//! `sandbox-shares`).
//!
//! A preview token (`mp_…`, query `mt`) lives a day at most and may let its visitor act; a share (`ms_…`, query `ms`) only
//! lets look, is listed and can be revoked. Of both only a fingerprint is kept. What they open, and what `read` means there,
//! is the proxy's.

pub mod record;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::previews;
use super::sandboxes::Sandbox;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::validation::present;
use crate::http::{Answer, ApiError, ApiResult, Caller, Input, Pages, Route, Scoped, codes};
use crate::ids;
use crate::proxy::address::ClientHost;
use crate::store::Filter;
pub use record::{Kind, Scope, Visitor};

/// The longest life of a preview token (`api-reference/preview-tokens`).
const LONGEST_TOKEN: i64 = 86_400;
/// The longest life of a share that has an end: as long as any preview.
const LONGEST_SHARE: i64 = 30 * 24 * 3600;
/// Seconds that either lives unless asked otherwise.
const USUAL: i64 = 3600;
/// How many that are over one turn removes.
const TURN: u32 = 256;

/// The routes. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    let write = |route: Route| route.family("previews").scope("previews:write").repeatable();
    vec![
        write(Route::post("/sandboxes/{id}/preview-token", token)),
        write(Route::post("/sandboxes/{id}/shares", create)),
        Route::get("/sandboxes/{id}/shares", list).family("previews").scope("previews:read"),
        write(Route::delete("/sandboxes/{id}/shares/{share_id}", revoke)),
    ]
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::option_option)] // absent is an hour, null is no end
struct Wish {
    #[serde(deserialize_with = "present")]
    expires_in: Option<Option<i64>>,
    scope: Option<String>,
}

impl Wish {
    fn scope(&self, allowed: &[Scope]) -> ApiResult<Scope> {
        let said = self.scope.as_deref().unwrap_or("read");
        allowed.iter().copied().find(|scope| scope.as_str() == said).ok_or_else(|| {
            let words: Vec<&str> = allowed.iter().map(|scope| scope.as_str()).collect();
            ApiError::new(codes::invalid_scope, format!("scope: must be {}.", words.join(" or ")))
                .details(json!([{ "field": "scope", "message": "not a scope of this token" }]))
        })
    }
}

fn within(seconds: i64, longest: i64) -> ApiResult<i64> {
    if (1..=longest).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(ApiError::field("expires_in", format!("must be 1 to {longest} seconds")))
    }
}

/// `POST …/preview-token`: 200 (`api-reference/preview-tokens`).
async fn token(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    Input(wish): Input<Wish>,
) -> ApiResult<CommittedAnswer> {
    let scope = wish.scope(&[Scope::Read, Scope::Interact])?;
    let seconds = within(wish.expires_in.flatten().unwrap_or(USUAL), LONGEST_TOKEN)?;
    let minted = mint(&app, &caller, &host, &sandbox, (Kind::Token, scope, Some(seconds))).await?;
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            tx.insert(&minted.visitor)?;
            exchange.commit(
                tx,
                &Answer::ok(&json!({
                    "token": minted.token,
                    "url": minted.url,
                    "expires_at": minted.visitor.expires_at,
                    "scope": scope,
                }))?,
            )
        })
        .await
}

/// `POST …/shares`: 201 (`sandbox-shares`).
async fn create(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    ClientHost(host): ClientHost,
    sandbox: Scoped<Sandbox>,
    Input(wish): Input<Wish>,
) -> ApiResult<CommittedAnswer> {
    let scope = wish.scope(&[Scope::Read])?;
    let seconds = wish.expires_in.unwrap_or(Some(USUAL));
    let seconds = seconds.map(|seconds| within(seconds, LONGEST_SHARE)).transpose()?;
    let minted = mint(&app, &caller, &host, &sandbox, (Kind::Share, scope, seconds)).await?;
    let committed = app
        .store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            tx.insert(&minted.visitor)?;
            let mut answer = Answer::ok(&show(&minted.visitor, Some(&minted.url)))?;
            if let Answer::One { status, .. } = &mut answer {
                *status = StatusCode::CREATED;
            }
            exchange.commit(tx, &answer)
        })
        .await?;
    app.due.notify_one();
    Ok(committed)
}

struct Minted {
    visitor: Visitor,
    token: String,
    /// With the token in it.
    url: String,
}

async fn mint(
    app: &App,
    caller: &Caller,
    host: &str,
    sandbox: &Sandbox,
    (kind, scope, seconds): (Kind, Scope, Option<i64>),
) -> ApiResult<Minted> {
    let url = previews::main_url(app, caller, host, sandbox).await?;
    let secret = ids::secret().map_err(|error| ApiError::internal(error.to_string()))?;
    let token = format!("{}{secret}", kind.prefix());
    let now = app.clock.now(sandbox.org);
    let visitor = Visitor {
        id: app.ids.next(),
        org: sandbox.org,
        owner: sandbox.owner.clone(),
        sandbox_id: sandbox.id,
        kind,
        scope,
        fingerprint: ids::fingerprint(&token),
        expires_at: seconds.map(|seconds| now.plus_seconds(seconds)),
        created_at: now,
    };
    Ok(Minted { visitor, url: format!("{url}?{}={token}", kind.parameter()), token })
}

/// `share_url` is told once: of the token in it only a fingerprint is kept.
fn show(share: &Visitor, url: Option<&str>) -> Value {
    json!({
        "share_id": share.id,
        "id": share.id,
        "sandbox_id": share.sandbox_id,
        "share_url": url,
        "expires_at": share.expires_at,
        "scope": share.scope,
        "created_at": share.created_at,
    })
}

/// `GET …/shares`: those that still open something.
async fn list(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    pages: Pages,
) -> ApiResult<Answer> {
    // Ahead of the lifecycle, so that none is listed that is over.
    expire_due(&app, sandbox.org).await?;
    let filter = Filter {
        org: sandbox.org,
        parent: Some(sandbox.id),
        states: vec![Kind::Share.as_str().to_owned()],
        ..Filter::default()
    };
    let listing = pages.read::<Visitor>(&app.store, filter, &exchange).await?;
    Answer::list(listing, |share| show(&share, None))
}

/// `DELETE …/shares/{share_id}`: its visitors are refused from then on.
async fn revoke(
    State(app): State<App>,
    exchange: ExchangeRef,
    sandbox: Scoped<Sandbox>,
    share: Scoped<Visitor, 1>,
) -> ApiResult<CommittedAnswer> {
    let (org, id) = (share.org, share.id);
    let missing = move || ApiError::not_found("share", id);
    if share.sandbox_id != sandbox.id || share.kind != Kind::Share {
        return Err(missing());
    }
    app.store
        .write(move |tx| -> ApiResult<CommittedAnswer> {
            if !tx.remove::<Visitor>(org, id)? {
                return Err(missing());
            }
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}

/// What a token lets its visitor do with the previews of a sandbox; `None` when it opens nothing (any more).
///
/// # Errors
/// When the store fails.
pub async fn scope_of(
    app: &App,
    token: &str,
    sandbox: Uuid,
    now: Timestamp,
) -> ApiResult<Option<Scope>> {
    let fingerprint = ids::fingerprint(token);
    let visitor = app
        .store
        .read(move |view| view.by_external_any::<Visitor>(&fingerprint).map_err(ApiError::from))
        .await?;
    let opens = |visitor: &Visitor| {
        visitor.sandbox_id == sandbox && visitor.expires_at.is_none_or(|at| at > now)
    };
    Ok(visitor.filter(opens).map(|visitor| visitor.scope))
}

/// Forgets the organization's tokens that are over. For the lifecycle.
///
/// # Errors
/// When the store fails.
pub async fn expire_due(app: &App, org: Uuid) -> ApiResult<()> {
    let now = app.clock.now(org);
    app.store
        .write(move |tx| -> ApiResult<()> {
            for visitor in tx.due::<Visitor>(org, now, TURN)? {
                tx.remove::<Visitor>(org, visitor.id)?;
            }
            Ok(())
        })
        .await
}
