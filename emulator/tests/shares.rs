//! Visitors with a token, as they meet an application in a sandbox.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use harness::{Client, Emulator, Reply};
use hosted::{Sandbox, start, start_on, until};
use http::Method;
use serde_json::{Value, json};

/// A sandbox with an application, and the port it listens on.
async fn stage(emulator: &Emulator) -> (Sandbox, u16) {
    let sandbox = Sandbox::new(emulator).await;
    // Free on this computer too: plain processes share its ports.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    sandbox.write("server.py", include_str!("previews/server.py")).await;
    sandbox.exec(&format!("nohup python3 server.py {port} > /dev/null 2>&1 &")).await;
    let listens =
        format!("python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}))\"");
    until(async || sandbox.exec(&listens).await["exit_code"] == 0).await;
    (sandbox, port)
}

async fn open(sandbox: &Sandbox, port: u16, visibility: &str) -> Value {
    let body = json!({ "port": port, "visibility": visibility });
    sandbox.client.post(&sandbox.at("/previews"), body).await.data(201)
}

/// A client without a key at the loopback port of a URL, and the URL's query.
fn visitor(emulator: &Emulator, url: &str) -> (Client, String) {
    let (authority, rest) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let client = Client { address: authority.parse().unwrap(), ..emulator.anonymous() };
    (client, rest.trim_start_matches('?').to_owned())
}

async fn visit(client: &Client, method: Method, path: &str) -> Reply {
    let body = if method == Method::POST { "said" } else { "" };
    client.request(method, "/").path(path).bytes("text/plain", body).send().await
}

#[tokio::test]
async fn a_token_for_reading_lets_look_and_no_more() {
    let emulator = start().await;
    let (sandbox, port) = stage(&emulator).await;
    open(&sandbox, port, "private").await;
    let made = sandbox.client.post(&sandbox.at("/preview-token"), json!({})).await;
    assert_eq!(made.status, 200);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("mp_") && token.len() > 30, "{token}");
    assert_eq!(
        (&made.json()["scope"], &made.json()["data"]["token"]),
        (&json!("read"), &json!(token))
    );
    let (client, query) = visitor(&emulator, made.json()["url"].as_str().unwrap());
    assert_eq!(query, format!("mt={token}"));
    visit(&client, Method::GET, "/page").await.refused(401, "MISSING_TOKEN");
    let page = visit(&client, Method::GET, &format!("/page?{query}")).await;
    assert_eq!((page.status, &page.body[..]), (200, &b"<h1>hello</h1>"[..]));
    // The application sees nothing of it, and keeps its own parameter of the same name.
    let asked = visit(&client, Method::GET, &format!("/asked?a=1&{query}&ms=500")).await;
    assert_eq!(asked.json()["path"], "/asked?a=1&ms=500");
    assert!(!String::from_utf8_lossy(&asked.body).contains(&token));
    // The browser keeps it for the page's own requests.
    let cookie = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let later =
        client.request(Method::GET, "/").path("/page").header("cookie", &cookie).send().await;
    assert_eq!(later.status, 200);
    visit(&client, Method::POST, &format!("/form?{query}")).await.refused(403, "FORBIDDEN");
    let later =
        client.request(Method::POST, "/").path("/form").header("cookie", &cookie).send().await;
    later.refused(403, "FORBIDDEN");
    let socket = client.request(Method::GET, "/").path(&format!("/echo?{query}"));
    let socket = socket.header("connection", "upgrade").header("upgrade", "websocket").send().await;
    socket.refused(403, "FORBIDDEN");
    let wrong = format!("/page?mt=mp_{}", "x".repeat(43));
    visit(&client, Method::GET, &wrong).await.refused(403, "FORBIDDEN");

    let acting = json!({ "scope": "interact", "expires_in": 86400 });
    let acting = sandbox.client.post(&sandbox.at("/preview-token"), acting).await;
    assert_eq!(acting.json()["scope"], "interact");
    let (client, query) = visitor(&emulator, acting.json()["url"].as_str().unwrap());
    assert_eq!(visit(&client, Method::POST, &format!("/form?{query}")).await.status, 200);
    let header = client.request(Method::POST, "/").path("/form").bytes("text/plain", "said");
    let token = acting.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(header.header("x-miosa-preview-token", &token).send().await.status, 200);

    for (body, code) in [
        (json!({ "scope": "write" }), "invalid_scope"),
        (json!({ "expires_in": 86401 }), "VALIDATION_FAILED"),
        (json!({ "expires_in": 0 }), "VALIDATION_FAILED"),
    ] {
        sandbox.client.post(&sandbox.at("/preview-token"), body).await.refused(422, code);
    }
    sandbox.client.advance(3601).await;
    let (client, query) = visitor(&emulator, made.json()["url"].as_str().unwrap());
    visit(&client, Method::GET, &format!("/page?{query}")).await.refused(403, "FORBIDDEN");
    let stranger = emulator.client("msk_test_other");
    stranger.post(&sandbox.at("/preview-token"), json!({})).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn a_share_ends_when_it_is_revoked() {
    let emulator = start().await;
    let (sandbox, port) = stage(&emulator).await;
    for visibility in ["private", "public"] {
        let preview = open(&sandbox, port, visibility).await;
        let made = sandbox
            .client
            .post(&sandbox.at("/shares"), json!({ "scope": "read", "expires_in": 60 }))
            .await;
        assert_eq!(made.status, 201);
        let made = made.json();
        let (client, query) = visitor(&emulator, made["share_url"].as_str().unwrap());
        assert!(query.starts_with("ms=ms_"), "{query}");
        assert_eq!(visit(&client, Method::GET, &format!("/page?{query}")).await.status, 200);
        visit(&client, Method::POST, &format!("/form?{query}")).await.refused(403, "FORBIDDEN");
        let forever =
            sandbox.client.post(&sandbox.at("/shares"), json!({ "expires_in": null })).await.json();
        assert_eq!(forever["expires_at"], Value::Null);
        let listed = sandbox.client.get(&sandbox.at("/shares")).await;
        let shares: Vec<Value> = listed.data(200).as_array().unwrap().clone();
        assert_eq!(
            shares.iter().map(|share| &share["share_id"]).collect::<Vec<_>>(),
            [&forever["share_id"], &made["share_id"]]
        );
        assert!(!String::from_utf8_lossy(&listed.body).contains("ms_"), "a token was told again");

        let path = sandbox.at(&format!("/shares/{}", made["share_id"].as_str().unwrap()));
        assert_eq!(sandbox.client.delete(&path).await.status, 204);
        visit(&client, Method::GET, &format!("/page?{query}")).await.refused(403, "FORBIDDEN");
        sandbox.client.delete(&path).await.refused(404, "share_not_found");
        let path = sandbox.at(&format!("/shares/{}", forever["share_id"].as_str().unwrap()));
        assert_eq!(sandbox.client.delete(&path).await.status, 204);
        sandbox
            .client
            .delete(&sandbox.at(&format!("/previews/{}", preview["id"].as_str().unwrap())))
            .await;
    }
    sandbox
        .client
        .post(&sandbox.at("/shares"), json!({ "scope": "interact" }))
        .await
        .refused(422, "invalid_scope");
}

