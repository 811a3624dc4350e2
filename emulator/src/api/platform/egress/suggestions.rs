//! Hosts that were asked for and that no rule allows yet: what a policy would need before it is enforced.

use std::collections::BTreeMap;

use axum::extract::State;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Query;
use super::lists::{Reader, every};
use super::pattern::{Host, Pattern};
use super::policy::Effect;
use super::rule::Rule;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::{Answer, ApiError, ApiResult, Caller, Params};
use crate::store::outbox::PASSING_IN_ALL;

/// How many are suggested.
const MOST: usize = 100;

/// One host of one sandbox.
struct Asked {
    count: u64,
    stopped: u64,
    last: Timestamp,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    app.recorder.flush(&app).await;
    let mut feed = query.feed(&app, &caller).await?;
    feed.fields.push(("$.effect", "deny".to_owned()));
    let org = caller.org;
    let (events, rules) = app
        .store
        .read(move |view| {
            Ok((view.feed_tail(&feed, None, PASSING_IN_ALL)?, every::<Rule>(view, org, None)?))
        })
        .await
        .map_err(|error: crate::store::StoreError| ApiError::from(error))?;
    let named = |sandbox: Uuid, host: &Host| {
        rules.iter().any(|rule| {
            rule.sandbox.is_none_or(|id| id == sandbox)
                && Pattern::parse(&rule.host).is_ok_and(|pattern| pattern.names(host))
        })
    };
    let mut asked: BTreeMap<(Uuid, String), Asked> = BTreeMap::new();
    for recorded in events {
        let event = recorded.event;
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
        // Where nobody is let, no rule helps.
        if text("reason") == "protected" {
            continue;
        }
        let key = (event.subject_id, text("host").to_owned());
        let known = asked.entry(key).or_insert(Asked { count: 0, stopped: 0, last: event.at });
        known.count += 1;
        known.stopped += u64::from(text("action") == "denied");
        known.last = known.last.max(event.at);
    }
    // One that is denied by name was decided upon.
    let mut open: Vec<_> = asked
        .into_iter()
        .filter(|((sandbox, host), _)| !named(*sandbox, &Host::of(host).0))
        .collect();
    open.sort_by_key(|(_, asked)| std::cmp::Reverse(asked.count));
    open.truncate(MOST);
    let shown = open
        .into_iter()
        .map(|((sandbox, host), asked)| {
            json!({
                "host": host, "effect": Effect::Allow, "methods": [], "path_glob": null,
                "resource_type": "sandbox", "resource_id": sandbox,
                "status": "pending",
                "denied_count": asked.count, "blocked_count": asked.stopped,
                "last_seen_at": asked.last,
                "reason": format!("Asked for {} times and allowed by no rule.", asked.count),
            })
        })
        .collect();
    Ok(reader.list("suggestions", shown, None))
}
