//! `/quotas/external/{external_user_id}` (miosa-python 2.19, miosa-go 2.0): the quotas of an end user.
//!
//! They are the `quotas` section of that user's policy: two names for one thing, so that neither can contradict the other.

use axum::extract::State;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::limits::{Usage, Whose};
use super::policies::{Policy, Tier, TierPolicy, field, may_manage, may_read, user_of};
use crate::app::App;
use crate::http::answer::CommittedAnswer;
use crate::http::exchange::ExchangeRef;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiResult, Caller, Input, Route};
use crate::store::View;

const SECTION: &str = "quotas";

/// Every route of the family. `repeatable`: each change is one transaction with its answer.
pub fn routes() -> Vec<Route> {
    let path = "/quotas/external/{id}";
    [
        Route::get(path, get),
        Route::put(path, put).scope("projects:write"),
        Route::delete(path, delete).scope("projects:write"),
    ]
    .into_iter()
    .map(|route| route.family("usage").repeatable())
    .collect()
}

/// Limits and use; the limits once more beside, for clients that look for them there (miosa-python 2.19).
fn show(view: &View<'_>, org: Uuid, user: &str, policy: &Policy) -> ApiResult<Value> {
    let usage = Usage::of(view, org, &Whose::User(user.to_owned()))?;
    let mut limits = Map::new();
    let mut enforcement = Map::new();
    for field in field::of(SECTION) {
        limits.insert(field.name.into(), policy.get(field).cloned().unwrap_or_default());
        enforcement.insert(field.name.into(), field.effect.said().unwrap_or("enforced").into());
    }
    let mut shown = limits.clone();
    shown.extend([
        ("external_user_id".to_owned(), json!(user)),
        ("limits".to_owned(), Value::Object(limits)),
        (
            "usage".to_owned(),
            json!({
                "sandboxes": usage.sandboxes,
                "total_sandboxes": usage.sandboxes,
                "concurrent": usage.running,
                "storage_bytes": usage.bytes,
                "credit_cents": null,
            }),
        ),
        ("current_sandboxes".to_owned(), json!(usage.sandboxes)),
        ("enforcement".to_owned(), Value::Object(enforcement)),
    ]);
    Ok(Value::Object(shown))
}

async fn get(State(app): State<App>, caller: Caller, path: PathValues) -> ApiResult<Answer> {
    let user = user_of(&path)?;
    may_read(&caller, &user)?;
    let shown = app
        .store
        .read(move |view| {
            let policy = TierPolicy::read(view, caller.org, &Tier::User(user.clone()))?;
            show(view, caller.org, &user, &policy)
        })
        .await?;
    Answer::ok(&shown)
}

async fn put(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
    Input(change): Input<Map<String, Value>>,
) -> ApiResult<CommittedAnswer> {
    let user = user_of(&path)?;
    let tier = Tier::User(user.clone());
    may_manage(&caller, &tier)?;
    let now = app.clock.now(caller.org);
    app.store
        .write(move |tx| {
            let mut policy = TierPolicy::read(tx, caller.org, &tier)?;
            policy.merge_section(SECTION, &change)?;
            let answer = Answer::ok(&show(tx, caller.org, &user, &policy)?)?;
            TierPolicy::write(tx, caller.org, tier, policy, now)?;
            exchange.commit(tx, &answer)
        })
        .await
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    exchange: ExchangeRef,
    path: PathValues,
) -> ApiResult<CommittedAnswer> {
    let tier = Tier::User(user_of(&path)?);
    may_manage(&caller, &tier)?;
    let now = app.clock.now(caller.org);
    app.store
        .write(move |tx| {
            let mut policy = TierPolicy::read(tx, caller.org, &tier)?;
            policy.clear_section(SECTION);
            TierPolicy::write(tx, caller.org, tier, policy, now)?;
            exchange.commit(tx, &Answer::Empty)
        })
        .await
}
