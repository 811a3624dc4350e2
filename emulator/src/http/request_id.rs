//! The outermost layer: every request gets an id, every answer carries it, and nothing leaves unwritten.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;

use super::answer::{X_REQUEST_ID, finish};
use super::codes;
use super::error::ApiError;
use super::exchange::Exchange;
use super::paths::Sent;
use super::{deeds, rate_limit};
use crate::app::App;

/// No answer takes longer to begin than this: the longest exec (600 s) and its wait, with room.
const LONGEST: Duration = Duration::from_secs(900);

/// Makes the exchange, runs the rest, writes what it answered, and tells the journal.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let request_id = format!("req_{}", app.ids.next().simple());
    let sent = request.extensions().get::<Sent>().cloned();
    let Sent(sent) = sent.unwrap_or_else(|| Sent::of(request.uri()));
    let exchange =
        Arc::new(Exchange::new(request_id, app.config.envelope, request.method().clone(), sent));
    if let Some(path) = request.extensions().get::<MatchedPath>()
        && let Some(route) =
            app.routes.get().and_then(|table| table.find(request.method(), path.as_str()))
    {
        let _ = exchange.route.set(route);
    }
    if let Some(address) = rate_limit::address(&request) {
        let _ = exchange.address.set(address);
    }
    request.extensions_mut().insert(Arc::clone(&exchange));
    let response = match tokio::time::timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(codes::UNAVAILABLE, "The request took longer than any may.")
            .into_response(),
    };
    let mut response = finish(response, &exchange);
    if let Ok(id) = HeaderValue::from_str(&exchange.request_id)
        && !response.headers().contains_key(X_REQUEST_ID)
    {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    deeds::record(&app, &exchange, &response);
    app.journal.record(&app, &exchange, &response);
    response
}

/// A panic in a handler, as an error: journalled, answered, never a dropped connection.
pub fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned());
    ApiError::internal(format!("panic: {text}")).into_response()
}
