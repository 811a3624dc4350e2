//! Envelopes. A handler says *what* it answers; how it is written is decided here, once.
//!
//! `superset` (the default): a single object is its fields and the same object under `data`; a list is `data`, `page`,
//! `meta` and the family's plural. `documented`: exactly the overview page. Why both: `docs/contract-choices.md`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::error::{ApiError, ApiResult};
use super::exchange::{Envelope, Exchange};
use super::pagination::Portion;
use crate::store::idempotency::Kept;
use crate::store::{Listing, Resource, Tx};

/// The header that carries the request id, on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// One object.
    One {
        /// 200, 201 or 202.
        status: StatusCode,
        /// The object.
        value: Value,
        /// Fields that stand beside `data`, not in it (`share_url` beside a preview).
        beside: Map<String, Value>,
        /// `Location` of what was made.
        location: Option<String>,
    },
    /// A list.
    List {
        /// The items.
        items: Vec<Value>,
        /// The key beside `data`.
        plural: &'static str,
        /// How many there are in all.
        total: u64,
        /// The page's number.
        page: u64,
        /// The page's size.
        size: u32,
        /// Where the next part begins.
        next_cursor: Option<String>,
        /// Further fields of `meta`.
        meta: Map<String, Value>,
    },
    /// 204.
    Empty,
    /// JSON exactly as it is, in no envelope: for the few answers whose shape is their own (`/health`).
    Bare {
        /// The status.
        status: StatusCode,
        /// The body.
        value: Value,
    },
}

impl Answer {
    /// 200 with an object.
    pub fn ok(value: &impl Serialize) -> ApiResult<Self> {
        Ok(Self::One {
            status: StatusCode::OK,
            value: to_value(value)?,
            beside: Map::new(),
            location: None,
        })
    }

    /// 201 with an object and its `Location` (a path below `/api/v1`).
    pub fn created(value: &impl Serialize, location: String) -> ApiResult<Self> {
        Ok(Self::One {
            status: StatusCode::CREATED,
            value: to_value(value)?,
            beside: Map::new(),
            location: Some(format!("/api/v1{location}")),
        })
    }

    /// 202 with an object: what it speaks of goes on.
    pub fn accepted(value: &impl Serialize) -> ApiResult<Self> {
        Ok(Self::One {
            status: StatusCode::ACCEPTED,
            value: to_value(value)?,
            beside: Map::new(),
            location: None,
        })
    }

    /// Adds a field beside `data`.
    #[must_use]
    pub fn beside(mut self, name: &str, field: Value) -> Self {
        if let Self::One { beside, .. } = &mut self {
            beside.insert(name.to_owned(), field);
        }
        self
    }

    /// Adds a field to the object itself.
    #[must_use]
    pub fn within(mut self, name: &str, field: Value) -> Self {
        if let Self::One { value: Value::Object(members), .. } = &mut self {
            members.insert(name.to_owned(), field);
        }
        self
    }

    /// 200 with a part of a list, each item as `show` writes it.
    pub fn list<R: Resource, V: Serialize>(
        listing: Listing<R>,
        mut show: impl FnMut(R) -> V,
    ) -> ApiResult<Self> {
        let items = listing
            .items
            .into_iter()
            .map(|item| to_value(&show(item)))
            .collect::<ApiResult<_>>()?;
        Ok(Self::List {
            items,
            plural: R::PLURAL,
            total: listing.total,
            page: listing.paging.page(),
            size: listing.paging.size(),
            next_cursor: listing.next_cursor.map(|seq| seq.to_string()),
            meta: Map::new(),
        })
    }

    /// 200 with a whole list that needs no pages.
    pub fn whole(items: Vec<Value>, plural: &'static str) -> Self {
        let total = items.len() as u64;
        let size = u32::try_from(total).unwrap_or(u32::MAX).max(1);
        Self::List { items, plural, total, page: 1, size, next_cursor: None, meta: Map::new() }
    }

    /// 200 with a part of a list that was at hand as a whole.
    pub fn portion(part: Portion, plural: &'static str) -> Self {
        let Portion { items, total, page, size, next_cursor } = part;
        Self::List { items, plural, total, page, size, next_cursor, meta: Map::new() }
    }

    /// The same answer as it is kept for replays and written to the client.
    pub fn render(&self, envelope: Envelope) -> Kept {
        match self {
            Self::Empty => Kept { status: 204, headers: Vec::new(), body: Vec::new() },
            Self::Bare { status, value } => kept(*status, value.to_string(), None),
            Self::One { status, value, beside, location } => {
                let mut body = Members::default();
                if let (Envelope::Superset, Value::Object(fields)) = (envelope, value) {
                    let own = |name: &str| name != "data" && !beside.contains_key(name);
                    body.extend(fields.iter().filter(|(name, _)| own(name)));
                }
                body.extend(beside);
                body.add("data", Part::Value(value));
                kept(*status, body.text(), location.as_deref())
            }
            Self::List { items, plural, total, page, size, next_cursor, meta } => {
                let part = json!({ "page": page, "page_size": size, "total": total });
                let mut all = json!({
                    "total": total, "page": page, "per_page": size, "limit": size,
                    "total_pages": total.div_ceil(u64::from((*size).max(1))),
                    "has_next_page": next_cursor.is_some(),
                });
                if let Value::Object(all) = &mut all {
                    all.extend(meta.clone());
                }
                let (total, next) = (json!(total), json!(next_cursor));
                let mut body = Members::default();
                body.add("data", Part::Items(items));
                body.add("page", Part::Value(&part));
                if envelope == Envelope::Superset {
                    body.add("meta", Part::Value(&all));
                    body.add(plural, Part::Items(items));
                    body.add("total", Part::Value(&total));
                    body.add("next_cursor", Part::Value(&next));
                }
                kept(StatusCode::OK, body.text(), None)
            }
        }
    }
}

