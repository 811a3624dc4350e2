//! Bytes and text of a file.
//!
//! Bytes are always `application/octet-stream`, whatever the file is: miosa-python 2.19 reads a download that is
//! labelled as JSON as an envelope and gives its caller nothing.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use miosa_agent::protocol::{Entry, FailureCode};
use serde::{Deserialize, Serialize};

use super::MAX_FILE;
use super::path::{Named, SafePath};
use crate::api::compute::sandboxes::Sandbox;
use crate::api::compute::sandboxes::awake::{ActivityGuard, awake, hold};
use crate::app::App;
use crate::http::scoped::PathValues;
use crate::http::{Answer, ApiError, ApiResult, Params, Route, Scoped, codes};
use crate::machines::agent::ContentStream;
use crate::machines::{Agent, MachineError};

/// The routes.
pub fn routes() -> Vec<Route> {
    let read = |route: Route| route.scope("sandboxes:read");
    vec![
        read(Route::get("/sandboxes/{id}/fs/download", download)),
        read(Route::get("/sandboxes/{id}/files/download", download)),
        read(Route::get("/sandboxes/{id}/fs/read", text)),
        read(Route::get("/sandboxes/{id}/files/read", text)),
        read(Route::get("/sandboxes/{id}/files/{*path}", by_path)),
    ]
}

#[derive(Debug, Deserialize)]
struct Which {
    #[serde(default)]
    path: Named,
}

async fn download(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    headers: HeaderMap,
    Params(which): Params<Which>,
) -> ApiResult<Response> {
    let path = which.path.required()?;
    let agent = awake(&app, &sandbox).await?;
    let (entry, stream) = agent.read(path.as_str()).await?;
    Ok(bytes(&headers, &entry, stream, hold(&app, &sandbox)))
}

/// The path comes without its first slash. One that was relative to begin with looks the same, so it is tried below
/// the workspace when there is nothing at the root.
async fn by_path(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    values: PathValues,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let named = values.at(1);
    let path = SafePath::parse(&format!("/{named}"))?;
    let agent = awake(&app, &sandbox).await?;
    let (entry, stream) = match agent.read(path.as_str()).await {
        Err(error) if is_missing(&error) && !named.starts_with('/') => {
            let below = SafePath::parse(named)?;
            agent.read(below.as_str()).await.map_err(|_| error)?
        }
        opened => opened?,
    };
    Ok(bytes(&headers, &entry, stream, hold(&app, &sandbox)))
}

fn is_missing(error: &MachineError) -> bool {
    matches!(error, MachineError::Agent(failure) if failure.code == FailureCode::NotFound)
}

/// The file's bytes, all or the range that was asked for (RFC 9110, 14).
fn bytes(
    headers: &HeaderMap,
    entry: &Entry,
    stream: ContentStream,
    active: ActivityGuard,
) -> Response {
    let size = entry.size;
    let mut response = Response::new(Body::empty());
    let set = |response: &mut Response, name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    };
    let asked = headers.get(RANGE).and_then(|value| value.to_str().ok());
    match asked.map_or(Range::Whole, |text| range(text, size)) {
        Range::Whole => {
            set(&mut response, CONTENT_LENGTH, size.to_string());
            *response.body_mut() = Body::from_stream(part(stream, 0, size, active));
        }
        Range::Part { first, last } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, CONTENT_LENGTH, (last - first + 1).to_string());
            set(&mut response, CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
            *response.body_mut() = Body::from_stream(part(stream, first, last - first + 1, active));
        }
        Range::Outside => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(&mut response, CONTENT_LENGTH, "0".to_owned());
            set(&mut response, CONTENT_RANGE, format!("bytes */{size}"));
        }
    }
    set(&mut response, CONTENT_TYPE, "application/octet-stream".to_owned());
    set(&mut response, ACCEPT_RANGES, "bytes".to_owned());
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { first: u64, last: u64 },
    Outside,
}

