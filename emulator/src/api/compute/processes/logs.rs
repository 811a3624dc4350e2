//! What a process said, as text and as lines.
//!
//! miosa-python 2.19 and miosa-go 2.0 want text under `data`, the command line client an object with `lines`: both cannot
//! be there, so the client that asks decides.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::look;
use crate::api::compute::exec::request::agent as client;
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::awake;
use crate::api::compute::sandboxes::transition::not_running;
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::validation::numeric;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped};
use crate::machines::Agent;
use crate::machines::agent::JobSaid;

/// Lines, when the client says nothing (miosa-python 2.19).
const TAIL: usize = 200;
const MOST_TAIL: usize = 100_000;

/// The query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Query {
    #[serde(deserialize_with = "numeric")]
    tail: Option<usize>,
    /// The same (miosa-cli-go).
    #[serde(deserialize_with = "numeric")]
    lines: Option<usize>,
}

impl Query {
    /// How many lines.
    ///
    /// # Errors
    /// 400 beyond the bounds.
    pub fn lines(&self) -> ApiResult<usize> {
        let lines = self.tail.or(self.lines).unwrap_or(TAIL);
        if lines > MOST_TAIL {
            return Err(ApiError::parameter("tail", format_args!("must be 0 to {MOST_TAIL}")));
        }
        Ok(lines)
    }
}

/// What is kept of a job's output.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    lost: u64,
}

impl Kept {
    /// Collects it. A job that the machine does not know said nothing that is still there.
    ///
    /// # Errors
    /// 502 when the agent goes away.
    pub async fn collect(agent: &Agent, job: &str) -> ApiResult<Option<Self>> {
        if agent.job(job).await?.is_none() {
            return Ok(None);
        }
        let mut kept = Self::default();
        let mut output = agent.job_output(job, 0, false).await?;
        while let Some(said) = output.next().await {
            match said? {
                JobSaid::Stdout(bytes) | JobSaid::Stderr(bytes) => {
                    kept.bytes.extend_from_slice(&bytes);
                }
                JobSaid::Lost(bytes) => kept.lost += bytes,
                JobSaid::Stands(_) => {}
            }
        }
        Ok(Some(kept))
    }

    /// The last lines of it, with what is not there any more.
    pub fn show(&self, tail: usize) -> Map<String, Value> {
        let mut shown = Map::new();
        let bytes = last_lines(&self.bytes, tail);
        let text = String::from_utf8_lossy(bytes);
        // The oldest piece may begin within a character: that is no reason to send everything twice.
        let binary = std::str::from_utf8(bytes).is_err() && self.lost == 0;
        shown.insert("lines".into(), text.lines().collect::<Vec<_>>().into());
        shown.insert("text".into(), text.into());
        if binary {
            shown.insert("text_base64".into(), STANDARD.encode(bytes).into());
        }
        shown.insert("truncated".into(), (self.lost > 0 || bytes.len() < self.bytes.len()).into());
        shown.insert("lost_bytes".into(), self.lost.into());
        shown
    }
}

/// The part that the last `tail` lines take.
fn last_lines(bytes: &[u8], tail: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if tail == 0 {
        return &[];
    }
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start = ends.map(|(at, _)| at + 1).nth(tail - 1).unwrap_or(0);
    bytes.get(start..).unwrap_or_default()
}

/// What is kept of what a process said.
///
/// # Errors
/// 404; 409 when its machine has ended, and the log with it.
pub async fn of(app: &App, sandbox: &Sandbox, named: &str) -> ApiResult<Kept> {
    let process = look::find(app, sandbox, named).await?;
    if !sandbox.alive {
        return Err(not_running(sandbox));
    }
    let agent = awake(app, sandbox).await?;
    Ok(Kept::collect(&agent, &process.job()).await?.unwrap_or_default())
}

/// `GET …/processes/{pid}/logs`.
pub(super) async fn of_process(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> ApiResult<Answer> {
    let tail = query.lines()?;
    let mut shown = of(&app, &sandbox, values.at(1)).await?.show(tail);
    if wants_lines(&headers) {
        return Answer::ok(&Value::Object(shown));
    }
    let text = shown.remove("text").unwrap_or_default();
    shown.insert("logs".into(), text.clone());
    shown.insert("data".into(), text);
    let value = Value::Object(shown);
    Ok(Answer::Bare { status: StatusCode::OK, value })
}

/// Whether this is the command line client, whose own REST client sends Go's default name (miosa-cli-go).
fn wants_lines(headers: &HeaderMap) -> bool {
    let client = client(headers);
    ["miosa-cli", "Go-http-client", "miosa-go/0."].iter().any(|name| client.starts_with(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tail_is_counted_in_lines() {
        for (text, tail, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("\n\n", 1, "\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(last_lines(text.as_bytes(), tail), expected.as_bytes(), "{text:?} {tail}");
        }
    }

    #[test]
    fn what_is_gone_and_what_is_no_text_is_said() {
        let kept = Kept { bytes: b"a\xff\n".to_vec(), lost: 0 };
        let shown = kept.show(10);
        assert_eq!(
            (&shown["lines"], &shown["text_base64"]),
            (&json!(["a\u{fffd}"]), &json!("Yf8K"))
        );
        assert_eq!((&shown["truncated"], &shown["lost_bytes"]), (&json!(false), &json!(0)));
        let shown = Kept { bytes: b"b\nc\n".to_vec(), lost: 7 }.show(1);
        assert_eq!((&shown["text"], &shown["lost_bytes"]), (&json!("c\n"), &json!(7)));
    }
}
