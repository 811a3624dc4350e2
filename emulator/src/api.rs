//! The API: every route in one table, and the router made from it.
//!
//! One folder a chapter of the API reference, one file (or folder) a family. What a client is known to call and is
//! not built answers 501 and says so; the same table routes and is counted, so the count cannot lie.

pub mod compute;
pub mod known_routes;
pub mod openapi;
pub mod platform;

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use http::header::ALLOW;
use http::{HeaderValue, Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::control;
use crate::http::paths::BASE;
use crate::http::route::{RouteTable, pattern};
use crate::http::{
    ApiError, Route, auth, codes, exchange, host_check, idempotency, rate_limit, request_id,
};

/// Every route of the API that is built.
pub fn routes() -> Vec<Route> {
    [compute::routes(), platform::routes(), openapi::routes()].into_iter().flatten().collect()
}

/// The router of everything that the emulator answers. Called once per [`App`].
pub fn router(app: &App) -> Router {
    router_with(app, Vec::new())
}

/// The same with routes of one's own below the API's base: a test needs one that misbehaves.
pub fn router_with(app: &App, own: Vec<Route>) -> Router {
    let mut table = RouteTable::default();
    let mut handlers: BTreeMap<String, MethodRouter<App>> = BTreeMap::new();
    let mut add = |table: &mut RouteTable, base: &str, route: Route| {
        let pattern = format!("{base}{}", pattern(route.info.path));
        if table.find(&route.info.method, &pattern).is_some() {
            return;
        }
        table.add(pattern.clone(), route.info);
        let known = handlers.remove(&pattern).unwrap_or_default();
        handlers.insert(pattern, known.merge(route.handler));
    };
    for route in own.into_iter().chain(routes()) {
        add(&mut table, BASE, route);
    }
    for route in known_routes::not_built() {
        add(&mut table, BASE, route);
    }
    for route in control::routes() {
        add(&mut table, "/_emulator", route);
    }
    let _ = app.routes.set(table);
    let mut router = Router::new();
    for (pattern, handler) in handlers {
        router = router.route(&pattern, handler);
    }
    let router = router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        // Each route has a limit of its own, held where its body is read.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(request_id::panicked))
        .layer(from_fn_with_state(app.clone(), idempotency::layer))
        .layer(from_fn_with_state(app.clone(), rate_limit::layer))
        .layer(from_fn_with_state(app.clone(), auth::layer))
        .layer(from_fn_with_state(app.clone(), host_check::layer))
        .layer(from_fn_with_state(app.clone(), request_id::layer));
    #[cfg(feature = "defects")]
    let router = router.layer(from_fn_with_state(app.clone(), crate::defects::layer::layer));
    router.with_state(app.clone())
}

/// A route that a client is known to call and that is not built.
pub async fn not_emulated(exchange: exchange::ExchangeRef) -> ApiError {
    let name = exchange.route.get().map_or_else(
        || exchange.target.clone(),
        |route| format!("{} {}", route.method, route.path),
    );
    ApiError::new(
        codes::not_emulated,
        format!("{name} is not emulated yet. GET /_emulator/coverage lists what is."),
    )
}

async fn unknown(State(app): State<App>, exchange: exchange::ExchangeRef) -> ApiError {
    // What was sent, not what we made of it; a query may hold secrets.
    let path = exchange.target.split('?').next().unwrap_or_default();
    let below = path.strip_prefix(BASE).unwrap_or(path);
    let hint = if path.starts_with("/_emulator") {
        let routes = app.routes.get().map(RouteTable::all).unwrap_or_default();
        let mut known: Vec<&str> = routes
            .iter()
            .filter(|route| route.family == "control")
            .map(|route| route.path)
            .collect();
        known.dedup();
        format!(" Below /_emulator there are {}.", known.join(", "))
    } else if below.is_empty()
        || below == "/"
        || ["/api", "/v1", "/v2"].iter().any(|part| below.starts_with(part))
    {
        format!(" The API is served at {BASE}: set MIOSA_BASE_URL=http://HOST:PORT{BASE}.")
    } else {
        String::new()
    };
    ApiError::new(
        codes::ROUTE_NOT_FOUND,
        format!("No client is known to call {} {path}.{hint}", exchange.method),
    )
}

async fn wrong_method(
    State(app): State<App>,
    matched: axum::extract::MatchedPath,
    request: Request,
) -> Result<Response, ApiError> {
    let mut allow =
        app.routes.get().map(|table| table.methods(matched.as_str())).unwrap_or_default();
    if allow.split(", ").any(|method| method == "GET") {
        allow = allow.replace("GET", "GET, HEAD");
    }
    if request.method() == Method::OPTIONS {
        let allow = HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("OPTIONS"));
        return Ok((StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response());
    }
    let mut error = ApiError::new(
        codes::METHOD_NOT_ALLOWED,
        format!("{} is not a method of this path. It answers {allow}.", request.method()),
    );
    error.allow = Some(allow);
    Err(error)
}
