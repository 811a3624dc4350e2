//! Idempotency keys (`api-reference`, overview): the same key within 24 hours answers as the first time.
//!
//! The layer reads the whole body (which also bounds its size and its time), claims the key, lets the request run to
//! its end even when the client goes away, and keeps the answer. Two at once: the second waits for the first. Most
//! mutations keep their answer themselves, in their own transaction (`Exchange::commit`), so that a crash cannot
//! come between the deed and its record.
//!
//! Not kept, because the same request may pass later: 401, 403, 429, 5xx and refusals marked retryable. Except for
//! `OUTCOME_UNKNOWN`: what may have happened must not happen again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::answer::{Committed, Refused, X_REQUEST_ID, finish, response_of};
use super::error::{ApiError, ApiResult};
use super::exchange::{self, Exchange};
use super::route::JSON_LIMIT;
use super::{body, codes, spool};
use crate::app::App;
use crate::defects::defect;
use crate::store::idempotency::{Kept, Key, Record};

/// How long a key is remembered, in policy time.
pub const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// Marks a replay.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long the second of two at once waits for the first.
const WAIT: Duration = Duration::from_secs(660);

/// A kept stream is at most this long; a longer one cannot be replayed.
const MAX_KEPT_STREAM: usize = 4 * 1024 * 1024;

/// The keys whose first request is under way.
#[derive(Debug, Default)]
pub struct InFlight {
    keys: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

/// Holds a key until the request has its answer, however it ends.
struct Turn {
    app: App,
    key: Key,
    _done: watch::Sender<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.app.in_flight.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl InFlight {
    async fn turn(app: &App, key: &Key) -> ApiResult<Turn> {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let mut first = {
                let mut keys = app.in_flight.keys.lock().unwrap_or_else(PoisonError::into_inner);
                match keys.get(key) {
                    Some(first) if !defect!(BothRun) => first.clone(),
                    _ => {
                        let (done, wait) = watch::channel(());
                        keys.insert(key.clone(), wait);
                        return Ok(Turn { app: app.clone(), key: key.clone(), _done: done });
                    }
                }
            };
            // The sender is dropped when the first has its answer; that ends this wait with an error, as meant.
            if tokio::time::timeout_at(deadline, first.changed()).await.is_err() {
                return Err(ApiError::new(
                    codes::IDEMPOTENCY_IN_PROGRESS,
                    "The first request with this idempotency key is still under way.",
                )
                .retry_after(5));
            }
        }
    }
}

/// Reads the body, and for a mutation with a key sees to it that it happens once.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let exchange = match exchange::of(request.extensions()) {
        Ok(exchange) => exchange,
        Err(error) => return error.into_response(),
    };
    let route = exchange.route.get().copied();
    if exchange.method == Method::GET || exchange.method == Method::HEAD {
        return next.run(request).await;
    }
    let (mut parts, arriving) = request.into_parts();
    let limit = route.map_or(JSON_LIMIT, |route| route.body_limit);
    let spooled = route.is_some_and(|route| route.spooled);
    let read = if spooled {
        spool::read(&app, &parts.headers, arriving, limit).await.map(|(spooled, digest)| {
            parts.extensions.insert(spooled);
            (Bytes::new(), Bytes::from(digest))
        })
    } else {
        let read = body::read(&app, &parts.headers, arriving, limit).await;
        read.map(|bytes| (bytes.clone(), bytes))
    };
    let (bytes, content) = match read {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    let reach = exchange.caller.get().map(|caller| (caller.bound_workspace, &caller.scopes));
    let reach = format!("{reach:?}");
    let keyed = parts.headers.contains_key("idempotency-key");
    let said = keyed.then(|| fingerprint(&parts, &content, &reach));
    drop(content);
    let header = parts.headers.get("idempotency-key").cloned();
    let request = Request::from_parts(parts, Body::from(bytes));
    if header.is_none() && route.is_none_or(|route| route.ends_with_client) {
        return next.run(request).await;
    }
    let whole = {
        let app = app.clone();
        async move {
            let claimed = match claim(&app, &exchange, header, said).await {
                Ok(Claimed::Run(turn)) => turn,
                Ok(Claimed::Replay(response)) => return response,
                Err(error) => return error.into_response(),
            };
            let response = next.run(request).await;
            let Some(turn) = claimed else { return response };
            keep(&turn.app.clone(), &exchange, turn, finish(response, &exchange)).await
        }
    };
    defect!(LeaverForgotten => { return whole.await; });
    // A client that goes away must neither leave a mutation half done nor a key claimed by nobody: from the claim on,
    // the request goes on in a task of its own.
    let task = app.tasks.spawn(whole);
    task.await.unwrap_or_else(|error| {
        ApiError::internal(format!("the request's task ended: {error}")).into_response()
    })
}

enum Claimed {
    /// Run it; with a turn when it carries a key.
    Run(Option<Turn>),
    /// Answer this.
    Replay(Response),
}

