//! Terminals and tunnels through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;
mod socket;

use hosted::{Sandbox, start, until};
use http::Method;
use serde_json::{Value, json};
use socket::{Socket, open};
use tokio_tungstenite::tungstenite::Message;

async fn terminal(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/terminal"), body).await.data(201)
}

async fn look(sandbox: &Sandbox, session: &Value) -> Socket {
    let path = sandbox.at(&format!("/terminal/stream?session_id={}", session.as_str().unwrap()));
    open(&sandbox.client, &path, &[]).await.unwrap()
}

/// A shell that shows nothing but what it is told to.
fn plain() -> Value {
    json!({ "cols": 90, "rows": 30, "shell": "sh", "env": { "PS1": "", "NAME": "wörld" }, "cwd": "/tmp" })
}

#[tokio::test]
async fn a_terminal_shows_what_is_typed_and_said() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = terminal(&sandbox, plain()).await;
    assert_eq!((&made["cols"], &made["rows"]), (&json!(90), &json!(30)));
    assert_eq!(made["session_id"], made["id"]);
    let url = made["stream_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("ws://{}/api/v1/sandboxes/", emulator.address)), "{url}");
    // The SDK names no session: the newest that nobody looks at is meant.
    let mut socket = open(&sandbox.client, &sandbox.at("/terminal/stream"), &[]).await.unwrap();
    socket.send("pwd; stty size; echo hello-$NAME; printf '\\377'\n").await;
    let shown = socket.until(&[0xff]).await;
    let text = String::from_utf8_lossy(&shown);
    assert!(
        text.contains("/tmp") && text.contains("30 90") && text.contains("hello-wörld"),
        "{text}"
    );
    socket.send(Message::binary(&b"exit 3\n"[..])).await;
    assert_eq!(socket.closed().await, Some(1000));
    let path = sandbox.at(&format!("/terminal/{}", made["session_id"].as_str().unwrap()));
    sandbox.client.delete(&path).await.refused(404, "terminal_not_found");
}

#[tokio::test]
async fn a_terminal_takes_another_size_in_each_way() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = terminal(&sandbox, plain()).await;
    let id = made["session_id"].as_str().unwrap();
    let mut socket = look(&sandbox, &made["session_id"]).await;
    socket.send(json!({ "type": "resize", "rows": 31, "cols": 101 }).to_string()).await;
    socket.send("stty size\n").await;
    socket.until(b"31 101").await;
    let body = json!({ "session_id": id, "rows": 32, "cols": 102 });
    let resized = sandbox.client.post(&sandbox.at("/exec/resize"), body).await.data(200);
    assert_eq!(resized["rows"], 32);
    socket.send("stty size\n").await;
    socket.until(b"32 102").await;
    let path = sandbox.at(&format!("/pty/{id}/resize"));
    sandbox.client.post(&path, json!({ "rows": 33, "cols": 103 })).await.data(200);
    socket.send("stty size\n").await;
    socket.until(b"33 103").await;
    let wrong = sandbox.client.post(&path, json!({ "rows": 0, "cols": 103 })).await;
    wrong.refused(422, "VALIDATION_FAILED");
    let nobody = json!({ "session_id": sandbox.id, "rows": 32, "cols": 102 });
    let wrong = sandbox.client.post(&sandbox.at("/exec/resize"), nobody).await;
    wrong.refused(404, "terminal_not_found");
}

#[tokio::test]
async fn who_comes_back_sees_the_end_of_what_was_shown_and_goes_on() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut here = plain();
    here["cwd"] = json!("/workspace");
    let made = terminal(&sandbox, here).await;
    let mut socket = look(&sandbox, &made["session_id"]).await;
    socket.send("X=kept; echo before-$X\n").await;
    socket.until(b"before-kept").await;
    // Lost without a word, while the shell goes on and says more than is remembered.
    sandbox.exec("mkfifo gate").await;
    socket.send("read go < gate; seq 200000; echo after-$X; touch said\n").await;
    drop(socket);
    sandbox.exec("echo go > gate").await;
    until(async || sandbox.exec("test -e said").await["exit_code"] == 0).await;
    let mut again = look(&sandbox, &made["session_id"]).await;
    let shown = again.until(b"after-kept").await;
    assert!(!shown.windows(11).any(|piece| piece == b"before-kept"), "{} bytes", shown.len());
    again.send("echo still-$X\n").await;
    again.until(b"still-kept").await;
}

