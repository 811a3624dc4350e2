//! Answers of a test, held against the contract as they come.
#![allow(dead_code, clippy::panic, clippy::indexing_slicing, missing_docs)]

use http::{HeaderMap, Method};
use miosa_emulator::http::exchange::Envelope;
use miosa_openapi::check::{Contract, Finding, Kind};
use serde_json::Value;

/// What of the contract a client's answers keep.
#[derive(Debug, Clone, Copy)]
pub enum Promise {
    /// All of it.
    Whole,
    /// What the overview page shows of it. The contract describes the superset: an object's fields beside `data`, a
    /// list's `meta` and plural beside `data` and `page`. Those are left out here, so they are not missed, but `data` is,
    /// and a list's `page`. What is there, and everything inside of `data` and of an error, is as the contract says.
    Documented,
    /// Nothing.
    Nothing { why: &'static str },
}

impl Promise {
    pub fn of(envelope: Envelope) -> Self {
        match envelope {
            Envelope::Superset => Self::Whole,
            Envelope::Documented => Self::Documented,
        }
    }

    /// Fails the test when an answer under `/api/v1` breaks it. Of a stream the body has not been read.
    #[track_caller]
    pub fn hold(
        self,
        method: &Method,
        path: &str,
        status: u16,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) {
        let Some(path) = below_base(path) else { return };
        let contract = Contract::get();
        let checked = match body {
            _ if matches!(self, Self::Nothing { .. }) => return,
            Some(body) => contract.check(method, &path, status, headers, body),
            None => contract.check_head(method, &path, status, headers),
        };
        let Err(mut violation) = checked else { return };
        if matches!(self, Self::Documented) && status < 400 {
            let beside = |finding: &Finding| finding.kind == Kind::Missing && finding.at.is_empty();
            violation.findings.retain(|finding| !beside(finding) || !stands_alone(body));
        }
        assert!(violation.findings.is_empty(), "{violation}");
    }
}

/// Reads the contract, which takes a while the first time.
pub fn read() {
    Contract::get();
}

/// What stands below the API's base, in every form that means it; `None` for what is elsewhere.
fn below_base(path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let clean: String =
        path.split('/').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
    let (mut below, mut found) = (clean.as_str(), false);
    while let Some(rest) = below.strip_prefix("/api/v1") {
        if !rest.is_empty() && !rest.starts_with('/') {
            break;
        }
        (below, found) = (rest, true);
    }
    found.then(|| below.to_owned())
}

/// Whether a body is an object, or a list and its page, as the overview page shows them.
fn stands_alone(body: Option<&[u8]>) -> bool {
    let read = body.and_then(|body| serde_json::from_slice::<Value>(body).ok()).unwrap_or_default();
    match &read["data"] {
        Value::Object(_) => true,
        Value::Array(_) => read["page"].is_object(),
        _ => false,
    }
}
