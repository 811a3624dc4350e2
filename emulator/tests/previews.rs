//! Previews of real applications in real machines, as a client meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "previews/stage.rs"]
mod stage;

use std::net::SocketAddr;

use bytes::Bytes;
use harness::{BOUND, Client, Emulator, Reply};
use http::{Method, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use stage::{KEY, agent, emulator, emulator_on, said, sandbox, serve, until};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

/// An emulator, a sandbox with an application on port 8000, and its preview as this client was told.
struct Stage {
    emulator: Emulator,
    client: Client,
    sandbox: Uuid,
    preview: Value,
}

async fn stage(preview: Value) -> Stage {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    serve(&agent(&emulator, sandbox), 8000).await;
    let preview = client.post(&format!("/sandboxes/{sandbox}/previews"), preview).await.data(201);
    Stage { emulator, client, sandbox, preview }
}

impl Stage {
    /// A client without a key at the preview's own port.
    fn visitor(&self) -> Client {
        at(&self.emulator, url(&self.preview))
    }

    fn path(&self, rest: &str) -> String {
        format!("/sandboxes/{}/previews/{}{rest}", self.sandbox, id(&self.preview))
    }
}

fn url(preview: &Value) -> &str {
    preview["url"].as_str().unwrap()
}

fn id(preview: &Value) -> &str {
    preview["id"].as_str().unwrap()
}

/// A client without a key of the loopback port in a URL.
fn at(emulator: &Emulator, url: &str) -> Client {
    let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let address: SocketAddr = authority.replace("localhost", "127.0.0.1").parse().unwrap();
    Client { address, ..emulator.anonymous() }.unchecked("an application answers")
}

/// Asks for a path of an application, whatever it looks like.
async fn visit(client: &Client, path: &str) -> Reply {
    client.request(Method::GET, "/").path(path).send().await
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

#[tokio::test]
async fn each_client_gets_an_address_that_works_for_it_and_all_are_served() {
    let stage = stage(json!({ "port": 8000 })).await;
    let port = stage.emulator.address.port();
    let told = async |host: &str| {
        let request = stage.client.request(Method::GET, &stage.path(""));
        request.header("host", host).send().await.data(200)["url"].as_str().unwrap().to_owned()
    };
    let own = url(&stage.preview).to_owned();
    assert!(own.starts_with("http://127.0.0.1:") && own.ends_with('/'), "{own}");
    assert_eq!(told(&format!("127.0.0.1:{port}")).await, own);
    assert_eq!(told(&format!("localhost:{port}")).await, own.replace("127.0.0.1", "localhost"));
    let slug = &stage.sandbox.simple().to_string()[..8];
    let name = format!("8000-{slug}.localhost:{port}");
    assert_eq!(told(&format!("miosa.localhost:{port}")).await, format!("http://{name}/"));

    let page = visit(&stage.visitor(), "/page").await;
    assert_eq!((page.status, text(&page)), (200, "<h1>hello</h1>"));
    let api = stage.emulator.anonymous();
    let by_name = api.request(Method::GET, "/").path("/page").header("host", &name).send().await;
    assert_eq!((by_name.status, text(&by_name)), (200, "<h1>hello</h1>"));
    let by_path = visit(&api, &format!("/_preview/{slug}/8000/page")).await;
    assert_eq!((by_path.status, text(&by_path)), (200, "<h1>hello</h1>"));
    // A page in the API's own origin must not be able to call it.
    assert!(by_path.header("content-security-policy").starts_with("sandbox "));
    assert!(page.headers.get("content-security-policy").is_none());

    let http2 = api.request(Method::GET, "/").path(&format!("/_preview/{slug}/8000/page"));
    assert_eq!(http2.http2().send().await.status, 200);
    let record = stage.client.get(&format!("/sandboxes/{}", stage.sandbox)).await.data(200);
    assert_eq!(record["preview_url"], own);
}

#[tokio::test]
async fn a_public_url_and_a_named_host_give_paths() {
    let emulator = emulator_on(TempDir::new().unwrap(), |config| {
        config.public_url = Some("https://emulator.example/api/v1".to_owned());
        config.allowed.hosts.push("emulator".to_owned());
    })
    .await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    serve(&agent(&emulator, sandbox), 8000).await;
    let made = client.post(&format!("/sandboxes/{sandbox}/expose"), json!({ "port": 8000 })).await;
    let slug = &sandbox.simple().to_string()[..8];
    assert_eq!(made.json()["url"], format!("https://emulator.example/_preview/{slug}/8000/"));
    let named = client.with("host", "emulator");
    let asked = named.request(Method::GET, "/").path(&format!("/_preview/{slug}/8000/asked"));
    let asked = asked.send().await.json();
    assert_eq!(asked["headers"]["x-forwarded-proto"], "https");
    assert_eq!(asked["headers"]["x-forwarded-host"], "emulator");
}

#[tokio::test]
async fn the_application_is_told_what_it_expects_and_who_asked() {
    let stage = stage(json!({ "port": 8000 })).await;
    let slug = &stage.sandbox.simple().to_string()[..8];
    let prefix = format!("/_preview/{slug}/8000");
    let asked = stage
        .emulator
        .anonymous()
        .request(Method::GET, &format!("{prefix}/asked?a=%20&preview_token=x&b"))
        .header("authorization", "Basic dXNlcjpwYXNz")
        .header("x-miosa-workspace", "w")
        .header("te", "trailers")
        .header("cookie", "own=1; miosa_preview_other=2")
        .send()
        .await
        .json();
    assert_eq!(asked["path"], "/asked?a=%20&b");
    let headers = &asked["headers"];
    assert_eq!(headers["host"], "localhost:8000");
    assert_eq!(headers["x-forwarded-host"], stage.emulator.address.to_string());
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-prefix"], prefix);
    assert_eq!(headers["authorization"], "Basic dXNlcjpwYXNz");
    assert_eq!(headers["cookie"], "own=1");
    assert_eq!((&headers["te"], &headers["x-miosa-workspace"]), (&Value::Null, &Value::Null));

    for (path, location) in [("/redirect", "/page"), ("/absolute", "/page")] {
        let root = visit(&stage.visitor(), path).await;
        assert_eq!((root.status, root.header("location")), (302, location));
        let below = visit(&stage.emulator.anonymous(), &format!("{prefix}{path}")).await;
        assert_eq!(below.header("location"), format!("{prefix}{location}"));
    }
    let directory = visit(&stage.emulator.anonymous(), &format!("{prefix}?q")).await;
    assert_eq!((directory.status, directory.header("location")), (307, &*format!("{prefix}/?q")));

    let body = Bytes::from(vec![b'x'; 3 << 20]);
    let posting = stage.visitor();
    let echoed =
        posting.request(Method::POST, "/_x").bytes("text/plain", body.clone()).send().await;
    assert_eq!((echoed.status, echoed.body.len()), (200, body.len()));
}

#[tokio::test]
async fn pieces_arrive_before_the_end() {
    let stage = stage(json!({ "port": 8000 })).await;
    let visitor = stage.visitor();
    let mut body = visitor.request(Method::GET, "/").path("/stream").open().await.into_body();
    let mut piece = async || {
        let frame = tokio::time::timeout(BOUND, body.frame()).await.unwrap();
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    };
    assert_eq!(piece().await.as_deref(), Some(&b"first"[..]));
    said(&agent(&stage.emulator, stage.sandbox), "touch /workspace/seen").await;
    assert_eq!(piece().await.as_deref(), Some(&b"second"[..]));
    assert_eq!(piece().await, None);
}

/// Upgrades a connection to the application's echo.
async fn echo(
    client: &Client,
    path: &str,
    host: Option<&str>,
) -> TokioIo<hyper::upgrade::Upgraded> {
    let mut request = client
        .request(Method::GET, "/")
        .path(path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let answer = tokio::time::timeout(BOUND, request.open()).await.unwrap();
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.headers()[header::UPGRADE], "websocket");
    assert_eq!(answer.headers()["sec-websocket-accept"], "yes");
    TokioIo::new(hyper::upgrade::on(answer).await.unwrap())
}

#[tokio::test]
async fn a_web_socket_passes_through_every_address_and_ends_with_the_preview() {
    let stage = stage(json!({ "port": 8000 })).await;
    let slug = &stage.sandbox.simple().to_string()[..8];
    let api = stage.emulator.anonymous();
    let name = format!("8000-{slug}.localhost:{}", stage.emulator.address.port());
    let mut sockets = vec![
        echo(&stage.visitor(), "/echo", None).await,
        echo(&api, &format!("/_preview/{slug}/8000/echo"), None).await,
        echo(&api, "/echo", Some(&name)).await,
    ];
    // Frames are the application's business: any bytes pass.
    let frame = b"\x81\x85\x01\x02\x03\x04ignal".repeat(1000);
    for socket in &mut sockets {
        socket.write_all(&frame).await.unwrap();
        let mut back = vec![0; frame.len()];
        tokio::time::timeout(BOUND, socket.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(back, frame);
    }
    assert_eq!(stage.client.delete(&stage.path("")).await.status, 204);
    for socket in &mut sockets {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(BOUND, socket.read_to_end(&mut rest)).await.unwrap();
        assert!(end.is_err() || rest.is_empty());
    }
}

#[tokio::test]
async fn a_private_preview_opens_for_tokens_and_keys_only() {
    let stage = stage(json!({ "port": 8000, "visibility": "private" })).await;
    let visitor = stage.visitor();
    visit(&visitor, "/page").await.refused(401, "MISSING_TOKEN");
    let with = async |name: &'static str, value: &str, path: &str| {
        visitor.request(Method::GET, "/").path(path).header(name, value).send().await
    };
    with("authorization", "Bearer msk_test_somebody_else", "/page").await.refused(403, "FORBIDDEN");
    let asked = with("authorization", &format!("Bearer {KEY}"), "/asked").await;
    assert_eq!(asked.json()["headers"]["authorization"], Value::Null, "{asked:?}");

    let share = stage.client.post(&stage.path("/share"), json!({ "ttl_seconds": 60 })).await;
    assert_eq!(share.status, 200);
    let share = share.json();
    let token = share["preview_token"].as_str().unwrap();
    assert!(token.starts_with("miosa_pv_"));
    assert_eq!(share["share_url"], format!("{}?preview_token={token}", url(&stage.preview)));
    assert_eq!(share["data"]["share_token_prefix"], token[..12]);
    assert_eq!(share["data"]["id"], id(&stage.preview));
    let record = stage.client.get(&stage.path("")).await;
    assert!(!text(&record).contains(token), "{record:?}");

    let first = visit(&visitor, &format!("/asked?preview_token={token}")).await;
    assert_eq!(first.json()["path"], "/asked");
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    let again = with("cookie", &format!("a=1; {cookie}"), "/asked").await.json();
    assert_eq!(again["headers"]["cookie"], "a=1");
    let by_header = with("x-miosa-preview-token", token, "/asked").await.json();
    assert_eq!(by_header["headers"]["x-miosa-preview-token"], Value::Null);
    with("x-miosa-preview-token", "miosa_pv_guess", "/page").await.refused(403, "FORBIDDEN");

    assert_eq!(stage.client.delete(&stage.path("/share")).await.status, 204);
    with("cookie", &cookie, "/page").await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn tokens_and_previews_end_in_policy_time() {
    let private = json!({ "port": 8000, "visibility": "private", "ttl_seconds": 600 });
    let stage = stage(private).await;
    let shared = stage.client.post(&stage.path("/share"), json!({ "expires_in_sec": 60 })).await;
    let token = shared.json()["preview_token"].as_str().unwrap().to_owned();
    let visitor = stage.visitor().with("x-miosa-preview-token", &token);
    assert_eq!(visit(&visitor, "/page").await.status, 200);
    let who = stage.client.get(&format!("/sandboxes/{}", stage.sandbox)).await.data(200);
    let org: Uuid = who["tenant_id"].as_str().unwrap().parse().unwrap();
    let advance = |seconds| {
        stage.emulator.app.clock.advance(org, std::time::Duration::from_secs(seconds));
    };
    advance(61);
    visit(&visitor, "/page").await.refused(403, "FORBIDDEN");
    advance(600);
    visit(&visitor, "/page").await.refused(404, "preview_not_found");
    assert_eq!(stage.client.get(&stage.path("")).await.data(200)["state"], "expired");
    // It makes room for another.
    let previews = format!("/sandboxes/{}/previews", stage.sandbox);
    let made = stage.client.post(&previews, json!({ "port": 8000 })).await;
    assert_eq!(made.data(201)["state"], "active");
    assert_eq!(visit(&visitor, "/page").await.status, 200);
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_503_until_something_does() {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    let path = format!("/sandboxes/{sandbox}/previews");
    let preview = client.post(&path, json!({ "port": 8000 })).await.data(201);
    assert_eq!(
        (&preview["ready"], &preview["route_status"]),
        (&json!(false), &json!("not_listening"))
    );
    let visitor = at(&emulator, url(&preview));
    let dead = visit(&visitor, "/page").await;
    dead.refused(503, "PREVIEW_NOT_LISTENING");
    assert_eq!(dead.header("retry-after"), "1");
    let browser = visitor.request(Method::GET, "/").path("/").header("accept", "text/html,*/*");
    let page = browser.send().await;
    assert_eq!((page.status, page.header("content-type")), (503, "text/html; charset=utf-8"));
    assert!(text(&page).contains("Nothing listens on port 8000"), "{page:?}");
    let status = format!("{path}/{}/status", id(&preview));
    let down = client.get(&status).await.data(200);
    assert_eq!(
        down["process"],
        json!({"status": "not_listening", "http_status": null, "latency_ms": null})
    );

    serve(&agent(&emulator, sandbox), 8000).await;
    assert_eq!(visit(&visitor, "/page").await.status, 200);
    let up = client.get(&status).await.data(200);
    assert_eq!(
        (&up["process"]["status"], &up["process"]["http_status"]),
        (&json!("listening"), &json!(404))
    );
    assert!(up["process"]["latency_ms"].is_u64(), "{up}");
    assert_eq!(
        (&up["tls"]["status"], &up["sandbox"]["state"]),
        (&json!("none"), &json!("running"))
    );
    assert_eq!(client.get(&path).await.json()["previews"][0]["ready"], true);
}

#[tokio::test]
async fn a_paused_sandbox_wakes_for_a_visitor() {
    let stage = stage(json!({ "port": 8000 })).await;
    let sandbox = format!("/sandboxes/{}", stage.sandbox);
    assert_eq!(stage.client.post(&format!("{sandbox}/pause"), json!({})).await.status, 200);
    // A probe looks and does not wake.
    let status = stage.client.get(&stage.path("/status")).await.data(200);
    assert_eq!(status["sandbox"]["state"], "paused");
    assert_eq!(stage.client.get(&sandbox).await.data(200)["state"], "paused");
    assert_eq!(visit(&stage.visitor(), "/page").await.status, 200);
    assert_eq!(stage.client.get(&sandbox).await.data(200)["state"], "running");
}

#[tokio::test]
async fn nothing_of_the_emulator_is_behind_a_preview_and_no_foreign_name_before_it() {
    let stage = stage(json!({ "port": 8000 })).await;
    let slug = &stage.sandbox.simple().to_string()[..8];
    let name = format!("8000-{slug}.localhost:{}", stage.emulator.address.port());
    let api = stage.emulator.client(KEY).unchecked("by these names it is not the API");
    for path in ["/_emulator/health", "/api/v1/sandboxes", "/_preview/x/1/", "//api/v1/sandboxes"] {
        let own = visit(&stage.visitor(), path).await;
        assert_eq!((own.status, text(&own)), (404, "the application knows no such page"), "{path}");
        let by_name = api.request(Method::GET, "/").path(path).header("host", &name).send().await;
        assert_eq!(text(&by_name), "the application knows no such page", "{path}");
    }
    let prefix = format!("/_preview/{slug}/8000/page");
    for (client, path) in [(stage.visitor(), "/page"), (stage.emulator.anonymous(), &*prefix)] {
        for host in ["evil.example", "8000-x.localhost.evil.example", "10.0.0.1"] {
            let request = client.request(Method::GET, "/").path(path).header("host", host);
            request.send().await.refused(403, "HOST_NOT_ALLOWED");
        }
    }
    // What nobody has made a preview of leads nowhere, and never into the API.
    for (host, path) in [(format!("8001-{slug}.localhost"), "/api/v1/sandboxes"), (name, "/page")] {
        let host = host.replace("8000", "8001");
        let request = api.request(Method::GET, "/").path(path).header("host", &host);
        request.send().await.refused(404, "preview_not_found");
    }
    visit(&api, &format!("/_preview/{slug}/8001/")).await.refused(404, "preview_not_found");
    visit(&api, "/_preview/nobody/80/").await.refused(404, "preview_not_found");
}

#[tokio::test]
async fn listeners_go_with_their_preview_and_with_their_sandbox() {
    let stage = stage(json!({ "port": 8000 })).await;
    let expose = format!("/sandboxes/{}/expose", stage.sandbox);
    let other = stage.client.post(&expose, json!({ "port": 8001 })).await;
    let other = at(&stage.emulator, other.json()["url"].as_str().unwrap());
    let gone = async |client: &Client| {
        let address = client.address;
        until("the listener is gone", async || {
            tokio::net::TcpStream::connect(address).await.is_err()
        })
        .await;
    };
    assert_eq!(stage.client.delete(&stage.path("")).await.status, 204);
    gone(&stage.visitor()).await;
    stage.client.get(&stage.path("")).await.refused(404, "preview_not_found");
    visit(&other, "/").await.refused(503, "PREVIEW_NOT_LISTENING");
    let removed = stage.client.delete(&format!("/sandboxes/{}", stage.sandbox)).await;
    assert!(removed.status < 300, "{removed:?}");
    gone(&other).await;
}

#[tokio::test]
async fn a_port_has_one_preview_and_belongs_to_its_organization() {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    let path = format!("/sandboxes/{sandbox}/previews");
    let first = client.post(&path, json!({ "port": 8000, "name": "web" })).await.data(201);
    let again = client.post(&path, json!({ "port": 8000 })).await.data(200);
    assert_eq!((id(&again), url(&again)), (id(&first), url(&first)));
    let exposed =
        client.post(&format!("/sandboxes/{sandbox}/expose"), json!({ "port": 8000 })).await;
    assert_eq!(exposed.json()["preview_id"], first["id"]);
    let private = client.post(&path, json!({ "port": 8000, "visibility": "private" })).await;
    private.refused(409, "RESOURCE_STATE");
    let other = client.post(&path, json!({ "port": 8001 })).await.data(201);
    assert_ne!(url(&other), url(&first));
    assert_eq!(client.get(&path).await.json()["page"]["total"], 2);

    for body in [
        json!({}),
        json!({ "port": 0 }),
        json!({ "port": 65536 }),
        json!({ "port": "web" }),
        json!({ "port": 80, "visibility": "secret" }),
        json!({ "port": 80, "ttl_seconds": 0 }),
    ] {
        client.post(&path, body).await.refused(422, "VALIDATION_FAILED");
    }
    let stranger = emulator.client("msk_test_stranger");
    stranger.get(&format!("{path}/{}", id(&first))).await.refused(404, "sandbox_not_found");
    stranger.post(&path, json!({ "port": 8000 })).await.refused(404, "sandbox_not_found");
    client.get(&format!("{path}/{}", Uuid::new_v4())).await.refused(404, "preview_not_found");
}

#[tokio::test]
async fn creates_of_one_port_at_the_same_moment_make_one_preview() {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let path = format!("/sandboxes/{}/previews", sandbox(&client).await);
    let creates = (0..8).map(|_| client.post(&path, json!({ "port": 8000 })));
    let made = futures_util::future::join_all(creates).await;
    assert_eq!(made.iter().filter(|made| made.status == 201).count(), 1, "{made:?}");
    let ids: std::collections::HashSet<_> =
        made.iter().map(|made| id(&made.json()).to_owned()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn previews_have_the_same_addresses_after_a_restart() {
    let emulator = emulator().await;
    let client = emulator.client(KEY);
    let sandbox = sandbox(&client).await;
    let path = format!("/sandboxes/{sandbox}/previews");
    let before = client.post(&path, json!({ "port": 8000 })).await.data(201);
    let emulator = emulator_on(emulator.stop().await, |_| {}).await;
    let after = emulator.client(KEY).get(&format!("{path}/{}", id(&before))).await.data(200);
    assert_eq!(url(&after), url(&before));
    // Served, whatever has become of the sandbox in the meantime.
    let visited = visit(&at(&emulator, url(&after)), "/page").await;
    assert!(visited.status >= 500 && visited.headers.contains_key("x-request-id"), "{visited:?}");
}
