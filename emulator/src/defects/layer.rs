//! Faults made from requests and answers, outside of all other layers: the emulator itself stays right.
//!
//! The control page is left alone: it is the test's own equipment.

mod asked;
mod headers;
mod keys;
mod memory;
mod records;
mod refusals;
mod requests;
mod streams;
mod texts;
mod whole;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use asked::Asked;
use whole::Whole;

/// The layer. With a fault that is made elsewhere, or none, it does nothing.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(defect) = super::layered().filter(|_| !request.uri().path().starts_with("/_")) else {
        return next.run(request).await;
    };
    let asked = Asked::of(&app, &request);
    let request = match requests::alter(defect, &asked, request).await {
        Ok(request) => keys::alter(defect, &asked, request),
        Err(answer) => return answer,
    };
    if let Some(kept) = memory::answer(defect, &asked) {
        return kept;
    }
    let response = streams::alter(defect, next.run(request).await);
    let mut whole = Whole::of(response).await;
    headers::alter(defect, &asked, &mut whole);
    records::alter(defect, &asked, &mut whole);
    refusals::alter(defect, &asked, &mut whole);
    texts::alter(defect, &asked, &mut whole);
    memory::alter(defect, &asked, &mut whole);
    whole.into_response()
}