async fn claim(
    app: &App,
    exchange: &Arc<Exchange>,
    header: Option<HeaderValue>,
    said: Option<Vec<u8>>,
) -> ApiResult<Claimed> {
    let (Some(caller), Some(route)) = (exchange.caller.get(), exchange.route.get()) else {
        return Ok(Claimed::Run(None));
    };
    let (Some(header), Some(said)) = (header, said) else { return Ok(Claimed::Run(None)) };
    if !route.built {
        return Ok(Claimed::Run(None));
    }
    let key = header
        .to_str()
        .ok()
        .map(str::trim)
        .filter(|key| (1..=255).contains(&key.len()))
        .ok_or_else(|| {
            ApiError::new(
                codes::BAD_REQUEST,
                "Idempotency-Key must have 1 to 255 printable ASCII characters.",
            )
        })?;
    let key = Key { org: defect!(KeysOfAll, uuid::Uuid::nil(), caller.org), key: key.to_owned() };
    let turn = InFlight::turn(app, &key).await?;
    let now = app.clock.now(caller.org);
    let record = Record {
        fingerprint: said,
        operation: app.ids.next(),
        created_at: now,
        request_id: exchange.request_id.clone(),
        answer: None,
    };
    let (operation, claimed_key, repeatable) = (record.operation, key.clone(), route.repeatable);
    let earlier = app
        .store
        .write(move |tx| -> ApiResult<Option<Record>> {
            if let Some(earlier) = tx.idempotency(&key)?
                && now.millis_since(earlier.created_at) < kept_ms()
                && !(defect!(BothRun) && earlier.answer.is_none())
            {
                if earlier.fingerprint != record.fingerprint && !defect!(OtherBodyReplayed) {
                    return Err(ApiError::new(
                        codes::IDEMPOTENCY_PAYLOAD_MISMATCH,
                        "This idempotency key was used for another request.",
                    ));
                }
                return Ok(Some(earlier));
            }
            tx.claim_idempotency(&key, &record, repeatable)?;
            Ok(None)
        })
        .await?;
    match earlier {
        None => {
            let _ = exchange.claim.set((claimed_key, operation));
            Ok(Claimed::Run(Some(turn)))
        }
        Some(Record { answer: Some(kept), request_id, .. }) => {
            exchange.flag("replayed");
            let mut response = response_of(kept);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            if let Ok(id) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert(X_REQUEST_ID, id);
            }
            Ok(Claimed::Replay(response))
        }
        Some(_) => Err(outcome_unknown()),
    }
}

/// How long a key is remembered, in milliseconds.
fn kept_ms() -> i64 {
    match () {
        () if defect!(KeptAnHour) => 60 * 60 * 1000,
        () if defect!(KeptForever) => i64::MAX,
        () => KEPT_SECONDS * 1000,
    }
}

/// What a key answers whose request was cut off where nobody can know how far it came.
pub fn outcome_unknown() -> ApiError {
    ApiError::new(
        codes::OUTCOME_UNKNOWN,
        "The emulator stopped while this request ran; whether it took effect is not known. It will not run again under this key.",
    )
}

async fn keep(app: &App, exchange: &Arc<Exchange>, turn: Turn, mut response: Response) -> Response {
    if response.extensions().get::<Committed>().is_some() {
        return response;
    }
    let status = response.status().as_u16();
    let refused = response.extensions().get::<Refused>().map(|refused| refused.code);
    let passing =
        matches!(status, 401 | 403 | 429 | 500..) || refused.is_some_and(|code| code.retryable);
    if passing && refused != Some(codes::OUTCOME_UNKNOWN) {
        let key = turn.key.clone();
        let released: ApiResult<()> =
            app.store.write(move |tx| Ok(tx.release_idempotency(&key)?)).await;
        if let Err(error) = released {
            tracing::error!(
                request_id = exchange.request_id,
                "a key could not be released: {:?}",
                error.log
            );
        }
        return response;
    }
    let headers: Vec<(String, String)> = [CONTENT_TYPE, LOCATION]
        .iter()
        .filter_map(|name| {
            Some((name.to_string(), response.headers().get(name)?.to_str().ok()?.to_owned()))
        })
        .collect();
    let streaming = headers.iter().any(|(_, value)| value.starts_with("text/event-stream"));
    if streaming {
        let (parts, body) = response.into_parts();
        return Response::from_parts(
            parts,
            keep_stream(
                body,
                Keeper {
                    turn: Some(turn),
                    request_id: exchange.request_id.clone(),
                    status,
                    headers,
                    body: Vec::new(),
                },
            ),
        );
    }
    let body = std::mem::take(response.body_mut());
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return ApiError::internal("an answer broke off while it was kept").into_response();
    };
    let kept = Kept { status, headers, body: body.to_vec() };
    let key = turn.key.clone();
    let stored: ApiResult<()> =
        app.store.write(move |tx| Ok(tx.answer_idempotency(&key, &kept)?)).await;
    if let Err(error) = stored {
        return finish(error.into_response(), exchange);
    }
    *response.body_mut() = Body::from(body);
    response
}

