//! Routes as data: the table that routes, that `coverage` counts and that the contract is compared with.

use std::collections::HashMap;

use axum::handler::Handler;
use axum::routing::{MethodRouter, on};
use http::Method;

use crate::app::App;

/// What is known of a route before a request comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The path below `/api/v1`, parameters as `{id}`, a catch-all as `{*path}`.
    pub path: &'static str,
    /// The family, as in the table of known routes.
    pub family: &'static str,
    /// The scope that a key needs; `None` when any credential will do.
    pub scope: Option<&'static str>,
    /// Who may call it, and which rate limit counts it.
    pub access: Access,
    /// Whether it is built. What is not answers 501 and says so.
    pub built: bool,
    /// Whether running the request twice does what running it once does.
    pub repeatable: bool,
    /// Whether a client that goes away ends what it asked for (a command), when it sent no idempotency key.
    pub ends_with_client: bool,
    /// Whether a stream ticket opens it, in place of a credential.
    pub ticketed: bool,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// Whether the body goes into a file, not into memory.
    pub spooled: bool,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// With a credential; counted per workspace.
    Key,
    /// With a credential; counted as an auth endpoint (20 a minute).
    AuthEndpoint,
    /// Without one; never counted (health, readiness of the program itself).
    Open,
    /// With a credential; never counted: an official client polls it every 10 ms.
    Uncounted,
}

/// A route and its handler.
pub struct Route {
    /// What is known of it.
    pub info: RouteInfo,
    /// What answers.
    pub handler: MethodRouter<App>,
}

/// JSON bodies: a 10 MB file in base64, and room for the rest.
pub const JSON_LIMIT: usize = 16 * 1024 * 1024;

impl Route {
    fn new<H, T>(method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let filter = axum::routing::MethodFilter::try_from(method.clone())
            .unwrap_or(axum::routing::MethodFilter::TRACE);
        let repeatable = matches!(method, Method::GET | Method::HEAD);
        Self {
            info: RouteInfo {
                method,
                path,
                family: "",
                scope: None,
                access: Access::Key,
                built: true,
                repeatable,
                ends_with_client: false,
                ticketed: false,
                body_limit: JSON_LIMIT,
                spooled: false,
            },
            handler: on(filter, handler),
        }
    }

    /// A `GET` route.
    pub fn get<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::GET, path, handler)
    }

    /// A `POST` route.
    pub fn post<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::POST, path, handler)
    }

    /// A `PUT` route.
    pub fn put<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PUT, path, handler)
    }

    /// A `PATCH` route.
    pub fn patch<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::PATCH, path, handler)
    }

    /// A `DELETE` route.
    pub fn delete<H: Handler<T, App>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new(Method::DELETE, path, handler)
    }

    /// The family.
    #[must_use]
    pub fn family(mut self, family: &'static str) -> Self {
        self.info.family = family;
        self
    }

    /// The scope that a key needs.
    #[must_use]
    pub fn scope(mut self, scope: &'static str) -> Self {
        self.info.scope = Some(scope);
        self
    }

    /// Who may call it.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.info.access = access;
        self
    }

    /// Running it twice does what running it once does: a crash may simply let it run again under its key.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.info.repeatable = true;
        self
    }

    /// The largest body, in bytes.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.info.body_limit = bytes;
        self
    }

    /// The body may be large: it goes into a file, which the handler takes as a [`super::spool::Spooled`].
    #[must_use]
    pub fn spooled(mut self) -> Self {
        self.info.spooled = true;
        self
    }

    /// A client that goes away ends it.
    #[must_use]
    pub fn ends_with_client(mut self) -> Self {
        self.info.ends_with_client = true;
        self
    }

    /// A stream ticket opens it (`api-reference/events`): browsers cannot set headers on an `EventSource`.
    #[must_use]
    pub fn ticketed(mut self) -> Self {
        self.info.ticketed = true;
        self
    }

    /// Not built: answers 501 and says so.
    #[must_use]
    pub fn not_built(mut self) -> Self {
        self.info.built = false;
        self
    }
}

/// The routes by method and pattern, as the layers look them up.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_pattern: HashMap<String, Vec<&'static RouteInfo>>,
    all: Vec<&'static RouteInfo>,
}

impl RouteTable {
    /// Adds a route under the pattern that the router knows it by. Routes live as long as the program.
    pub fn add(&mut self, pattern: String, info: RouteInfo) -> &'static RouteInfo {
        let info: &'static RouteInfo = Box::leak(Box::new(info));
        self.by_pattern.entry(pattern).or_default().push(info);
        self.all.push(info);
        info
    }

    /// The route that a matched pattern names; `HEAD` is answered where `GET` is.
    pub fn find(&self, method: &Method, pattern: &str) -> Option<&'static RouteInfo> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.of(pattern).iter().find(|info| info.method == *method).copied()
    }

    /// The methods that a pattern answers, for `Allow`.
    pub fn methods(&self, pattern: &str) -> String {
        let mut methods: Vec<_> =
            self.of(pattern).iter().map(|info| info.method.as_str()).collect();
        methods.sort_unstable();
        methods.join(", ")
    }

    fn of(&self, pattern: &str) -> &[&'static RouteInfo] {
        self.by_pattern.get(pattern).map_or(&[], Vec::as_slice)
    }

    /// Every route.
    pub fn all(&self) -> &[&'static RouteInfo] {
        &self.all
    }
}

/// The pattern under which a path is given to the router: parameter names carry their position only, since
/// two routes may name the same part of a path differently.
pub fn pattern(path: &str) -> String {
    let mut position = 0;
    let parts: Vec<String> = path
        .split('/')
        .map(|part| {
            if !part.starts_with('{') {
                return part.to_owned();
            }
            let star = if part.starts_with("{*") || part.contains("...") { "*" } else { "" };
            position += 1;
            format!("{{{star}p{position}}}")
        })
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_number_their_parameters() {
        assert_eq!(super::pattern("/sandboxes/{id}/files/{*path}"), "/sandboxes/{p1}/files/{*p2}");
        assert_eq!(
            super::pattern("/sandboxes/{sid}/files/{path...}"),
            "/sandboxes/{p1}/files/{*p2}"
        );
    }
}
