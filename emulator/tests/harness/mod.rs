//! A whole emulator on a free port, and a client as small as can be: what a test sees is what a client would.
//! Every answer under `/api/v1` is held against the contract, whatever the test itself looks at.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]
#![allow(clippy::indexing_slicing, missing_docs)]

pub mod contract;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use miosa_emulator::api::platform;
use miosa_emulator::app::{App, Config};
use miosa_emulator::machines::Machines;
use miosa_emulator::store::Store;
use miosa_emulator::{lifecycle, proxy, server};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use self::contract::Promise;

/// No request of a test takes longer.
pub const BOUND: Duration = Duration::from_secs(60);

/// Ends the emulator's tasks with the value that holds it, also when a test fails.
struct Stopping(App);

/// A running emulator. It ends with the value; its data go with it.
pub struct Emulator {
    pub app: App,
    pub address: SocketAddr,
    server: JoinHandle<()>,
    data: tempfile::TempDir,
    stopping: Stopping,
    lives: bool,
    /// What cleans up after its machines, when they outlive it.
    pub cleaner: Option<Box<dyn std::any::Any + Send>>,
}

impl Emulator {
    /// Without machines: the control plane alone.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Without machines, configured.
    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::boot(tempfile::tempdir().unwrap(), |_| Machines::none("a test".to_owned()), configure)
            .await
    }

    /// On this directory, with the machines that `machines` makes there.
    pub async fn boot(
        data: tempfile::TempDir,
        machines: impl FnOnce(&std::path::Path) -> Machines,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        Self::assemble(data, machines, configure, true).await
    }

    /// The same, neither reconciled nor with a lifecycle; it ends as if it had been killed.
    pub async fn quiet(
        data: tempfile::TempDir,
        machines: impl FnOnce(&std::path::Path) -> Machines,
    ) -> Self {
        Self::assemble(data, machines, |_| {}, false).await
    }

    async fn assemble(
        data: tempfile::TempDir,
        machines: impl FnOnce(&std::path::Path) -> Machines,
        configure: impl FnOnce(&mut Config),
        lives: bool,
    ) -> Self {
        let mut config = Config { data: data.path().to_owned(), ..Config::default() };
        configure(&mut config);
        let store = Store::open(&data.path().join("state.db")).unwrap();
        let identities = Arc::new(platform::identities::PlatformIdentities::default());
        let app = App::new(config, store, None, machines(data.path()), identities);
        // As the program does: previews open where the emulator listens.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _ = app.listening.set(address);
        platform::prepare(&app).await.map_err(|error| error.log).unwrap();
        if lives {
            lifecycle::reconcile(&app).await.map_err(|error| error.log).unwrap();
        }
        proxy::restore(&app).await.unwrap();
        if lives {
            lifecycle::start(&app);
        }
        let server = tokio::spawn(server::serve(app.clone(), listener));
        let stopping = Stopping(app.clone());
        Self { app, address, server, data, stopping, lives, cleaner: None }
    }

    /// Stops it in order and hands the data directory over, to start another on it.
    pub async fn stop(self) -> tempfile::TempDir {
        let Self { app, server, data, stopping, lives, cleaner, .. } = self;
        // Whoever starts another on the directory finds the machines, and cleans up.
        std::mem::forget(cleaner);
        drop(stopping);
        server.await.unwrap();
        if lives {
            lifecycle::shutdown(&app, false).await.map_err(|error| error.log).unwrap();
        }
        app.machines.settle().await;
        app.tasks.close();
        tokio::time::timeout(BOUND, app.tasks.wait()).await.unwrap();
        data
    }

    /// Stops it in order, for good: nobody starts another on its directory, so what its machines left is cleaned up.
    pub async fn end(mut self) {
        let cleaner = self.cleaner.take();
        self.stop().await;
        drop(cleaner);
    }

    /// Stops its tasks and its server, and settles nothing: as if it had been killed.
    pub async fn stop_as_killed(mut self) -> tempfile::TempDir {
        self.lives = false;
        self.stop().await
    }

    /// Ends where it stands, and waits for nothing: what is under way never comes to its end.
    pub fn killed(self) -> tempfile::TempDir {
        let Self { server, data, stopping, cleaner, .. } = self;
        std::mem::forget(cleaner);
        drop(stopping);
        server.abort();
        data
    }

    /// A client with this key.
    pub fn client(&self, key: &str) -> Client {
        Client { key: Some(key.to_owned()), ..self.anonymous() }
    }

    /// A client without a credential.
    pub fn anonymous(&self) -> Client {
        let promise = Promise::of(self.app.config.envelope);
        Client { key: None, promise, ..Client::new(self.address, "") }
    }
}

