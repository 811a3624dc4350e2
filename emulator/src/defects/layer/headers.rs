//! Statuses and headers that say something else than they should.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use serde_json::json;

use super::asked::Asked;
use super::whole::Whole;
use crate::defects::catalogue::Defect;
use crate::http::answer::X_REQUEST_ID;

/// Changes status and headers.
pub(super) fn alter(defect: Defect, asked: &Asked, whole: &mut Whole) {
    let status = whole.status();
    let replayed = whole.header("idempotency-replayed").is_some();
    match defect {
        Defect::EmptyWithBody if status == 204 => whole.replace(204, json!({})),
        Defect::JsonTypedText if asked.is("GET /api-keys/{id}") => {
            whole.set(CONTENT_TYPE, "text/plain; charset=utf-8");
        }
        Defect::OneRequestId => whole.set(X_REQUEST_ID, "req_00000000000000000000000000000001"),
        Defect::CreateAnswersOk if asked.is("POST /projects") && status == 201 => {
            whole.set_status(200);
        }
        Defect::PauseAccepted if asked.is("POST /sandboxes/{id}/pause") && status == 200 => {
            whole.set_status(202);
        }
        Defect::HeadIsNotThere if asked.method == http::Method::HEAD => {
            whole.set_status(405);
            whole.set(ALLOW, "GET");
        }
        Defect::LocationElsewhere => {
            if let Some(place) = whole.header("location") {
                let other = place.replace("/api/v1/", "/api/v1/resources/");
                whole.set(LOCATION, &other);
            }
        }
        Defect::ReplayWithoutLocation if replayed => drop(whole.headers().remove(LOCATION)),
        Defect::ReplayIsOk if replayed && status == 201 => whole.set_status(200),
        Defect::RetryAfterMilliseconds => {
            let seconds = whole.header("retry-after").and_then(|text| text.parse::<u64>().ok());
            if let Some(seconds) = seconds {
                whole.set(RETRY_AFTER, &(seconds * 1000).to_string());
            }
        }
        Defect::RemainingJumps => jump(whole),
        Defect::DownloadTypedJson
            if whole.header("content-type") == Some("application/octet-stream") =>
        {
            whole.set(CONTENT_TYPE, "application/json");
        }
        _ => {}
    }
}

/// Two processes behind one address count by themselves, and the client meets one after the other.
fn jump(whole: &mut Whole) {
    const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
    static TURN: AtomicU64 = AtomicU64::new(0);
    let left = whole.header("x-ratelimit-remaining").and_then(|text| text.parse::<u64>().ok());
    if let Some(left) = left
        && TURN.fetch_add(1, Ordering::Relaxed) % 2 == 1
    {
        whole.set(REMAINING, &(left + 5).to_string());
    }
}