fn kept(status: StatusCode, body: String, location: Option<&str>) -> Kept {
    let mut headers = vec![(CONTENT_TYPE.to_string(), "application/json".to_owned())];
    headers.extend(location.map(|to| (LOCATION.to_string(), to.to_owned())));
    Kept { status: status.as_u16(), headers, body: body.into_bytes() }
}

/// A JSON object whose members stay where they are: an object or list that is written twice is not copied for it.
#[derive(Default)]
struct Members<'a>(Vec<(&'a str, Part<'a>)>);

enum Part<'a> {
    Value(&'a Value),
    Items(&'a [Value]),
}

impl<'a> Members<'a> {
    fn add(&mut self, name: &'a str, part: Part<'a>) {
        self.0.push((name, part));
    }

    fn extend(&mut self, members: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        self.0.extend(members.into_iter().map(|(name, value)| (name.as_str(), Part::Value(value))));
    }

    fn text(&self) -> String {
        // Values that are JSON already cannot fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, part)| (name, part)))
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Items(items) => items.serialize(serializer),
        }
    }
}

/// A value as JSON.
pub fn to_value(value: &impl Serialize) -> ApiResult<Value> {
    serde_json::to_value(value)
        .map_err(|error| ApiError::internal(format!("an answer is not JSON: {error}")))
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Marks a response whose idempotency record was committed with its mutation.
#[derive(Debug, Clone, Copy)]
pub struct Committed;

/// An answer that was committed in the transaction of its mutation.
#[derive(Debug)]
pub struct CommittedAnswer(Kept);

impl IntoResponse for CommittedAnswer {
    fn into_response(self) -> Response {
        let mut response = response_of(self.0);
        response.extensions_mut().insert(Committed);
        response
    }
}

impl Exchange {
    /// Writes the answer and, in the same transaction, the record that a replay answers from and the audit log's.
    pub fn commit(&self, tx: &Tx<'_>, answer: &Answer) -> ApiResult<CommittedAnswer> {
        self.commit_with(tx, answer, &[])
    }

    /// The same with headers of its own.
    pub fn commit_with(
        &self,
        tx: &Tx<'_>,
        answer: &Answer,
        headers: &[(HeaderName, &str)],
    ) -> ApiResult<CommittedAnswer> {
        let mut kept = answer.render(self.envelope);
        kept.headers.extend(headers.iter().map(|(n, value)| (n.to_string(), (*value).to_owned())));
        if let Some(deed) = self.committed_deed(kept.status, answer) {
            tx.record_deed(&deed)?;
        }
        if let Some((key, _)) = self.claim.get() {
            tx.answer_idempotency(key, &kept)?;
        }
        Ok(CommittedAnswer(kept))
    }
}

/// The response of a kept answer.
pub fn response_of(kept: Kept) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(kept.body)));
    *response.status_mut() =
        StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Writes the body of an answer or error that a handler or layer has only named.
pub fn finish(mut response: Response, exchange: &Arc<Exchange>) -> Response {
    if let Some(answer) = response.extensions_mut().remove::<Answer>() {
        let mut written = response_of(answer.render(exchange.envelope));
        carry_over(response, &mut written);
        return written;
    }
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        if let Some(log) = &error.log {
            if error.code.status >= 500 {
                tracing::error!(request_id = exchange.request_id, code = error.code.name, "{log}");
            }
            exchange.note(|notes| notes.error = Some(log.clone()));
        }
        let body = error.body(&exchange.request_id, exchange.envelope == Envelope::Documented);
        let mut written = response_of(Kept {
            status: error.code.status,
            headers: vec![(CONTENT_TYPE.to_string(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        });
        if let Some(seconds) = error.retry_after {
            written.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) =
            error.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok())
        {
            written.headers_mut().insert(ALLOW, allow);
        }
        carry_over(response, &mut written);
        written.extensions_mut().insert(Refused { code: error.code });
        return written;
    }
    response
}

/// The code of an error that has been written, for the layers outside.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// The code.
    pub code: super::codes::Code,
}

/// Keeps headers and extensions that were set on the unwritten response.
fn carry_over(from: Response, to: &mut Response) {
    let (parts, _) = from.into_parts();
    let keep = |headers: HeaderMap, to: &mut HeaderMap| {
        let mut last = None;
        for (name, value) in headers {
            last = name.or(last);
            if let Some(name) = &last
                && !to.contains_key(name)
                && *name != http::header::CONTENT_LENGTH
            {
                to.append(name.clone(), value);
            }
        }
    };
    keep(parts.headers, to.headers_mut());
    to.extensions_mut().extend(parts.extensions);
}
