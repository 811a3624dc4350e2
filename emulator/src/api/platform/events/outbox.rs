//! `GET /platform-events` (miosa-go 2.0): the same events as a list, oldest first, for who comes by now and then.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::feed::Feed;
use super::resume::globs;
use crate::app::App;
use crate::http::pagination::Window;
use crate::http::{Answer, ApiError, ApiResult, Caller, Params, validation};
use crate::lifecycle::retention;
use crate::store::outbox::{Class, LASTING, Recorded};

#[derive(Debug, Deserialize)]
pub(super) struct Query {
    project_id: Option<Uuid>,
    workspace_id: Option<Uuid>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject_type: Option<String>,
    subject_id: Option<Uuid>,
    #[serde(default, deserialize_with = "validation::numeric")]
    after_seq: Option<u64>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    window: Window<50, 200>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let feed = Feed {
        org: caller.org,
        workspace: caller.bound_workspace.or(query.workspace_id),
        subject: query.subject_id,
        subject_kind: query.subject_type,
        fields: query.project_id.iter().map(|id| ("$.project_id", id.to_string())).collect(),
        types: globs("type", query.kind.as_deref().unwrap_or_default())?,
        class: Some(Class::Lasting),
        ..Feed::default()
    };
    // A bound credential that asks for another workspace finds nothing there.
    let elsewhere = caller
        .bound_workspace
        .is_some_and(|bound| query.workspace_id.is_some_and(|asked| asked != bound));
    let after = query.after_seq.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let after = after.or(window.cursor).unwrap_or(0);
    let size = window.limit;
    let mut events = if elsewhere {
        Vec::new()
    } else {
        app.store
            .read(move |view| view.feed(&feed, after, size + 1))
            .await
            .map_err(ApiError::from)?
            .events
    };
    let more = events.len() > size as usize;
    events.truncate(size as usize);
    let next = events.last().filter(|_| more).map(|last| last.event.seq.to_string());
    let shown: Vec<Value> = events.iter().map(show).collect();
    Ok(Answer::Bare {
        status: http::StatusCode::OK,
        value: json!({ "data": shown, "events": shown, "next_cursor": next }),
    })
}

fn show(recorded: &Recorded) -> Value {
    let event = &recorded.event;
    json!({
        "seq": event.seq,
        "id": format!("evt_{}", recorded.ulid()),
        "type": event.kind,
        "subject_type": event.subject_kind,
        "subject_id": event.subject_id,
        "tenant_id": event.org,
        "workspace_id": event.workspace,
        "project_id": event.data.get("project_id"),
        "occurred_at": event.at,
        "data": event.data,
    })
}

/// `GET /platform-events/outbox`: what is kept. Nothing waits in it: every reader keeps its own place.
pub(super) async fn health(State(app): State<App>, caller: Caller) -> ApiResult<Answer> {
    let org = caller.org;
    let ends =
        app.store.read(move |view| view.lasting_events(org)).await.map_err(ApiError::from)?;
    Answer::ok(&json!({
        "status": "ok",
        "events": ends.count,
        "pending": 0,
        "oldest_seq": ends.oldest.map(|(seq, _)| seq),
        "oldest_at": ends.oldest.map(|(_, at)| at),
        "newest_seq": ends.newest.map(|(seq, _)| seq),
        "newest_at": ends.newest.map(|(_, at)| at),
        "max_events": LASTING,
        "max_age_seconds": retention::LASTING_SECONDS,
    }))
}