/// What a `Range` header asks of a file of `size` bytes. What is no single range of bytes is ignored.
fn range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Range::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(first) || !all_digits(last) || (first.is_empty() && last.is_empty()) {
        return Range::Whole;
    }
    // More digits than a number has is simply a place beyond the end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (first, last) = if first.is_empty() {
        let length = number(last).min(size);
        if length == 0 {
            return Range::Outside;
        }
        (size - length, size - 1)
    } else {
        let last = if last.is_empty() { u64::MAX } else { number(last) };
        if last < number(first) {
            return Range::Whole;
        }
        (number(first), last.min(size.saturating_sub(1)))
    };
    if first >= size { Range::Outside } else { Range::Part { first, last } }
}

/// `length` bytes of the stream after the first `skip`. A stream that ends before is an error, never a short file.
fn part(
    stream: ContentStream,
    skip: u64,
    length: u64,
    active: ActivityGuard,
) -> impl Stream<Item = io::Result<Bytes>> {
    let reading = Reading { stream, skip, left: length, _active: active };
    futures_util::stream::unfold(reading, |mut reading| async move {
        Some((reading.next().await.transpose()?, reading))
    })
}

struct Reading {
    stream: ContentStream,
    skip: u64,
    left: u64,
    _active: ActivityGuard,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.left > 0 {
            let left = std::mem::take(&mut self.left);
            let mut bytes = self.stream.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            bytes = bytes.slice(passed as usize..);
            bytes.truncate(left.min(bytes.len() as u64) as usize);
            self.left = left - bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// The text; what is not UTF-8 is replaced, and then given whole in base64 beside.
async fn text(
    State(app): State<App>,
    sandbox: Scoped<Sandbox>,
    Params(which): Params<Which>,
) -> ApiResult<Answer> {
    let path = which.path.required()?;
    let agent = awake(&app, &sandbox).await?;
    let content = whole(&agent, &path).await?;
    let base64 = std::str::from_utf8(&content).is_err().then(|| STANDARD.encode(&content));
    Answer::ok(&Text {
        path: path.as_str(),
        content: String::from_utf8_lossy(&content),
        content_base64: base64,
        size_bytes: content.len(),
    })
}

#[derive(Debug, Serialize)]
struct Text<'t> {
    path: &'t str,
    content: std::borrow::Cow<'t, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_base64: Option<String>,
    size_bytes: usize,
}

async fn whole(agent: &Agent, path: &SafePath) -> ApiResult<Vec<u8>> {
    let too_large = || {
        ApiError::new(
            codes::FILE_TOO_LARGE,
            format!("{path} has more than {MAX_FILE} bytes; read it with fs/download."),
        )
    };
    let (entry, mut stream) = agent.read(path.as_str()).await?;
    if entry.size > MAX_FILE as u64 {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(entry.size as usize);
    while let Some(bytes) = stream.try_next().await.map_err(|error| {
        ApiError::from(MachineError::AgentUnreachable(format!("a file broke off: {error}")))
    })? {
        content.extend_from_slice(&bytes);
        if content.len() > MAX_FILE {
            return Err(too_large());
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Range::Part { first, last };
        for (text, size, expected) in [
            ("bytes=0-3", 10, part(0, 3)),
            ("bytes=4-", 10, part(4, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("bytes=0-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Range::Outside),
            ("bytes=0-0", 0, Range::Outside),
            ("bytes=-0", 10, Range::Outside),
            ("bytes=-5", 0, Range::Outside),
            ("bytes=3-1", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("lines=0-1", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
        ] {
            assert_eq!(range(text, size), expected, "{text} of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_within_the_file(text in "bytes=[0-9]{0,25}-[0-9]{0,25}", size: u64) {
            if let Range::Part { first, last } = range(&text, size) {
                proptest::prop_assert!(first <= last && last < size);
            }
        }
    }
}
