//! What holds on the wire, whatever is asked: both protocols, bounds on clients that dawdle, bodies, panics, hosts and
//! origins, the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harness::{BOUND, Client, Emulator};
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use miosa_emulator::api::{self, platform};
use miosa_emulator::app::{App, Config, Patience};
use miosa_emulator::http::{Answer, ApiResult, Route};
use miosa_emulator::machines::Machines;
use miosa_emulator::server;
use miosa_emulator::store::Store;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const KEY: &str = "msk_live_server";

/// Bounds that a test can wait for.
const SHORT: Patience = Patience {
    head: Duration::from_millis(300),
    body: Duration::from_millis(300),
    grace: Duration::from_secs(30),
    ready: Duration::from_secs(30),
};

/// An emulator with routes of the test's own.
struct Own {
    app: App,
    address: SocketAddr,
    server: JoinHandle<()>,
    _data: tempfile::TempDir,
}

impl Own {
    async fn start(own: Vec<Route>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config { data: data.path().to_owned(), ..Config::default() };
        let store = Store::open(&data.path().join("state.db")).unwrap();
        let identities = Arc::new(platform::identities::PlatformIdentities::default());
        let app = App::new(config, store, None, Machines::none("a test"), identities);
        platform::prepare(&app).await.map_err(|error| error.log).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = api::router_with(&app, own);
        let server = tokio::spawn(server::serve_router(app.clone(), listener, router));
        Self { app, address, server, _data: data }
    }

    fn client(&self) -> Client {
        Client::new(self.address, KEY).unchecked("it has routes of its own")
    }
}

/// A connection as it is, for what no client library sends.
struct Raw(TcpStream);

impl Raw {
    async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// A `GET` that goes through every layer.
    async fn ask(&mut self) {
        self.send("GET /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\n\r\n").await;
    }

    /// One answer: its status line with the headers, and its body.
    async fn answer(&mut self) -> (String, Vec<u8>) {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.expect("a whole head"));
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            self.0.read_exact(&mut body).await.unwrap();
            (head, body)
        };
        tokio::time::timeout(BOUND, reading).await.expect("an answer in time")
    }

    /// Waits for the server to close, and answers what it still said.
    async fn closed(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(BOUND, self.0.read_to_end(&mut rest)).await.expect("an end");
        rest
    }
}

#[tokio::test]
async fn both_protocols_are_spoken_on_one_port() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let one = client.request(Method::GET, "/workspaces").send().await;
    let two = client.request(Method::GET, "/workspaces").http2().send().await;
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(one.json(), two.json());
}

