//! Previews: from a host name, a loopback port or a path into a machine.

/// The loopback ports that previews have been given.
#[derive(Debug, Default)]
pub struct PreviewPorts {}

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::Request;

use crate::app::App;
use crate::http::{ApiError, codes};

/// What a request to a preview means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewTarget {}

/// The preview that a request's host or path names; `None` for the API's own.
pub fn target(_: &App, _: &Request<Body>) -> Option<PreviewTarget> {
    None
}

/// Passes the request into the machine.
pub async fn forward(_: App, _: PreviewTarget, _: Request<Body>) -> Response {
    ApiError::new(codes::not_emulated, "previews are not built").into_response()
}
