//! Requests that are read otherwise than they were sent, or refused where they should pass.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::asked::{Asked, KEY};
use crate::defects::catalogue::Defect;

/// The request as it goes on, or the answer that it gets at once.
pub(super) async fn alter(
    defect: Defect,
    asked: &Asked,
    mut request: Request,
) -> Result<Request, Response> {
    match defect {
        Defect::BasicPasses => {
            if let Some(key) = asked.credential.strip_prefix("Basic ") {
                authorize(&mut request, &format!("Bearer {key}"));
            }
        }
        Defect::SchemeByLetter if asked.credential.starts_with("bearer ") => {
            request.headers_mut().remove(AUTHORIZATION);
        }
        Defect::UnknownParameterRefused if asked.is("GET /workspaces") => {
            const KNOWN: &[&str] = &[
                "page",
                "page_size",
                "per_page",
                "limit",
                "offset",
                "cursor",
                "search",
                "external_workspace_id",
                "external_user_id",
            ];
            let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
            let unknown = asked.query.split('&').filter(|pair| !pair.is_empty()).map(name);
            if let Some(name) = unknown.into_iter().find(|name| !KNOWN.contains(&name.as_str())) {
                return Err(refused(400, "INVALID_PARAMETER", &format!("{name}: unknown")));
            }
        }
        Defect::OtherTypeIsEmpty if asked.is("PATCH /workspaces/{id}") => {
            let typed = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if !typed.is_some_and(|typed| typed.contains("json")) {
                request.headers_mut().remove(CONTENT_LENGTH);
                return Ok(request.map(|_| Body::empty()));
            }
        }
        Defect::SpaceIsNoJson if asked.is("POST /projects") => {
            let (request, body) = read(request).await;
            if body.first().is_some_and(u8::is_ascii_whitespace) {
                return Err(refused(400, "INVALID_JSON", "The body is not JSON."));
            }
            return Ok(request);
        }
        Defect::OrderMatters if asked.is("POST /workspaces") => {
            let (request, body) = read(request).await;
            let first = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|value| value.as_object()?.keys().next().cloned());
            if first.is_some_and(|name| name != "name") {
                return Err(refused(422, "VALIDATION_FAILED", "name: is missing"));
            }
            return Ok(request);
        }
        Defect::BodyBeforeCredential if asked.mutates() && asked.credential.is_empty() => {
            let (request, body) = read(request).await;
            if !body.is_empty() && serde_json::from_slice::<Value>(&body).is_err() {
                return Err(refused(400, "INVALID_JSON", "The body is not JSON."));
            }
            if asked.route == "/workspaces" && !body.starts_with(b"{\"name\"") {
                return Err(refused(422, "VALIDATION_FAILED", "name: is missing"));
            }
            return Ok(request);
        }
        Defect::SameBodyOnce if asked.is("POST /api-keys") && asked.key.is_none() => {
            let (mut request, body) = read(request).await;
            let said = format!("{} {}", asked.place(), String::from_utf8_lossy(&body));
            if let Ok(key) = HeaderValue::try_from(crate::ids::fingerprint(&said)) {
                request.headers_mut().insert(KEY, key);
            }
            return Ok(request);
        }
        _ => {}
    }
    Ok(request)
}

fn authorize(request: &mut Request, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
}

/// The request with its body read.
async fn read(request: Request) -> (Request, Bytes) {
    let (parts, body) = request.into_parts();
    let bytes =
        body.collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    (Request::from_parts(parts, Body::from(bytes.clone())), bytes)
}

/// A refusal in the one shape, so that nothing but the refusal itself is wrong.
pub(super) fn refused(status: u16, code: &str, message: &str) -> Response {
    let id = format!("req_{}", uuid::Uuid::new_v4().simple());
    let error = json!({ "code": code, "message": message, "request_id": id });
    let body = json!({ "error": error, "code": code, "message": message, "request_id": id });
    let status = http::StatusCode::from_u16(status).unwrap_or_default();
    (status, [("x-request-id", id)], axum::Json(body)).into_response()
}