#[tokio::test]
async fn who_looks_last_takes_the_terminal_over_and_others_have_their_own() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = terminal(&sandbox, plain()).await;
    let mut first = look(&sandbox, &made["session_id"]).await;
    first.send("echo one-$((1+1))\n").await;
    first.until(b"one-2").await;
    let mut second = look(&sandbox, &made["session_id"]).await;
    second.until(b"one-2").await;
    assert_eq!(first.closed().await, Some(4000));
    // Without a name a new one, since somebody looks at the only one.
    let mut other = open(&sandbox.client, &sandbox.at("/terminal/stream"), &[]).await.unwrap();
    other.send("echo pid-$$-; exec sleep 100\n").await;
    other.until(b"pid-").await;
    second.send("echo two-$((1+1))\n").await;
    second.until(b"two-2").await;
}

#[tokio::test]
async fn a_terminal_ends_by_delete_with_its_time_and_with_its_sandbox() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let session = |made: &Value| made["session_id"].as_str().unwrap().to_owned();
    let deleted = terminal(&sandbox, plain()).await;
    let mut socket = look(&sandbox, &deleted["session_id"]).await;
    let path = sandbox.at(&format!("/terminal/{}", session(&deleted)));
    assert_eq!(sandbox.client.delete(&path).await.status, 204);
    assert_eq!(socket.closed().await, Some(1000));
    sandbox.client.delete(&path).await.refused(404, "terminal_not_found");
    // One that somebody looks at stays; one that nobody comes back to does not.
    let (seen, left) = (terminal(&sandbox, plain()).await, terminal(&sandbox, plain()).await);
    let mut socket = look(&sandbox, &seen["session_id"]).await;
    socket.send("echo here-$((1+1))\n").await;
    socket.until(b"here-2").await;
    sandbox.client.advance(601).await;
    let resize = async |made: &Value| {
        let path = sandbox.at(&format!("/pty/{}/resize", session(made)));
        sandbox.client.post(&path, json!({ "rows": 30, "cols": 90 })).await.status
    };
    until(async || resize(&left).await == 404).await;
    assert_eq!(resize(&seen).await, 200);
    sandbox.client.delete(&sandbox.path).await.data(200);
    while socket.next().await.is_some() {}
}

#[tokio::test]
async fn a_sandbox_has_so_many_terminals_and_no_more() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut last = Value::Null;
    for _ in 0..16 {
        last = terminal(&sandbox, plain()).await;
    }
    let path = sandbox.at("/terminal");
    sandbox.client.post(&path, plain()).await.refused(409, "RESOURCE_STATE");
    let one = sandbox.at(&format!("/terminal/{}", last["session_id"].as_str().unwrap()));
    assert_eq!(sandbox.client.delete(&one).await.status, 204);
    terminal(&sandbox, plain()).await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_by_its_field() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (body, field) in [
        (json!({ "cols": 0 }), "cols"),
        (json!({ "rows": 5000 }), "rows"),
        (json!({ "shell": "no-such-shell" }), "shell"),
        (json!({ "cwd": "/no/such" }), "cwd"),
        (json!({ "env": { "A-B": "x" } }), "env.A-B"),
    ] {
        let refused = sandbox.client.post(&sandbox.at("/terminal"), body).await;
        let error = refused.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field);
    }
    // Nothing was left behind by those.
    for _ in 0..16 {
        terminal(&sandbox, plain()).await;
    }
    let other = Sandbox::new(&emulator).await;
    let made = terminal(&other, json!({})).await;
    let path = sandbox.at(&format!("/terminal/stream?session_id={}", made["id"].as_str().unwrap()));
    assert_eq!(open(&sandbox.client, &path, &[]).await.err().unwrap().0, 404);
    let stranger = emulator.client("msk_test_other");
    assert_eq!(open(&stranger, &sandbox.at("/terminal/stream"), &[]).await.err().unwrap().0, 404);
}

