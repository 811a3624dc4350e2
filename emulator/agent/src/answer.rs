//! Answers: a body that may stream, and the two shapes of JSON.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use miosa_agent::protocol::{Failure, FailureCode};
use serde::Serialize;

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer, or why there is none.
pub type Outcome = Result<Response<Body>, Failure>;

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn streamed(bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response<Body> {
    use futures_util::TryStreamExt as _;
    Response::new(StreamBody::new(bytes.map_ok(Frame::data)).boxed_unsync())
}

pub fn json(value: &impl Serialize) -> Outcome {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::new(FailureCode::Io, error.to_string()))?;
    let mut answer = Response::new(whole(bytes));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(answer)
}

pub fn nothing() -> Response<Body> {
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

pub fn failure(failure: &Failure) -> Response<Body> {
    let mut answer = json(failure).unwrap_or_else(|_| nothing());
    *answer.status_mut() =
        StatusCode::from_u16(failure.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// A request that cannot be read.
pub fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureCode::InvalidRequest, reason.to_string())
}
