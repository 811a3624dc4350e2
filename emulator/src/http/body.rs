//! A request's body, read whole: bounded in size and in time.
//!
//! One that is too large is refused at once, and what the client is still sending is read behind the refusal and
//! thrown away, up to a bound: closing on a client that writes resets the connection, and it would never see why.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt as _;

use super::codes;
use super::error::{ApiError, ApiResult};
use crate::app::App;
use crate::defects::defect;

/// As much of a refused body is thrown away; past it the connection is cut.
const THROWN_AWAY: u64 = 256 * 1024 * 1024;

/// A client that sends nothing for so long does not mean to send a refused body at all.
const PAUSE: Duration = Duration::from_secs(1);

/// The whole body.
///
/// # Errors
/// 413 when it is larger than `limit` bytes, 408 when it does not arrive in time, 400 when it breaks off.
pub async fn read(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> ApiResult<Bytes> {
    let within = app.config.patience.body;
    if announces_more(headers, limit) {
        // Who expects a `100 Continue` has sent nothing yet, and need not.
        if headers.contains_key(EXPECT) {
            return Err(too_large(limit));
        }
        return Err(refuse(app, body, limit));
    }
    match tokio::time::timeout(within, collect(&mut body, limit)).await {
        Err(_) => Err(late(within)),
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(refuse(app, body, limit)),
        Ok(Err(_)) if defect!(TruncatedIsEmpty) => Ok(Bytes::new()),
        Ok(Err(error)) => Err(broken(&error)),
    }
}

/// Whether the head says that the body is larger than `limit` bytes.
pub(super) fn announces_more(headers: &HeaderMap, limit: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    announced.is_some_and(|bytes| bytes > limit as u64)
}

/// Refuses a body that is larger than `limit`, and reads the rest of it in the background.
pub(super) fn refuse(app: &App, body: Body, limit: usize) -> ApiError {
    app.tasks.spawn(throw_away(body, app.config.patience.body));
    too_large(limit)
}

pub(super) fn late(within: Duration) -> ApiError {
    let text = format!("The body did not arrive within {} s.", within.as_secs_f32());
    ApiError::new(codes::REQUEST_TIMEOUT, text)
}

pub(super) fn broken(error: &axum::Error) -> ApiError {
    ApiError::new(codes::BAD_REQUEST, format!("The body broke off: {error}"))
}

fn too_large(limit: usize) -> ApiError {
    let most = limit / (1024 * 1024);
    ApiError::new(
        codes::PAYLOAD_TOO_LARGE,
        format!("The body is larger than {most} MiB, the most that this route takes."),
    )
}

/// `None` when there is more than `limit`.
async fn collect(body: &mut Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut first = Bytes::new();
    let mut collected: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + collected.len() + data.len() > limit {
            return Ok(None);
        }
        // Most bodies are one piece, which need not be copied.
        if first.is_empty() && collected.is_empty() {
            first = data;
            continue;
        }
        if collected.is_empty() {
            collected.extend_from_slice(&std::mem::take(&mut first));
        }
        collected.extend_from_slice(&data);
    }
    Ok(Some(if collected.is_empty() { first } else { collected.into() }))
}

async fn throw_away(mut body: Body, within: Duration) {
    let reading = async {
        let mut thrown = 0;
        while thrown <= THROWN_AWAY
            && let Ok(Some(Ok(frame))) = tokio::time::timeout(PAUSE, body.frame()).await
        {
            thrown += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    };
    // What has not come by then is cut off.
    let _ = tokio::time::timeout(within, reading).await;
}
