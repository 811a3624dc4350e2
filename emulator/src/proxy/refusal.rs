//! What a client reads when its request did not reach the application: the API's error, or a page for a browser.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request};
use uuid::Uuid;

use crate::app::App;
use crate::http::answer::{X_REQUEST_ID, finish};
use crate::http::{ApiError, Exchange};

/// What must be known of a request before it is gone.
pub(super) struct Asked {
    exchange: Arc<Exchange>,
    page: bool,
}

impl Asked {
    pub(super) fn of(app: &App, request: &Request<Body>) -> Self {
        // Not of `App::ids`: traffic of applications must not move the sequence that a seed promises.
        let request_id = format!("req_{}", Uuid::new_v4().simple());
        let target = request.uri().path().to_owned();
        let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let exchange =
            Exchange::new(request_id, app.config.envelope, request.method().clone(), target);
        Self {
            exchange: Arc::new(exchange),
            page: accepted.is_some_and(|accepted| accepted.contains("text/html")),
        }
    }

    pub(super) fn refuse(&self, error: ApiError) -> Response {
        let page = self.page.then(|| page(&error));
        let mut response = finish(error.into_response(), &self.exchange);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.exchange.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(page) = page {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.remove(CONTENT_LENGTH);
            *response.body_mut() = Body::from(page);
        }
        response
    }
}

/// A page that a browser shows, and loads again where that may help.
fn page(error: &ApiError) -> String {
    let again = error
        .retry_after
        .map(|seconds| format!("<meta http-equiv=\"refresh\" content=\"{}\">", seconds.max(1)))
        .unwrap_or_default();
    let message = escaped(&error.message);
    let (status, code) = (error.code.status, error.code.name);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{again}<title>{status}</title>\
         <body style=\"font-family:sans-serif;margin:4em\"><h1>{message}</h1><p>{status} {code}</p>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::codes;

    #[test]
    fn a_page_shows_no_markup_of_the_client() {
        let error = ApiError::new(codes::HOST_NOT_ALLOWED, "The host \"<script>\" is not allowed.");
        let page = page(&error);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    }
}
