//! One request and its answer: what the layers learn about it on the way, for each other and for the journal.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::extract::FromRequestParts;
use http::request::Parts;
use uuid::Uuid;

use super::auth::Caller;
use super::error::ApiError;
use super::route::RouteInfo;
use super::tickets::Errand;
use crate::clock::Timestamp;
use crate::store::idempotency::Key;

/// How envelopes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Envelope {
    /// The documented fields, and beside them what official clients read elsewhere.
    #[default]
    Superset,
    /// Exactly the overview page.
    Documented,
}

/// What is known of a request. Cheap to share; each fact is written once.
#[derive(Debug)]
pub struct Exchange {
    /// `X-Request-ID` of the answer, and of its error.
    pub request_id: String,
    /// How its envelope is written.
    pub envelope: Envelope,
    /// When it came, on the monotonic clock.
    pub started: Instant,
    /// The method.
    pub method: http::Method,
    /// Path and query as the client sent them.
    pub target: String,
    /// The route it matched.
    pub route: OnceLock<&'static RouteInfo>,
    /// Who sent it.
    pub caller: OnceLock<Caller>,
    /// When its caller was identified, in policy time.
    pub at: OnceLock<Timestamp>,
    /// Where it came from.
    pub address: OnceLock<IpAddr>,
    /// The row that its path names first.
    pub subject: OnceLock<Subject>,
    /// The idempotency key it has claimed, with the operation's id.
    pub claim: OnceLock<(Key, Uuid)>,
    errand: Mutex<Option<Errand>>,
    notes: Mutex<Notes>,
}

/// The row that a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Its kind.
    pub kind: &'static str,
    /// Its id.
    pub id: Uuid,
    /// The workspace that it belongs to.
    pub workspace: Option<Uuid>,
}

/// What the journal shows beside the plain facts.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Fields and parameters that the client sent and nobody read.
    pub unread: Vec<String>,
    /// Whether the handler looked at the query at all.
    pub query_read: bool,
    /// Words: `replayed`, `items_left_out`, `would_refuse:…`, `would_limit`.
    pub flags: Vec<String>,
    /// What only the log reads of an error.
    pub error: Option<String>,
    /// The request's body, up to the journal's bound.
    pub request_body: Option<bytes::Bytes>,
}

impl Exchange {
    /// A new one.
    pub fn new(
        request_id: String,
        envelope: Envelope,
        method: http::Method,
        target: String,
    ) -> Self {
        Self {
            request_id,
            envelope,
            started: Instant::now(),
            method,
            target,
            route: OnceLock::new(),
            caller: OnceLock::new(),
            at: OnceLock::new(),
            address: OnceLock::new(),
            subject: OnceLock::new(),
            claim: OnceLock::new(),
            errand: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Writes into the notes.
    pub fn note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a flag.
    pub fn flag(&self, flag: impl Into<String>) {
        self.note(|notes| notes.flags.push(flag.into()));
    }

    /// The notes so far.
    pub fn notes(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the errand that its ticket carries.
    pub fn bring(&self, errand: Errand) {
        *self.errand.lock().unwrap_or_else(PoisonError::into_inner) = Some(errand);
    }

    /// The errand that its ticket carried.
    pub fn take_errand(&self) -> Option<Errand> {
        self.errand.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The operation that this request is: the claimed one, or a fresh id.
    pub fn operation(&self) -> Uuid {
        self.claim.get().map_or_else(Uuid::new_v4, |(_, operation)| *operation)
    }
}

impl<S: Sync> FromRequestParts<S> for ExchangeRef {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        of(&parts.extensions).map(ExchangeRef)
    }
}

/// The exchange of the request that a handler answers.
#[derive(Debug, Clone)]
pub struct ExchangeRef(pub Arc<Exchange>);

impl std::ops::Deref for ExchangeRef {
    type Target = Arc<Exchange>;
    fn deref(&self) -> &Arc<Exchange> {
        &self.0
    }
}

/// The exchange that the outermost layer has put into the extensions.
pub fn of(extensions: &http::Extensions) -> Result<Arc<Exchange>, ApiError> {
    extensions
        .get::<Arc<Exchange>>()
        .cloned()
        .ok_or_else(|| ApiError::internal("no exchange: a layer is missing"))
}
