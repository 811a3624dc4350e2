//! What was asked and what was answered, for the person who wonders why: `GET /_emulator/requests`.
//!
//! Capped by count and by bytes. Secrets never get in: no header values, and credentials in a query are struck out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use serde::Serialize;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::answer::Refused;
use super::exchange::Exchange;
use super::pagination::PARAMETERS;
use super::presented;
use crate::app::App;
use crate::clock::Timestamp;

/// One exchange.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its place in the journal's order, from 1.
    pub seq: u64,
    /// `X-Request-ID`.
    pub request_id: String,
    /// When it was answered, in policy time.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// Path and query, secrets struck out.
    pub target: String,
    /// The route it matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
    /// The family of that route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<&'static str>,
    /// The organization of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<Uuid>,
    /// The status.
    pub status: u16,
    /// The code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Milliseconds until the answer began.
    pub duration_ms: u64,
    /// Fields and parameters that were sent and that nobody read: a misspelt one is seen here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread_fields: Vec<String>,
    /// `replayed`, `items_left_out`, `would_refuse:…`, `would_limit`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Why, in the log's words, for a 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Entry {
    fn bytes(&self) -> usize {
        160 + self.target.len()
            + self.error.as_ref().map_or(0, String::len)
            + self.unread_fields.iter().chain(&self.flags).map(String::len).sum::<usize>()
    }
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Entry>,
    max_entries: usize,
    max_bytes: usize,
}

impl Journal {
    /// An empty one with its caps.
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { kept: Mutex::default(), live: broadcast::channel(256).0, max_entries, max_bytes }
    }

    /// Adds an exchange that has been answered.
    pub fn record(&self, app: &App, exchange: &Exchange, response: &Response) {
        let mut notes = exchange.notes();
        if !notes.query_read && exchange.route.get().is_some_and(|route| route.built) {
            notes.unread.extend(parameters(&exchange.target));
        }
        let caller = exchange.caller.get();
        let route = exchange.route.get();
        if route.is_some_and(|route| route.ticketed) {
            notes
                .unread
                .retain(|name| !presented::PARAMETERS.contains(&name.trim_start_matches('?')));
        }
        let entry = Entry {
            seq: 0,
            request_id: exchange.request_id.clone(),
            at: caller.map_or_else(|| app.clock.base(), |caller| app.clock.now(caller.org)),
            method: exchange.method.to_string(),
            target: without_secrets(&exchange.target),
            route: route.map(|route| route.path),
            family: route.map(|route| route.family),
            organization_id: caller.map(|caller| caller.org),
            status: response.status().as_u16(),
            code: response.extensions().get::<Refused>().map(|refused| refused.code.name),
            duration_ms: u64::try_from(exchange.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            unread_fields: notes.unread,
            flags: notes.flags,
            error: notes.error,
        };
        tracing::debug!(
            request_id = entry.request_id,
            method = entry.method,
            target = entry.target,
            status = entry.status,
            ms = entry.duration_ms,
            "answered"
        );
        self.push(entry);
    }

    fn push(&self, mut entry: Entry) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.next += 1;
        entry.seq = kept.next;
        kept.bytes += entry.bytes();
        kept.entries.push_back(entry.clone());
        while kept.entries.len() > self.max_entries || kept.bytes > self.max_bytes {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(oldest.bytes());
        }
        drop(kept);
        // Nobody listening is fine.
        let _ = self.live.send(entry);
    }

    /// The newest entries that pass `keep`, newest first.
    pub fn newest(&self, limit: usize, keep: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.iter().rev().filter(|entry| keep(entry)).take(limit).cloned().collect()
    }

    /// Entries from now on.
    pub fn live(&self) -> broadcast::Receiver<Entry> {
        self.live.subscribe()
    }

    /// Forgets the entries of an organization.
    pub fn forget(&self, org: Uuid) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.retain(|entry| entry.organization_id != Some(org));
        kept.bytes = kept.entries.iter().map(Entry::bytes).sum();
    }
}

/// The names of a query that no handler looked at, paging left aside (it is read apart).
fn parameters(target: &str) -> Vec<String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let names = pairs.into_iter().map(|(name, _)| name);
    names
        .filter(|name| !PARAMETERS.contains(&name.as_str()))
        .take(32)
        .map(|name| format!("?{name}"))
        .collect()
}

/// Query parameters that carry a credential.
const SECRET_PARAMETERS: &[&str] = &[
    "token",
    "ticket",
    "preview_token",
    "access_token",
    "mt",
    "ms",
    "mp",
    "api_key",
    "apikey",
    "key",
    "secret",
    "password",
    "authorization",
    "signature",
    "sig",
    // The variables of a command that a WebSocket starts.
    "env",
];

/// Path and query with credentials struck out: by the parameter's name however it is written, and anything that
/// looks like a key wherever it stands.
fn without_secrets(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return without_keys(target) };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            _ => without_keys(pair),
        })
        .collect();
    format!("{}?{}", without_keys(path), pairs.join("&"))
}

fn is_secret(name: &str) -> bool {
    let read: Vec<(String, String)> = serde_urlencoded::from_str(name).unwrap_or_default();
    let plain = read.first().map_or(name, |(name, _)| name.as_str()).to_ascii_lowercase();
    SECRET_PARAMETERS.contains(&plain.as_str())
}

fn without_keys(text: &str) -> String {
    let mut parts = text.split("msk_");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let key =
            part.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b)).count();
        clean.push_str("msk_***");
        clean.push_str(part.get(key..).unwrap_or_default());
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: &str) -> Entry {
        Entry {
            seq: 0,
            request_id: String::new(),
            at: Timestamp(0),
            method: "GET".into(),
            target: target.into(),
            route: None,
            family: None,
            organization_id: None,
            status: 200,
            code: None,
            duration_ms: 0,
            unread_fields: vec![],
            flags: vec![],
            error: None,
        }
    }

    #[test]
    fn the_journal_keeps_to_its_caps() {
        let journal = Journal::new(3, 10_000);
        for n in 0..5 {
            journal.push(entry(&format!("/{n}")));
        }
        let kept: Vec<_> =
            journal.newest(10, |_| true).into_iter().map(|entry| entry.target).collect();
        assert_eq!(kept, ["/4", "/3", "/2"]);
        let small = Journal::new(1000, 500);
        for _ in 0..100 {
            small.push(entry(&"x".repeat(100)));
        }
        assert!(small.newest(1000, |_| true).len() <= 2);
    }

    #[test]
    fn credentials_in_a_query_are_struck_out() {
        assert_eq!(without_secrets("/x?ticket=abc&a=1"), "/x?ticket=***&a=1");
        assert_eq!(without_secrets("/x?To%6ben=abc&a=token"), "/x?To%6ben=***&a=token");
        assert_eq!(without_secrets("/x/msk_live_abc/y?q=msk_test_1&z"), "/x/msk_***/y?q=msk_***&z");
    }
}
