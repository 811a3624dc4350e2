//! The record of connections.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::lists::{Reader, asked};
use crate::api::platform::audit::moment;
use crate::api::platform::events::feed::Feed;
use crate::api::platform::events::frames::connection;
use crate::app::App;
use crate::clock::{Timestamp, duration};
use crate::http::pagination::Window;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Caller, Params};
use crate::store::outbox::{Class, PASSING_IN_ALL};

/// The filters of every client.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    resource_type: Option<String>,
    resource_id: Option<String>,
    host: Option<String>,
    action: Option<String>,
    effect: Option<String>,
    since: Option<String>,
    until: Option<String>,
    external_user_id: Option<String>,
    external_workspace_id: Option<String>,
    group_by: Option<String>,
}

impl Query {
    /// The connections that it names.
    pub(super) async fn feed(&self, app: &App, caller: &Caller) -> ApiResult<Feed> {
        let sandbox =
            asked(app, caller, self.resource_type.as_deref(), self.resource_id.as_deref()).await?;
        let now = app.clock.now(caller.org);
        let fields = [
            ("$.host", &self.host),
            ("$.action", &self.action),
            ("$.effect", &self.effect),
            ("$.external_user_id", &self.external_user_id),
            ("$.external_workspace_id", &self.external_workspace_id),
        ];
        Ok(Feed {
            org: caller.org,
            workspace: caller.bound_workspace,
            subject: sandbox.map(|sandbox| sandbox.id),
            subject_kind: self.resource_type.clone(),
            class: Some(Class::Egress),
            fields: fields
                .into_iter()
                .filter_map(|(path, text)| Some((path, text.clone()?)))
                .collect(),
            since: self.since.as_deref().map(|text| when("since", text, now)).transpose()?,
            until: self.until.as_deref().map(|text| when("until", text, now)).transpose()?,
            ..Feed::default()
        })
    }
}

/// A time, or how long ago: `7d`.
fn when(name: &str, text: &str, now: Timestamp) -> ApiResult<Timestamp> {
    match duration(text) {
        Some(ago) => Ok(now.plus_seconds(-i64::try_from(ago.as_secs()).unwrap_or(i64::MAX))),
        None => moment(name, text),
    }
}

/// The newest first.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    reader: Reader,
    window: Window<50, 200>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    app.recorder.flush(&app).await;
    let feed = query.feed(&app, &caller).await?;
    match query.group_by.as_deref() {
        None => {}
        Some("host") => return by_host(&app, feed, reader).await,
        Some(_) => return Err(ApiError::parameter("group_by", "must be host")),
    }
    let (before, limit) = (window.cursor, window.limit);
    let mut events = app
        .store
        .read(move |view| view.feed_tail(&feed, before, limit + 1))
        .await
        .map_err(ApiError::from)?;
    events.reverse();
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next = events.last().filter(|_| more).map(|last| last.event.seq.to_string());
    Ok(reader.list("events", events.iter().map(connection).collect(), next))
}

/// How many went where, the most first (MCP).
async fn by_host(app: &App, feed: Feed, reader: Reader) -> ApiResult<Answer> {
    let events = app
        .store
        .read(move |view| view.feed_tail(&feed, None, PASSING_IN_ALL))
        .await
        .map_err(ApiError::from)?;
    let mut hosts: Vec<(String, u64)> = Vec::new();
    for recorded in &events {
        let host = recorded.event.data.get("host").and_then(Value::as_str).unwrap_or_default();
        match hosts.iter_mut().find(|(known, _)| known == host) {
            Some((_, count)) => *count += 1,
            None => hosts.push((host.to_owned(), 1)),
        }
    }
    hosts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let shown = hosts.iter().map(|(host, count)| json!({ "host": host, "count": count })).collect();
    Ok(reader.list("events", shown, None))
}

pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    path: PathValues,
) -> ApiResult<Answer> {
    let missing = || ApiError::not_found("egress_event", path.at(0));
    let id = Uuid::parse_str(path.at(0)).map_err(|_| missing())?;
    app.recorder.flush(&app).await;
    let org = caller.org;
    let found = app
        .store
        .read(move |view| view.event(org, id, Class::Egress))
        .await
        .map_err(ApiError::from)?;
    let found = found.filter(|found| {
        caller.bound_workspace.is_none() || found.event.workspace == caller.bound_workspace
    });
    Answer::ok(&connection(&found.ok_or_else(missing)?))
}
