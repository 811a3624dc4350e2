//! A request on its way.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::{Client, Reply};
use crate::exchange::{Answered, Exchange, Header};
use crate::fault::Fault;
use crate::target::wire::Body;
use crate::target::{BOUND, Profile};

/// A request, to be added to and sent.
#[derive(Clone)]
#[must_use = "a request that is not sent says nothing"]
pub struct Sending {
    client: Client,
    method: Method,
    path: String,
    headers: Vec<Header>,
    body: Bytes,
    json: Option<Value>,
    bound: Duration,
    apart: bool,
    budgeted: bool,
}

impl Sending {
    pub(super) fn new(client: &Client, method: Method, path: String) -> Self {
        Self {
            client: client.clone(),
            method,
            path,
            headers: client.headers().to_vec(),
            body: Bytes::new(),
            json: None,
            bound: BOUND,
            apart: client.is_apart(),
            budgeted: true,
        }
    }

    /// A header. One that cannot stand in HTTP makes the rule untestable.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The idempotency key.
    pub fn key(self, key: &str) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// A JSON body.
    pub fn json(mut self, body: Value) -> Self {
        self.json = Some(body);
        self
    }

    /// Any body.
    pub fn bytes(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.json = None;
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// Waits longer, or shorter, than the usual 30 s.
    pub fn within(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// On a connection of its own, from an address of its own where that can be had.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Not counted: what cleans up must run when the budget is spent.
    pub(crate) fn unbudgeted(mut self) -> Self {
        self.budgeted = false;
        self
    }

    /// The whole answer. That none comes within the bound breaks the rule.
    ///
    /// # Errors
    /// [`Fault::Broken`] when no answer comes; [`Fault::Unable`] when the request may not be sent.
    pub async fn send(self) -> Result<Reply, Fault> {
        let client = self.client.clone();
        if client.target().profile == Profile::Live {
            return self.patiently().await;
        }
        let (sent, answered) = self.attempt().await?;
        client.conclude(sent, answered)
    }

    /// On a server that others use: what comes too early is sent again when the server says, a few times.
    async fn patiently(self) -> Result<Reply, Fault> {
        const TIMES: usize = 3;
        const LONGEST: u64 = 90;
        let client = self.client.clone();
        for _ in 0..TIMES {
            let (sent, answered) = self.clone().attempt().await?;
            let reply = client.conclude(sent, answered)?;
            let wait = reply.header("retry-after").and_then(|wait| wait.parse().ok());
            let Some(wait) = wait.filter(|wait| reply.status == 429 && *wait <= LONGEST) else {
                return Ok(reply);
            };
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
        let (sent, answered) = self.attempt().await?;
        client.conclude(sent, answered)
    }

    /// The head of the answer, its body still coming: for streams.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn open(self) -> Result<(Sent, Response<Incoming>), Fault> {
        let prepared = self.prepare().await?;
        let bound = prepared.bound;
        match tokio::time::timeout(bound, prepared.go()).await {
            Ok((sent, Ok(response))) => Ok((sent, response)),
            Ok((sent, Err(why))) => Err(sent.failed(&why)),
            Err(_) => Err(Fault::broken("an answer", format!("none within {} s", bound.as_secs()))),
        }
    }

    async fn attempt(self) -> Result<(Sent, Result<Arrived, String>), Fault> {
        let prepared = self.prepare().await?;
        let (bound, shown) = (prepared.bound, prepared.sent.clone());
        let whole = async {
            let (sent, opened) = prepared.go().await;
            let arrived = match opened {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    match body.collect().await {
                        Ok(body) => Ok(Arrived {
                            status: parts.status.as_u16(),
                            headers: parts.headers,
                            body: body.to_bytes(),
                        }),
                        Err(error) => Err(format!("the body broke off: {error}")),
                    }
                }
                Err(why) => Err(why),
            };
            (sent, arrived)
        };
        match tokio::time::timeout(bound, whole).await {
            Ok(done) => Ok(done),
            Err(_) => Ok((shown, Err(format!("no answer within {} s", bound.as_secs())))),
        }
    }

    async fn prepare(mut self) -> Result<Prepared, Fault> {
        let target = self.client.target().clone();
        let control = self.path.starts_with("/_emulator");
        if !control {
            target.ledger.permit(&self.method, &self.path)?;
        }
        // A body that was written before is a body like any other there.
        if self.json.is_none() && target.profile == Profile::Live {
            let told = serde_json::from_slice::<Value>(&self.body).ok();
            self.json = told.filter(Value::is_object);
            if self.json.is_some() {
                self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            }
        }
        if let Some(mut json) = self.json.take() {
            target.ledger.permit_owner(&self.path, &json)?;
            target.ledger.mark(&self.method, &self.path, &mut json, &target.run);
            self.body = json.to_string().into();
            self.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        if self.budgeted {
            target.turn().await?;
        }
        let url = match self.path.strip_prefix("/_emulator") {
            Some(path) => target.address.control(path),
            None => target.address.api(&self.path),
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&url)
            .body(Body::new(self.body.clone()))
            .map_err(|error| Fault::unable(format!("{} {url}: {error}", self.method)))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_str());
            let value = HeaderValue::try_from(value.as_str());
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Fault::unable("a header that HTTP cannot carry"));
            };
            headers.append(name, value);
        }
        let credential = self.client.credential();
        if let Some(credential) = credential
            && !headers.contains_key(AUTHORIZATION)
        {
            let value = HeaderValue::try_from(format!("Bearer {}", credential.secret));
            headers.insert(AUTHORIZATION, value.map_err(|_| Fault::unable("no such key"))?);
        }
        if !self.body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        }
        let sent = Sent {
            client: self.client.clone(),
            exchange: Exchange {
                at: Utc::now(),
                credential: credential.map(|credential| credential.variable.clone()),
                method: self.method.to_string(),
                url,
                headers: self.headers,
                body: self.body,
                peculiar: None,
                answer: None,
                failure: None,
                millis: 0,
            },
            method: self.method,
            path: self.path,
            since: Instant::now(),
        };
        Ok(Prepared { sent, request, bound: self.bound, apart: self.apart })
    }
}