/// Sends requests, each on a connection of its own.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub key: Option<String>,
    pub headers: HeaderMap,
    /// What of the contract its answers keep.
    pub promise: Promise,
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stopping.cancel();
    }
}

impl Client {
    /// A client of whatever listens there.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        // Not between a test's first answer and what it does next: a second passes for some of them.
        contract::read();
        let promise = Promise::Whole;
        Self { address, key: Some(key.to_owned()), headers: HeaderMap::new(), promise }
    }

    /// Moves the clock of the client's organization.
    pub async fn advance(&self, seconds: u64) {
        let moved = self.post("/_emulator/clock", json!({ "advance_seconds": seconds })).await;
        assert_eq!(moved.status, 200, "{moved:?}");
    }

    /// The same client, for what is no answer of the API although its path looks like one.
    pub fn unchecked(mut self, why: &'static str) -> Self {
        self.promise = Promise::Nothing { why };
        self
    }

    /// The same client with a header on every request.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// A request, to be added to and sent. `/x` means `/api/v1/x`; what begins with `/_` or `/api` is sent as it is.
    pub fn request(&self, method: Method, path: &str) -> Sending<'_> {
        let own = path.starts_with("/_") || path.starts_with("/api/") || path.starts_with("//");
        let path = if own { path.to_owned() } else { format!("/api/v1{path}") };
        let mut headers = self.headers.clone();
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        }
        let promise = self.promise;
        Sending { client: self, method, path, headers, body: Bytes::new(), http2: false, promise }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.request(Method::POST, path).json(&body).send().await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PUT, path).json(&body).send().await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.request(Method::PATCH, path).json(&body).send().await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path).send().await
    }
}

/// A request on its way.
pub struct Sending<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    http2: bool,
    promise: Promise,
}

impl Sending<'_> {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string())
    }

    pub fn bytes(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        self.body = body.into();
        self
    }

    /// The path as it is, whatever it begins with.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// HTTP/2 with prior knowledge.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Not held against the contract.
    pub fn unchecked(mut self, why: &'static str) -> Self {
        self.promise = Promise::Nothing { why };
        self
    }

    /// The whole answer.
    pub async fn send(self) -> Reply {
        self.attempt().await.unwrap()
    }

    /// The whole answer, or why there is none: for servers that may go away.
    pub async fn attempt(self) -> Result<Reply, String> {
        let (method, path, promise) = (self.method.clone(), self.path.clone(), self.promise);
        let answer = async {
            let (parts, body) = self.try_open().await?.into_parts();
            Ok(Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: body.collect().await.map_err(|error| error.to_string())?.to_bytes(),
            })
        };
        let answer = tokio::time::timeout(BOUND, answer).await.expect("an answer in time");
        if let Ok(reply) = &answer {
            promise.hold(&method, &path, reply.status, &reply.headers, Some(&reply.body));
        }
        answer
    }

    /// The head of the answer, its body still coming: for streams. The connection ends when the body is dropped.
    pub async fn open(self) -> Response<Incoming> {
        let (method, path, promise) = (self.method.clone(), self.path.clone(), self.promise);
        let response = self.try_open().await.unwrap();
        promise.hold(&method, &path, response.status().as_u16(), response.headers(), None);
        response
    }

    async fn try_open(self) -> Result<Response<Incoming>, String> {
        let stream = TcpStream::connect(self.client.address).await;
        let io = TokioIo::new(stream.map_err(|error| error.to_string())?);
        let host = self.client.address.to_string();
        let path = if self.http2 { format!("http://{host}{}", self.path) } else { self.path };
        let mut request =
            Request::builder().method(self.method).uri(path).body(Full::new(self.body)).unwrap();
        *request.headers_mut() = self.headers;
        let broken = |error: hyper::Error| error.to_string();
        if self.http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(broken)?;
            tokio::spawn(connection);
            return sender.send_request(request).await.map_err(broken);
        }
        request.headers_mut().entry(HOST).or_insert(host.parse().unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(broken)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; an empty one is null.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// What stands under `data`, the status being the expected one.
    #[track_caller]
    pub fn data(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:?}", String::from_utf8_lossy(&self.body));
        self.json()["data"].clone()
    }

    /// Checks that this is the error with this status and code, in its documented shape.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], code, "{text}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
        assert_eq!(error["request_id"], self.header("x-request-id"), "{text}");
        error
    }

    /// A header, which must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }
}