/// Keeps a stream as it passes; one that is cut off or too long is kept as unknown.
struct Keeper {
    turn: Option<Turn>,
    request_id: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Keeper {
    fn store(&mut self, whole: bool) {
        let Some(turn) = self.turn.take() else { return };
        let kept = if whole && self.body.len() <= MAX_KEPT_STREAM {
            Kept {
                status: self.status,
                headers: std::mem::take(&mut self.headers),
                body: std::mem::take(&mut self.body),
            }
        } else {
            unknown_kept(&self.request_id)
        };
        let app = turn.app.clone();
        app.clone().tasks.spawn(async move {
            let key = turn.key.clone();
            let stored: ApiResult<()> =
                app.store.write(move |tx| Ok(tx.answer_idempotency(&key, &kept)?)).await;
            if let Err(error) = stored {
                tracing::error!("a stream could not be kept: {:?}", error.log);
            }
            drop(turn);
        });
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.store(false);
    }
}

fn keep_stream(body: Body, keeper: Keeper) -> Body {
    let stream = futures_util::stream::unfold(
        (body.into_data_stream(), keeper),
        |(mut stream, mut keeper)| async move {
            match stream.next().await {
                Some(chunk) => {
                    if let Ok(bytes) = &chunk
                        && keeper.body.len() <= MAX_KEPT_STREAM
                    {
                        keeper.body.extend_from_slice(bytes);
                    }
                    Some((chunk, (stream, keeper)))
                }
                None => {
                    keeper.store(true);
                    None
                }
            }
        },
    );
    Body::from_stream(stream)
}

/// The kept answer of a request whose outcome cannot be known.
pub fn unknown_kept(request_id: &str) -> Kept {
    Kept {
        status: codes::OUTCOME_UNKNOWN.status,
        headers: vec![(CONTENT_TYPE.to_string(), "application/json".to_owned())],
        body: outcome_unknown().body(request_id, false).to_string().into_bytes(),
    }
}

/// What the request says, as a digest: method, path, query, workspace and content. Not its boundaries and spaces.
/// And how far its credential reaches, so that a narrower one never reads the answer to a wider one.
fn fingerprint(request: &Parts, body: &Bytes, reach: &str) -> Vec<u8> {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(request.method.as_str().as_bytes());
    part(request.uri.path().as_bytes());
    let mut query: Vec<&str> = request.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    part(query.join("&").as_bytes());
    part(request.headers.get("x-miosa-workspace").map_or(b"", HeaderValue::as_bytes));
    part(reach.as_bytes());
    let content_type =
        request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Some((_, boundary)) = content_type.split_once("boundary=") {
        part(&without(body, boundary.trim_matches('"').as_bytes()));
    } else if let Ok(json) = serde_json::from_slice::<Value>(body)
        && !defect!(RawBodyCompared)
    {
        part(canonical(json).to_string().as_bytes());
    } else {
        part(body);
    }
    digest.finalize().to_vec()
}

/// The same value with the members of every object in order.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.into_iter().map(|(name, value)| (name, canonical(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

/// The bytes without any occurrence of `needle`.
fn without(bytes: &[u8], needle: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let mut kept = Vec::with_capacity(bytes.len());
    while let Some((first, tail)) = rest.split_first() {
        match rest.strip_prefix(needle).filter(|_| !needle.is_empty()) {
            Some(after) => rest = after,
            None => {
                kept.push(*first);
                rest = tail;
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: &str, body: &str) -> Vec<u8> {
        let request = http::Request::post("/api/v1/x")
            .header(CONTENT_TYPE, content_type)
            .body(())
            .unwrap()
            .into_parts()
            .0;
        fingerprint(&request, &Bytes::from(body.to_owned()), "")
    }

    #[test]
    fn order_and_space_make_no_difference_and_content_does() {
        let json = "application/json";
        assert_eq!(
            of(json, r#"{"a":1,"b":{"c":2,"d":3}}"#),
            of(json, r#"{ "b": {"d":3, "c":2}, "a": 1 }"#)
        );
        assert_ne!(of(json, r#"{"a":1}"#), of(json, r#"{"a":2}"#));
        assert_ne!(of(json, r#"{"a":[1,2]}"#), of(json, r#"{"a":[2,1]}"#));
    }

    #[test]
    fn boundaries_make_no_difference() {
        let form = |boundary: &str| {
            of(
                &format!("multipart/form-data; boundary={boundary}"),
                &format!("--{boundary}\r\nx\r\n--{boundary}--"),
            )
        };
        assert_eq!(form("aaa"), form("bbb"));
    }
}
