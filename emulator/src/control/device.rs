//! `/_emulator/device`: where a person approves the login of a program (`/auth/cli/start`).

use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};
use serde::Deserialize;

use super::Operator;
use crate::api::platform::device_login;
use crate::app::App;
use crate::http::{Answer, ApiResult, Input};

/// The page; the code comes from its address, or is typed.
const PAGE: &str = include_str!("device.html");

/// Nothing is loaded from anywhere, and no other page may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
);

pub(super) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// What was decided.
#[derive(Debug, Deserialize)]
pub(super) struct Decision {
    user_code: String,
    /// Approve, unless it says false.
    approve: Option<bool>,
}

pub(super) async fn decide(
    State(app): State<App>,
    operator: Operator,
    Input(decision): Input<Decision>,
) -> ApiResult<Answer> {
    let approve = decision.approve.unwrap_or(true);
    Answer::ok(&device_login::decide(&app, operator.org, &decision.user_code, approve).await?)
}
