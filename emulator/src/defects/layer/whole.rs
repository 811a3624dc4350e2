//! An answer whose JSON can be changed. What is no JSON passes as it comes.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

/// The answer.
pub(super) struct Whole {
    parts: http::response::Parts,
    body: Content,
}

enum Content {
    Json(Value),
    Other(Body),
}

impl Whole {
    pub(super) async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let typed = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !typed.is_some_and(|typed| typed.starts_with("application/json")) {
            return Self { parts, body: Content::Other(body) };
        }
        let bytes =
            body.collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        let body = match serde_json::from_slice(&bytes) {
            Ok(value) => Content::Json(value),
            Err(_) => Content::Other(Body::from(bytes)),
        };
        Self { parts, body }
    }

    pub(super) fn status(&self) -> u16 {
        self.parts.status.as_u16()
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.parts.status = StatusCode::from_u16(status).unwrap_or(self.parts.status);
    }

    pub(super) fn headers(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Sets a header.
    pub(super) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.parts.headers.insert(name, value);
        }
    }

    /// The JSON, when it is an object.
    pub(super) fn object(&mut self) -> Option<&mut Map<String, Value>> {
        match &mut self.body {
            Content::Json(Value::Object(members)) => Some(members),
            _ => None,
        }
    }

    /// The JSON.
    pub(super) fn json(&self) -> Option<&Value> {
        match &self.body {
            Content::Json(value) => Some(value),
            Content::Other(_) => None,
        }
    }

    /// Answers this instead.
    pub(super) fn replace(&mut self, status: u16, value: Value) {
        self.set_status(status);
        self.set(CONTENT_TYPE, "application/json");
        self.body = Content::Json(value);
    }

    /// Answers this text instead, typed as it may be.
    pub(super) fn replace_text(&mut self, typed: &str, text: String) {
        self.set(CONTENT_TYPE, typed);
        self.body = Content::Other(Body::from(text));
    }

    /// Each record that it holds: the members of an object, also beside `data`, or each item of each list.
    pub(super) fn records(&mut self, mut edit: impl FnMut(&mut Map<String, Value>)) {
        let Some(top) = self.object() else { return };
        if top.get("error").is_some_and(Value::is_object) {
            return;
        }
        let mut list = false;
        for value in top.values_mut() {
            if let Value::Array(items) = value {
                list = list || !items.is_empty();
                items.iter_mut().filter_map(Value::as_object_mut).for_each(&mut edit);
            }
        }
        if let Some(Value::Object(data)) = top.get_mut("data") {
            edit(data);
        }
        if !list {
            edit(top);
        }
    }

    pub(super) fn into_response(self) -> Response {
        let Self { mut parts, body } = self;
        let body = match body {
            Content::Json(value) => {
                parts.headers.remove(CONTENT_LENGTH);
                Body::from(value.to_string())
            }
            Content::Other(body) => body,
        };
        Response::from_parts(parts, body)
    }
}
