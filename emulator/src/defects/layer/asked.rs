//! A request as the layer saw it come.

use axum::extract::{MatchedPath, Request};
use http::header::AUTHORIZATION;
use http::{HeaderName, Method};

use crate::app::App;

/// The header of idempotency keys.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the answer is altered by.
pub(super) struct Asked {
    /// The method.
    pub(super) method: Method,
    /// The path of its route below the base, parameters as `{id}`; empty when it has none.
    pub(super) route: &'static str,
    /// The path.
    pub(super) path: String,
    /// The query.
    pub(super) query: String,
    /// The credential as it was sent.
    pub(super) credential: String,
    /// The idempotency key as it was sent.
    pub(super) key: Option<String>,
}

impl Asked {
    pub(super) fn of(app: &App, request: &Request) -> Self {
        let text = |name: &HeaderName| {
            request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let matched = request.extensions().get::<MatchedPath>();
        let route = matched
            .and_then(|path| app.routes.get()?.find(request.method(), path.as_str()))
            .map_or("", |route| route.path);
        Self {
            method: request.method().clone(),
            route,
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            credential: text(&AUTHORIZATION).unwrap_or_default(),
            key: text(&KEY),
        }
    }

    /// Whether it is this operation (`GET /sandboxes/{id}`).
    pub(super) fn is(&self, operation: &str) -> bool {
        operation
            .split_once(' ')
            .is_some_and(|(method, route)| self.method.as_str() == method && self.route == route)
    }

    /// Whether it may change something.
    pub(super) fn mutates(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Who asks, and for which path: what is remembered is remembered under it.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.credential, self.path)
    }
}
