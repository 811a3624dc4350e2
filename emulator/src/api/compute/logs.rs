//! The log of a sandbox: what happened to it and what was said in it, as lines (miosa-python 2.19, `api-reference/events`).
//!
//! It is its events read as text, so it is kept, capped and resumed as they are. What is to stand in it besides is written
//! with [`write()`].

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sandboxes::Sandbox;
use crate::api::platform::events::feed::{self, Feed, Plan};
use crate::api::platform::events::resource;
use crate::api::platform::events::resume::Resume;
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params, Route, Scoped, sse, validation};
use crate::recorder::Happened;
use crate::store::outbox::{Class, Recorded};

/// How many lines, when the client does not say.
const LINES: u32 = 100;
/// How many at the most: as many as are kept.
const MAX_LINES: u32 = crate::store::outbox::PASSING;

/// The routes.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/sandboxes/{id}/logs", get).family("sandboxes").scope("sandboxes:read"),
        Route::get("/sandboxes/{id}/logs/stream", stream)
            .family("sandboxes")
            .scope("sandboxes:read")
            .ticketed(),
    ]
}

#[derive(Debug, Deserialize)]
struct Query {
    #[serde(default, deserialize_with = "validation::numeric")]
    lines: Option<u32>,
    #[serde(default, deserialize_with = "validation::numeric")]
    tail: Option<u32>,
}

async fn get(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let lines = query.lines.or(query.tail).unwrap_or(LINES);
    if !(1..=MAX_LINES).contains(&lines) {
        return Err(ApiError::parameter("lines", format!("must be 1 to {MAX_LINES}")));
    }
    app.recorder.flush(&app).await;
    let feed = said(&sandbox);
    let events = app
        .store
        .read(move |view| view.feed_tail(&feed, None, lines))
        .await
        .map_err(ApiError::from)?;
    let entries: Vec<Value> = events.iter().map(entry).collect();
    let lines: Vec<&Value> = entries.iter().filter_map(|entry| entry.get("line")).collect();
    Answer::ok(&json!({ "sandbox_id": sandbox.id, "lines": lines, "entries": entries }))
}

async fn stream(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    resume: Resume,
) -> ApiResult<Response> {
    let plan = Plan {
        feed: said(&sandbox),
        backlog: LINES,
        show,
        last: |recorded| recorded.event.kind == "sandbox.destroyed",
        lives: resource::lives,
    };
    feed::open(&app, plan, resume).await
}

/// What of a sandbox stands in its log.
fn said(sandbox: &Sandbox) -> Feed {
    Feed { types: vec!["sandbox.*".to_owned()], ..resource::of(sandbox) }
}

fn show(recorded: &Recorded) -> Bytes {
    sse::identified(&recorded.ulid(), "log", &entry(recorded))
}

/// An event as a line.
fn entry(recorded: &Recorded) -> Value {
    let event = &recorded.event;
    let text = |name: &str| event.data.get(name).and_then(Value::as_str).unwrap_or_default();
    let (source, stream, line) = match event.kind.as_str() {
        "sandbox.exec.stdout" => ("exec", "stdout", text("line").to_owned()),
        "sandbox.exec.stderr" => ("exec", "stderr", text("line").to_owned()),
        "sandbox.exec.started" => ("exec", "system", format!("$ {}", text("command"))),
        "sandbox.exec.completed" => ("exec", "system", ended(&event.data)),
        "sandbox.log" => {
            let stream = if text("stream") == "stderr" { "stderr" } else { "stdout" };
            (text("source"), stream, text("line").to_owned())
        }
        kind => ("sandbox", "system", lifecycle(kind, &event.data)),
    };
    json!({
        "line": line, "source": source, "stream": stream, "timestamp": event.at,
        "exec_id": event.data.get("exec_id"),
    })
}

fn ended(data: &Value) -> String {
    let ms = data.get("duration_ms").and_then(Value::as_u64).unwrap_or_default();
    let is = |name: &str| data.get(name).and_then(Value::as_bool).unwrap_or_default();
    let how = match data.get("exit_code").and_then(Value::as_i64) {
        Some(_) if is("timed_out") => "timed out".to_owned(),
        Some(code) => format!("exit {code}"),
        None => "cut off".to_owned(),
    };
    let cut = if is("output_truncated") { "; not all of its output is kept here" } else { "" };
    format!("{how} after {ms} ms{cut}")
}

/// `sandbox.paused` because of idleness: `sandbox paused: idle`.
fn lifecycle(kind: &str, data: &Value) -> String {
    let what = kind.replace('.', " ");
    let why = ["reason", "url"].iter().find_map(|name| data.get(*name).and_then(Value::as_str));
    why.map_or_else(|| what.clone(), |why| format!("{what}: {why}"))
}

/// Writes a line into the sandbox's log, and into its stream of events as `sandbox.log`: for what runs in it beside
/// commands (services, processes in the background). `false` when there is no room for it.
pub fn write(app: &App, sandbox: &Sandbox, source: &str, stderr: bool, line: &str) -> bool {
    let stream = if stderr { "stderr" } else { "stdout" };
    app.recorder.push(Happened {
        org: sandbox.org,
        workspace: sandbox.owner.workspace_id,
        sandbox: sandbox.id,
        kind: "sandbox.log",
        class: Class::Output,
        at: app.clock.now(sandbox.org),
        data: json!({ "source": source, "stream": stream, "line": line }),
        bytes: line.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_command_ended_is_a_line() {
        for (data, line) in [
            (json!({ "exit_code": 3, "duration_ms": 5 }), "exit 3 after 5 ms"),
            (
                json!({ "exit_code": -1, "timed_out": true, "duration_ms": 9 }),
                "timed out after 9 ms",
            ),
            (json!({ "exit_code": null, "duration_ms": 9 }), "cut off after 9 ms"),
            (
                json!({ "exit_code": 0, "duration_ms": 1, "output_truncated": true }),
                "exit 0 after 1 ms; not all of its output is kept here",
            ),
        ] {
            assert_eq!(ended(&data), line);
        }
        assert_eq!(
            lifecycle("sandbox.paused", &json!({ "reason": "idle" })),
            "sandbox paused: idle"
        );
    }
}
