//! `GET /_emulator/requests`: the journal, newest first, or live as server-sent events.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::Operator;
use crate::app::App;
use crate::http::journal::Entry;
use crate::http::validation::numeric;
use crate::http::{Answer, ApiResult, Params, sse};

/// Which exchanges.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Query {
    /// Of every organization.
    all: Option<String>,
    /// With this status, or `4xx`, `5xx`.
    status: Option<String>,
    /// With this method.
    method: Option<String>,
    /// Whose path contains this.
    path: Option<String>,
    /// Of this family.
    family: Option<String>,
    /// With this flag (`items_left_out`, `replayed`, …).
    flag: Option<String>,
    /// `true`: only those with fields that nobody read.
    unread: Option<String>,
    /// The one with this request id.
    request_id: Option<String>,
    /// After this `seq`.
    #[serde(default, deserialize_with = "numeric")]
    after: Option<u64>,
    /// At the most so many: 100 unless said, 1000 at the most.
    #[serde(default, deserialize_with = "numeric")]
    most: Option<usize>,
}

impl Query {
    fn passes(&self, entry: &Entry, org: Option<Uuid>) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
        };
        let status = entry.status.to_string();
        org.is_none_or(|org| entry.organization_id.is_none_or(|theirs| theirs == org))
            && self.status.as_deref().is_none_or(|wanted| match wanted.strip_suffix("xx") {
                Some(class) => status.starts_with(class),
                None => status == wanted,
            })
            && is(&self.method, &entry.method)
            && self.path.as_deref().is_none_or(|part| entry.target.contains(part))
            && is(&self.family, entry.family.unwrap_or_default())
            && self
                .flag
                .as_ref()
                .is_none_or(|flag| entry.flags.iter().any(|known| known.starts_with(flag.as_str())))
            && (self.unread.as_deref() != Some("true") || !entry.unread_fields.is_empty())
            && is(&self.request_id, &entry.request_id)
            && self.after.is_none_or(|after| entry.seq > after)
    }
}

pub(super) async fn get(
    State(app): State<App>,
    operator: Operator,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> ApiResult<Response> {
    let all = query.all.as_deref() == Some("true");
    if all {
        operator.require_everything()?;
    }
    let org = (!all).then_some(operator.org);
    let live = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    if live {
        return Ok(stream(&app, query, org));
    }
    let entries =
        app.journal.newest(query.most.unwrap_or(100).min(1000), |entry| query.passes(entry, org));
    let count = entries.len();
    Ok(Answer::Bare { status: StatusCode::OK, value: json!({ "data": entries, "count": count }) }
        .into_response())
}

fn stream(app: &App, query: Query, org: Option<Uuid>) -> Response {
    let following = (app.journal.live(), app.stopping.clone(), query);
    sse::response(futures_util::stream::unfold(
        following,
        move |(mut live, stopping, query)| async move {
            loop {
                let next = tokio::select! {
                    () = stopping.cancelled() => return None,
                    next = live.recv() => next,
                };
                let event = match next {
                    Ok(entry) if query.passes(&entry, org) => sse::event("request", &json!(entry)),
                    Ok(_) => continue,
                    // A slow reader is told what it missed, and goes on.
                    Err(RecvError::Lagged(missed)) => {
                        sse::event("missed", &json!({ "missed": missed }))
                    }
                    Err(RecvError::Closed) => return None,
                };
                return Some((Ok::<_, std::convert::Infallible>(event), (live, stopping, query)));
            }
        },
    ))
}
