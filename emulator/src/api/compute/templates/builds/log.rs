//! The log of a build, read at once or followed.

use std::collections::VecDeque;

use axum::extract::State as Extracted;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;
use uuid::Uuid;

use super::record::Build;
use crate::app::App;
use crate::clock::Timestamp;
use crate::http::validation::numeric;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped, sse};
use crate::store::log::Entry;

/// More entries than any log has.
const ALL: u32 = 20_000;
/// How many are read at a time for who follows.
const LOT: u32 = 256;

#[derive(Debug, Deserialize)]
pub(in super::super) struct Part {
    /// Only the last so many lines.
    #[serde(default, deserialize_with = "numeric")]
    tail: Option<usize>,
}

/// `GET /sandbox-template-builds/{id}/logs`: as lines (miosa-cli-go).
pub(in super::super) async fn read(
    Extracted(app): Extracted<App>,
    build: Scoped<Build>,
    Params(part): Params<Part>,
) -> ApiResult<Answer> {
    let id = build.id;
    let entries =
        app.store.read(move |view| view.log_after(id, 0, ALL).map_err(ApiError::from)).await?;
    let mut lines: Vec<String> = entries.iter().map(|(_, entry)| line(entry)).collect();
    if let Some(tail) = part.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    Answer::ok(&json!({ "build_id": id, "state": build.state, "lines": lines }))
}

/// An entry as a line of text.
fn line(entry: &Value) -> String {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| entry.get(name).and_then(Value::as_i64).unwrap_or_default();
    match text("event") {
        "output" => text("line").to_owned(),
        "step_started" => format!("[{}/{}] {}", number("step"), number("of"), text("command")),
        "step_finished" => format!("step {} exited {}", number("step"), number("exit_code")),
        "truncated" => format!("… {}", text("message")),
        "building" => format!("building from {}", text("from")),
        event @ ("failed" | "cancelled") => {
            format!("{event}: {}: {}", text("error_code"), text("error_message"))
        }
        "ready" => format!("ready: {}", text("image_id")),
        event => event.to_owned(),
    }
}

/// `GET /sandbox-template-builds/{id}/logs/stream` (`api-reference/events`: `event: build_event`): the log from its
/// beginning, or from behind `Last-Event-ID`, until the build has ended.
pub(in super::super) async fn stream(
    Extracted(app): Extracted<App>,
    build: Scoped<Build>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    sse::response(events(app, &build, last.map_or(0, place)))
}

/// The place that an event's id names.
fn place(id: &str) -> u64 {
    let id = id.trim();
    Ulid::from_string(id)
        .map_or_else(|_| id.parse().unwrap_or(0), |id| u64::try_from(id.random()).unwrap_or(0))
}

fn events(
    app: App,
    build: &Build,
    after: u64,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let following = Following {
        app,
        org: build.org,
        build: build.id,
        after,
        read: VecDeque::new(),
        ended: false,
    };
    futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await.map_err(|error| {
            following.ended = true;
            following.read.clear();
            std::io::Error::other(error.log.unwrap_or(error.message))
        });
        event.transpose().map(|event| (event, following))
    })
}

struct Following {
    app: App,
    org: Uuid,
    build: Uuid,
    after: u64,
    read: VecDeque<Entry>,
    /// Nothing comes after what is read.
    ended: bool,
}

impl Following {
    async fn next(&mut self) -> ApiResult<Option<Bytes>> {
        loop {
            if let Some((n, entry)) = self.read.pop_front() {
                self.after = n;
                return Ok(Some(frame(self.build, n, entry)));
            }
            if self.ended {
                return Ok(None);
            }
            let app = self.app.clone();
            // Listening before looking: what is written in between is heard.
            let grown = app.builds.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            self.look().await?;
            if self.read.is_empty() && !self.ended {
                tokio::select! {
                    () = grown => {}
                    () = app.stopping.cancelled() => self.ended = true,
                }
            }
        }
    }

    /// Reads on. The last entry is written with the last state, so who has seen the state has all entries or gets them.
    async fn look(&mut self) -> ApiResult<()> {
        let (org, id, after) = (self.org, self.build, self.after);
        let (build, entries) = self
            .app
            .store
            .read(move |view| -> ApiResult<_> {
                Ok((view.get::<Build>(org, id)?, view.log_after(id, after, LOT)?))
            })
            .await?;
        let whole = entries.len() < LOT as usize;
        self.ended = whole && build.is_none_or(|build| build.state.ended());
        self.read.extend(entries);
        Ok(())
    }
}

/// An event whose id is a ULID of its time and place: they sort as the log does.
fn frame(build: Uuid, n: u64, mut entry: Value) -> Bytes {
    let at = entry.get("at").cloned().and_then(|at| serde_json::from_value::<Timestamp>(at).ok());
    let ms = at.and_then(|at| u64::try_from(at.0).ok()).unwrap_or(0);
    let id = Ulid::from_parts(ms, u128::from(n));
    if let Value::Object(entry) = &mut entry {
        entry.insert("type".to_owned(), "build_event".into());
        entry.insert("build_id".to_owned(), json!(build));
        entry.insert("n".to_owned(), n.into());
    }
    let event = sse::event("build_event", &entry);
    Bytes::from([format!("id: {id}\n").as_bytes(), &event].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_id_names_its_place() {
        let at = Timestamp(1_779_012_000_000);
        let written = frame(Uuid::nil(), 7, json!({ "event": "queued", "at": at }));
        let text = std::str::from_utf8(&written).unwrap();
        let id = text.lines().next().unwrap().strip_prefix("id: ").unwrap();
        assert_eq!(place(id), 7);
        assert!(text.contains("\nevent: build_event\n"), "{text}");
        assert_eq!((place("12"), place("nonsense"), place("")), (12, 0, 0));
    }
}