#[tokio::test]
async fn typing_keeps_a_sandbox_awake_and_wakes_it_and_looking_does_not() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "idle_timeout_sec": 100 })).await;
    let made = terminal(&sandbox, plain()).await;
    let mut socket = look(&sandbox, &made["session_id"]).await;
    sandbox.client.advance(60).await;
    socket.send("echo one-$((1+1))\n").await;
    socket.until(b"one-2").await;
    sandbox.client.advance(60).await;
    assert_eq!(sandbox.record().await["state"], "running");
    sandbox.client.advance(60).await;
    until(async || sandbox.record().await["state"] == "paused").await;
    socket.send("echo two-$((1+1))\n").await;
    until(async || sandbox.record().await["state"] == "running").await;
}

const ECHO: &str = r"import socket
s = socket.socket()
s.bind(('127.0.0.1', 0))
s.listen()
open('port', 'w').write(str(s.getsockname()[1]))
while True:
    c, _ = s.accept()
    got = b''
    while True:
        piece = c.recv(65536)
        if not piece: break
        got += piece
        if got.endswith(b'bye'): break
        c.sendall(piece)
    open('got', 'wb').write(got)
    c.close()
";

#[tokio::test]
async fn a_tunnel_carries_bytes_to_a_port_and_back() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("/workspace/echo.py", ECHO).await;
    let running = json!({ "command": "exec python3 echo.py" });
    let server = sandbox.client.request(Method::POST, &sandbox.at("/exec/stream")).json(&running);
    let _server = server.open().await;
    let mut port = None;
    until(async || {
        port = sandbox.read("port").await.filter(|text| !text.is_empty());
        port.is_some()
    })
    .await;
    let path = sandbox.at(&format!("/tunnel/{}", port.unwrap()));
    let asked = [("sec-websocket-protocol", "miosa-tunnel-v1")];
    let mut socket = open(&sandbox.client, &path, &asked).await.unwrap();
    assert_eq!(socket.response.headers()["sec-websocket-protocol"], "miosa-tunnel-v1");
    let all: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let mut back = Vec::new();
    for piece in all.chunks(100_000) {
        socket.send(Message::binary(piece.to_vec())).await;
        while back.len() + 100_000 < all.len() && back.len() < piece.len() {
            let Some(Message::Binary(bytes)) = socket.next().await else { panic!("no echo") };
            back.extend_from_slice(&bytes);
        }
    }
    while back.len() < all.len() {
        let Some(Message::Binary(bytes)) = socket.next().await else { panic!("no echo") };
        back.extend_from_slice(&bytes);
    }
    assert!(back == all);
    // Text is tolerated, and the port's end closes the socket.
    socket.send("bye").await;
    assert_eq!(socket.closed().await, Some(1000));
    // What was sent just before the client left arrives.
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    socket.send("the last words").await;
    socket.stream.close(None).await.unwrap();
    drop(socket);
    until(async || sandbox.read("got").await.as_deref() == Some("the last words")).await;
}

#[tokio::test]
async fn a_tunnel_to_nothing_is_refused_before_it_opens() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (port, status, code) in [
        ("1", 503, "PREVIEW_NOT_LISTENING"),
        ("0", 400, "INVALID_PARAMETER"),
        ("x", 400, "INVALID_PARAMETER"),
    ] {
        let path = sandbox.at(&format!("/tunnel/{port}"));
        let (got, body) = open(&sandbox.client, &path, &[]).await.err().unwrap();
        assert_eq!(got, status, "{body}");
        assert!(body.contains(code), "{body}");
    }
    let tunnel = sandbox.client.get(&sandbox.at("/ssh-tunnel")).await;
    tunnel.refused(501, "not_emulated");
}

#[tokio::test]
async fn terminals_end_with_the_emulator() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = terminal(&sandbox, plain()).await;
    let mut socket = look(&sandbox, &made["session_id"]).await;
    let ending = tokio::spawn(async move { socket.closed().await });
    emulator.end().await;
    assert!(matches!(ending.await.unwrap(), Some(1000 | 1001)));
}
