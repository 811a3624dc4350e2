//! Idempotency keys that mean something else than was sent.

use axum::extract::Request;
use http::HeaderValue;

use super::asked::{Asked, KEY};
use crate::defects::catalogue::Defect;

/// The request with the key that is looked up.
pub(super) fn alter(defect: Defect, asked: &Asked, mut request: Request) -> Request {
    let Some(key) = asked.key.as_deref() else { return request };
    let other = match defect {
        Defect::SnapshotsTwice if asked.is("POST /sandboxes/{id}/snapshots") => None,
        Defect::KeyByPrefix => Some(key.chars().take(16).collect()),
        Defect::KeyWithoutCase => Some(key.to_lowercase()),
        Defect::LongKeyCut => Some(key.chars().take(255).collect()),
        Defect::KeyPerPath => {
            let text = crate::ids::fingerprint(&format!("{} {}", asked.path, asked.method));
            let whole: String = format!("{text}{key}").chars().take(255).collect();
            Some(if (1..=255).contains(&key.len()) { whole } else { key.to_owned() })
        }
        _ => return request,
    };
    request.headers_mut().remove(KEY);
    if let Some(value) = other.and_then(|text| HeaderValue::try_from(text).ok()) {
        request.headers_mut().insert(KEY, value);
    }
    request
}