/// A request that can be sent.
struct Prepared {
    sent: Sent,
    request: Request<Body>,
    bound: Duration,
    apart: bool,
}

impl Prepared {
    async fn go(self) -> (Sent, Result<Response<Incoming>, String>) {
        let Self { sent, mut request, apart, .. } = self;
        let target = sent.client.target().clone();
        let response = if apart {
            let alone = async {
                let connector = match sent.client.place() {
                    Some(place) => target.connector_from(place),
                    None => target.connector(true),
                };
                let wire = connector.connect().await;
                let wire = wire.map_err(|error| error.to_string())?;
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(wire))
                        .await
                        .map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                let host = HeaderValue::try_from(target.address.authority());
                request.headers_mut().insert(HOST, host.map_err(|error| error.to_string())?);
                let path = request.uri().path_and_query().map(ToString::to_string);
                *request.uri_mut() =
                    path.unwrap_or_default().parse().map_err(|_| "no path".to_owned())?;
                sender.send_request(request).await.map_err(|error| error.to_string())
            };
            alone.await
        } else {
            target.pool().request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                cause.unwrap_or_else(|| error.to_string())
            })
        };
        (sent, response)
    }
}

/// What came, whole.
pub(crate) struct Arrived {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request that was sent, to be written down with its answer.
#[derive(Clone)]
pub struct Sent {
    pub(super) client: Client,
    pub(super) exchange: Exchange,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) since: Instant,
}

impl Sent {
    /// Writes down that nothing came.
    pub(super) fn failed(mut self, why: &str) -> Fault {
        self.exchange.millis = self.since.elapsed().as_millis() as u64;
        self.exchange.failure = Some(why.to_owned());
        let place = format!("{} {}", self.method, self.path);
        let at = self.client.case().record(self.exchange);
        Fault::Broken {
            expected: format!("an answer to {place}"),
            got: why.to_owned(),
            at: Some(at),
        }
    }

    /// Writes the answer down; the place in the record.
    pub(super) fn done(mut self, status: u16, headers: &HeaderMap, body: Bytes) -> usize {
        self.exchange.millis = self.since.elapsed().as_millis() as u64;
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        self.exchange.answer = Some(Answered { status, headers, body });
        self.client.case().record(self.exchange)
    }
}

impl Client {
    /// Writes an exchange down and makes the reply of it.
    pub(crate) fn conclude(
        &self,
        sent: Sent,
        answered: Result<Arrived, String>,
    ) -> Result<Reply, Fault> {
        let arrived = match answered {
            Ok(arrived) => arrived,
            Err(why) => return Err(sent.failed(&why)),
        };
        let (method, path) = (sent.method.clone(), sent.path.clone());
        let at = sent.done(arrived.status, &arrived.headers, arrived.body.clone());
        let reply = Reply {
            case: self.case().clone(),
            method,
            path,
            status: arrived.status,
            headers: arrived.headers,
            body: arrived.body,
            at,
        };
        let ledger = &self.target().ledger;
        let json = serde_json::from_slice(&reply.body).unwrap_or_default();
        ledger.note(self.credential(), &reply.method, &reply.path, reply.status, &json);
        Ok(reply)
    }
}
