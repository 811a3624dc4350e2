//! Any key plus exec is code execution, so a web page must not reach the API through a name of its own
//! (DNS rebinding) or from its own origin.
//!
//! A loopback name or address passes, an address passes where the emulator listens beyond loopback, and names that
//! were allowed by `--allow-host`. A request with an `Origin` passes when the origin's host would, or when it was
//! allowed by `--allow-origin`, which also turns on CORS for it.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::codes;
use super::error::ApiError;
use crate::app::App;

/// Which hosts and origins may talk to the API.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Names beside loopback ones.
    pub hosts: Vec<String>,
    /// Origins (`http://localhost:5173`), or `*`.
    pub origins: Vec<String>,
    /// Whether any literal address passes: the emulator listens beyond loopback.
    pub addresses: bool,
}

impl Allowed {
    /// Whether a `Host` is one that we go by.
    pub fn host(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return true;
        }
        if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
            return address.is_loopback() || self.addresses;
        }
        self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
    }

    fn origin(&self, origin: &str, host: &str) -> bool {
        if self.names_origin(origin) {
            return true;
        }
        // The emulator's own pages: same host and port as the request itself.
        origin.split_once("://").is_some_and(|(_, at)| at.eq_ignore_ascii_case(host))
    }

    fn names_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// The name in `name:port` or `[v6]:port`.
pub fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Refuses foreign hosts and origins; answers CORS preflights for allowed origins.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let allowed = &app.config.allowed;
    let text = |value: Option<&HeaderValue>| {
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let host = text(request.headers().get(HOST))
        .or_else(|| request.uri().authority().map(ToString::to_string))
        .unwrap_or_default();
    if !allowed.host(&host) {
        return ApiError::new(
            codes::HOST_NOT_ALLOWED,
            format!("The host {host:?} is not allowed. Start the emulator with --allow-host {} if you mean it.", name_of(&host)),
        )
        .into_response();
    }
    let Some(origin) = text(request.headers().get(ORIGIN)) else { return next.run(request).await };
    if !allowed.origin(&origin, &host) {
        return ApiError::new(
            codes::ORIGIN_NOT_ALLOWED,
            format!("Pages of {origin:?} may not call the emulator. Start it with --allow-origin {origin} if you mean it."),
        )
        .into_response();
    }
    if !allowed.names_origin(&origin) {
        return next.run(request).await;
    }
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if preflight { permission(request.headers()) } else { next.run(request).await };
    if let Ok(origin) = HeaderValue::from_str(&origin) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, HeaderValue::from_static("origin"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

/// What a page of an allowed origin may read of an answer.
const EXPOSED: &str = "x-request-id, location, retry-after, idempotency-replayed, x-ratelimit-limit, \
                       x-ratelimit-remaining, x-ratelimit-reset";

/// Answers a preflight. The origin was allowed by name, so whatever headers its clients send are, too.
fn permission(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // Browsers ask apart before a page from the internet may talk to this computer.
    if asked.contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_name_is_refused_and_loopback_passes() {
        let allowed = Allowed::default();
        for host in ["127.0.0.1:4010", "localhost", "[::1]:4010", "8000-x.localhost:4010"] {
            assert!(allowed.host(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:4010", "localhost.evil.example", "", "10.0.0.1:4010"]
        {
            assert!(!allowed.host(host), "{host}");
        }
        let named = Allowed { hosts: vec!["miosa".into()], ..Allowed::default() };
        assert!(named.host("miosa:4010"));
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let allowed = Allowed::default();
        assert!(allowed.origin("http://127.0.0.1:4010", "127.0.0.1:4010"));
        assert!(!allowed.origin("http://evil.example", "127.0.0.1:4010"));
        assert!(!allowed.origin("http://127.0.0.1:3000", "127.0.0.1:4010"));
        assert!(!allowed.origin("null", "127.0.0.1:4010"));
    }
}