#[tokio::test]
async fn one_http2_connection_carries_many_requests_at_once() {
    let emulator = Emulator::start().await;
    let io = TokioIo::new(TcpStream::connect(emulator.address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let mut sender = sender.clone();
        let request = http::Request::get(format!("http://{}/_emulator/health", emulator.address))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        asked.spawn(async move { sender.send_request(request).await.unwrap().status().as_u16() });
    }
    let statuses = tokio::time::timeout(BOUND, asked.join_all()).await.unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let emulator = Emulator::start().await;
    let mut raw = Raw::to(emulator.address).await;
    raw.ask().await;
    assert!(raw.answer().await.0.starts_with("http/1.1 200"));
    raw.send("GET /_emulator/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/v1/nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    raw.ask().await;
    for status in ["200", "404", "200"] {
        let (head, _) = raw.answer().await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_cut() {
    let emulator = Emulator::with(|config| config.patience = SHORT).await;
    // Nothing at all, half a head, and the beginning of HTTP/2's: each is another wait in the server.
    for begun in ["", "GET / HTTP/1.1\r\nHost: loc", "PRI * HTTP/2"] {
        let mut raw = Raw::to(emulator.address).await;
        raw.send(begun).await;
        assert_eq!(raw.closed().await, b"", "{begun:?}");
    }
    // Who has been answered and says no more is not kept for ever either.
    let mut raw = Raw::to(emulator.address).await;
    raw.ask().await;
    raw.answer().await;
    assert_eq!(raw.closed().await, b"");
}

#[tokio::test]
async fn a_request_that_takes_longer_than_a_head_may_is_not_cut() {
    let slow = Route::get("/slow", || async {
        tokio::time::sleep(SHORT.head * 3).await;
        ApiResult::Ok(Answer::Empty)
    });
    let data = tempfile::tempdir().unwrap();
    let config = Config { data: data.path().to_owned(), patience: SHORT, ..Config::default() };
    let store = Store::open(&data.path().join("state.db")).unwrap();
    let identities = Arc::new(platform::identities::PlatformIdentities::default());
    let app = App::new(config, store, None, Machines::none("a test"), identities);
    platform::prepare(&app).await.map_err(|error| error.log).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api::router_with(&app, vec![slow.family("test")]);
    tokio::spawn(server::serve_router(app, listener, router));
    let client = Client::new(address, KEY).unchecked("it has a route of its own");
    assert_eq!(client.get("/slow").await.status, 204);
    assert_eq!(client.request(Method::GET, "/slow").http2().send().await.status, 204);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let emulator = Emulator::with(|config| config.patience = SHORT).await;
    let mut raw = Raw::to(emulator.address).await;
    raw.send("POST /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\nContent-Length: 100\r\n\r\n{\"name\":").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "REQUEST_TIMEOUT");
    assert_eq!(raw.closed().await, b"");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_the_connection_goes_on() {
    const MIB: usize = 1024 * 1024;
    let emulator = Emulator::start().await;
    let head = "POST /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\n";
    let mut raw = Raw::to(emulator.address).await;
    // Announced.
    raw.send(&format!("{head}Content-Length: {}\r\n\r\n", 40 * MIB)).await;
    for _ in 0..40 {
        raw.0.write_all(&vec![b' '; MIB]).await.unwrap();
    }
    let (answer, body) = raw.answer().await;
    assert!(answer.starts_with("http/1.1 413"), "{answer}");
    assert!(String::from_utf8(body).unwrap().contains("PAYLOAD_TOO_LARGE"));
    // In chunks, the size told by nobody.
    raw.send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    for _ in 0..40 {
        raw.send(&format!("{MIB:x}\r\n")).await;
        raw.0.write_all(&vec![b' '; MIB]).await.unwrap();
        raw.send("\r\n").await;
    }
    raw.send("0\r\n\r\n").await;
    let (answer, _) = raw.answer().await;
    assert!(answer.starts_with("http/1.1 413"), "{answer}");
    raw.ask().await;
    assert!(raw.answer().await.0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_without_sending() {
    let emulator = Emulator::start().await;
    let mut raw = Raw::to(emulator.address).await;
    raw.send("POST /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n").await;
    let (head, _) = raw.answer().await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
}

#[tokio::test]
async fn a_panic_is_500_journalled_and_drops_no_connection() {
    async fn panics() -> ApiResult<Answer> {
        panic!("the secret reason")
    }
    let routes = vec![
        Route::get("/panics", panics).family("test"),
        Route::post("/panics", panics).family("test"),
    ];
    let own = Own::start(routes).await;
    for method in ["GET", "POST"] {
        let mut raw = Raw::to(own.address).await;
        raw.send(&format!("{method} /api/v1/panics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n")).await;
        let (head, body) = raw.answer().await;
        assert!(head.starts_with("http/1.1 500"), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("\"INTERNAL\"") && !body.contains("secret"), "{body}");
        raw.ask().await;
        assert!(raw.answer().await.0.starts_with("http/1.1 200"));
    }
    let reply = own.client().get("/panics").await;
    reply.refused(500, "INTERNAL");
    let id = reply.header("x-request-id");
    let entry = own.client().get(&format!("/_emulator/requests?request_id={id}")).await.json();
    assert_eq!(entry["data"][0]["status"], 500, "{entry}");
    assert!(entry["data"][0]["error"].as_str().unwrap().contains("the secret reason"), "{entry}");
}

#[tokio::test]
async fn an_open_request_ends_before_the_server_does() {
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (telling, waiting) = (begun.clone(), may_end.clone());
    let slow = Route::get("/slow", move || {
        let (telling, waiting) = (telling.clone(), waiting.clone());
        async move {
            telling.notify_one();
            waiting.notified().await;
            Answer::ok(&json!({ "slow": true }))
        }
    });
    let own = Own::start(vec![slow.family("test")]).await;
    let client = own.client();
    let asked = tokio::spawn(async move { client.get("/slow").await });
    // Idle connections do not hold it up.
    let mut idle = Raw::to(own.address).await;
    idle.ask().await;
    idle.answer().await;
    tokio::time::timeout(BOUND, begun.notified()).await.unwrap();
    own.app.stopping.cancel();
    idle.closed().await;
    assert!(!own.server.is_finished());
    may_end.notify_one();
    assert_eq!(asked.await.unwrap().data(200)["slow"], true);
    tokio::time::timeout(BOUND, own.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(own.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_after_the_grace() {
    let emulator =
        Emulator::with(|config| config.patience.grace = Duration::from_millis(200)).await;
    let client = emulator.client(KEY).with("accept", "text/event-stream");
    // A body that is still coming is nothing the server could end.
    let mut raw = Raw::to(emulator.address).await;
    raw.send("POST /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\nContent-Length: 100\r\n\r\n{").await;
    let stream = client.request(Method::GET, "/_emulator/requests").open().await;
    assert_eq!(stream.status(), 200);
    tokio::time::timeout(BOUND, emulator.stop()).await.unwrap();
    raw.closed().await;
    // The stream was ended in order, not cut.
    tokio::time::timeout(BOUND, stream.into_body().collect()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_foreign_host_is_refused_before_anything_else() {
    let emulator = Emulator::with(|config| config.allowed.hosts = vec!["miosa".into()]).await;
    let client = emulator.client(KEY);
    for host in ["evil.example", "localhost.evil.example:80", "10.1.2.3"] {
        let reply = client.request(Method::GET, "/workspaces").header("host", host).send().await;
        reply.refused(403, "HOST_NOT_ALLOWED");
        let reply =
            client.request(Method::GET, "/_emulator/health").header("host", host).send().await;
        reply.refused(403, "HOST_NOT_ALLOWED");
    }
    for host in ["localhost", "127.0.0.1:1", "miosa:4010", "MIOSA"] {
        let reply = client.request(Method::GET, "/workspaces").header("host", host).send().await;
        assert_eq!(reply.status, 200, "{host}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_and_get_no_cors() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    for origin in ["http://evil.example", "null", "http://localhost:3000"] {
        let reply =
            client.request(Method::POST, "/workspaces").header("origin", origin).send().await;
        reply.refused(403, "ORIGIN_NOT_ALLOWED");
        assert!(reply.headers.get("access-control-allow-origin").is_none());
    }
    let own = format!("http://{}", emulator.address);
    let reply = client.request(Method::GET, "/workspaces").header("origin", &own).send().await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn an_allowed_origin_may_ask_first_and_read_the_answer() {
    const ORIGIN: &str = "http://localhost:5173";
    let emulator = Emulator::with(|config| config.allowed.origins = vec![ORIGIN.into()]).await;
    let preflight = emulator
        .anonymous()
        .request(Method::OPTIONS, "/sandboxes")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,x-anything")
        .send()
        .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(preflight.header("access-control-allow-headers"), "authorization,x-anything");
    assert!(preflight.header("access-control-allow-methods").contains("DELETE"));
    let reply = emulator.client(KEY).with("origin", ORIGIN).get("/workspaces").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
    assert!(reply.header("access-control-expose-headers").contains("x-request-id"));
    // Errors, too: a page must be able to read why.
    let refused = emulator.anonymous().with("origin", ORIGIN).get("/workspaces").await;
    refused.refused(401, "MISSING_TOKEN");
    assert_eq!(refused.header("access-control-allow-origin"), ORIGIN);
}

#[tokio::test]
async fn head_is_get_without_a_body_and_options_names_the_methods() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let mut raw = Raw::to(emulator.address).await;
    raw.send("HEAD /api/v1/workspaces HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer msk_live_server\r\nConnection: close\r\n\r\n").await;
    let answer = String::from_utf8(raw.closed().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    let options = client.request(Method::OPTIONS, "/workspaces").send().await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, POST"));
}

#[tokio::test]
async fn a_wrong_method_is_405_and_names_the_right_ones() {
    let emulator = Emulator::start().await;
    let reply = emulator.client(KEY).request(Method::PUT, "/workspaces").send().await;
    reply.refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(reply.header("allow"), "GET, HEAD, POST");
}

#[tokio::test]
async fn a_mistyped_base_path_is_told_the_right_one() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    for path in ["/v1/sandboxes", "/api/v2/sandboxes", "/api/sandboxes", "/", "/api/v1"] {
        let error = client
            .request(Method::GET, "/")
            .path(path)
            .send()
            .await
            .refused(404, "ROUTE_NOT_FOUND");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("MIOSA_BASE_URL") && message.contains("/api/v1"), "{message}");
        assert!(message.contains(&format!("GET {path}.")), "what was sent: {message}");
    }
    let error = client.get("/_emulator/helth").await.refused(404, "ROUTE_NOT_FOUND");
    assert!(error["message"].as_str().unwrap().contains("/health"), "{error}");
    let error = client.get("/nowhere?token=s3cret").await.refused(404, "ROUTE_NOT_FOUND");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}