#[tokio::test]
async fn a_share_that_is_over_is_not_listed_and_others_outlive_the_emulator() {
    let emulator = start().await;
    let (sandbox, port) = stage(&emulator).await;
    open(&sandbox, port, "private").await;
    let client = &sandbox.client;
    client.post(&sandbox.at("/shares"), json!({ "expires_in": 60 })).await;
    let long = client.post(&sandbox.at("/shares"), json!({ "expires_in": 6000 })).await.json();
    client.advance(61).await;
    let listed = client.get(&sandbox.at("/shares")).await;
    assert_eq!(
        (listed.data(200)[0]["share_id"].clone(), listed.json()["page"]["total"].clone()),
        (long["share_id"].clone(), json!(1))
    );
    let (id, path) = (sandbox.id, sandbox.path);
    let emulator = start_on(emulator.stop().await).await;
    let sandbox = Sandbox { client: emulator.client(hosted::KEY), id, path };
    let listed = sandbox.client.get(&sandbox.at("/shares")).await;
    assert_eq!(listed.data(200)[0]["share_id"], long["share_id"]);
    // The visitor still gets through the door; whether the application is behind it depends on the kind of machine.
    let preview = sandbox.client.get(&sandbox.at("/previews")).await.data(200)[0]["url"].clone();
    let (visitor, _) = visitor(&emulator, preview.as_str().unwrap());
    let token = long["share_url"].as_str().unwrap().split_once("?ms=").unwrap().1;
    let sent =
        visitor.request(Method::GET, "/").path("/page").header("x-miosa-preview-token", token);
    assert!([200, 503].contains(&sent.send().await.status));
    sandbox.client.delete(&sandbox.path).await.data(200);
    sandbox.client.get(&sandbox.at("/shares")).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn a_sandbox_without_a_preview_gets_a_private_one_with_its_first_token() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = sandbox.client.post(&sandbox.at("/preview-token"), json!({})).await;
    assert_eq!(made.status, 200);
    let previews = sandbox.client.get(&sandbox.at("/previews")).await.data(200);
    assert_eq!(
        (previews.as_array().unwrap().len(), &previews[0]["visibility"]),
        (1, &json!("private"))
    );
    sandbox.client.post(&sandbox.at("/shares"), json!({})).await;
    assert_eq!(
        sandbox.client.get(&sandbox.at("/previews")).await.data(200).as_array().unwrap().len(),
        1
    );
    let (client, query) = visitor(&emulator, made.json()["url"].as_str().unwrap());
    let reply = visit(&client, Method::GET, &format!("/?{query}")).await;
    reply.refused(503, "PREVIEW_NOT_LISTENING");
}
