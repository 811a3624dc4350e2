//! Commands on WebSockets, in every dialect, through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;
mod socket;

use harness::Emulator;
use hosted::{KEY, Sandbox, start, until};
use serde_json::{Value, json};
use socket::{Socket, open};
use tokio_tungstenite::tungstenite::Message;

const FRAMED: [(&str, &str); 1] = [("sec-websocket-protocol", "miosa-exec-v1")];

/// The path of a socket, its parameters encoded.
fn at(sandbox: &Sandbox, rest: &str, parameters: &[(&str, &str)]) -> String {
    let query = serde_urlencoded::to_string(parameters).unwrap();
    sandbox.at(&format!("/exec/{rest}?{query}"))
}

async fn framed(sandbox: &Sandbox, parameters: &[(&str, &str)]) -> Socket {
    open(&sandbox.client, &at(sandbox, "stream", parameters), &FRAMED).await.unwrap()
}

/// What was written to each stream, the exit code, and the close code.
#[derive(Debug, Default, PartialEq)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<i32>,
    close: Option<u16>,
}

fn said(messages: &[Message]) -> Said {
    let mut said = Said::default();
    for message in messages {
        match message {
            Message::Binary(frame) if frame[0] == 1 => said.stdout.extend_from_slice(&frame[1..]),
            Message::Binary(frame) if frame[0] == 2 => said.stderr.extend_from_slice(&frame[1..]),
            Message::Binary(frame) if frame[0] == 3 => {
                said.exit = Some(i32::from_be_bytes(frame[1..].try_into().unwrap()));
            }
            Message::Close(Some(close)) => said.close = Some(close.code.into()),
            _ => {}
        }
    }
    said
}

fn frame(kind: u8, payload: &[u8]) -> Message {
    Message::binary([&[kind], payload].concat())
}

#[tokio::test]
async fn frames_carry_both_streams_and_the_exit() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut socket = framed(
        &sandbox,
        &[
            ("command", "sh"),
            ("args", "-c"),
            ("args", "echo $A $1;pwd;echo no >&2;exit 7"),
            ("args", "_"),
            ("args", "a b"),
            ("env", "A=x=y"),
            ("cwd", "/tmp"),
        ],
    )
    .await;
    assert_eq!(socket.response.headers()["sec-websocket-protocol"], "miosa-exec-v1");
    let said = said(&socket.rest().await);
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "x=y a b\n/tmp\n");
    assert_eq!(said.stderr, b"no\n");
    assert_eq!((said.exit, said.close), (Some(7), Some(1000)));
}

#[tokio::test]
async fn input_ends_when_it_is_said_to_and_any_byte_survives() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut socket = framed(&sandbox, &[("command", "cat")]).await;
    let mut back = Vec::new();
    for piece in all.chunks(50_000) {
        socket.send(frame(0, piece)).await;
    }
    socket.send(frame(4, b"")).await;
    for message in socket.rest().await {
        if let Message::Binary(frame) = message
            && frame[0] == 1
        {
            back.extend_from_slice(&frame[1..]);
        }
    }
    assert_eq!(back.len(), all.len());
    assert!(back == all);
}

#[tokio::test]
async fn a_terminal_has_its_size_and_takes_another() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut socket = framed(
        &sandbox,
        &[
            ("command", "stty size;read x;stty size"),
            ("tty", "true"),
            ("rows", "31"),
            ("cols", "97"),
        ],
    )
    .await;
    socket.until(b"31 97").await;
    socket.send(frame(5, &[0, 40, 1, 44])).await;
    socket.send(frame(0, b"\r")).await;
    let said = said(&socket.rest().await);
    assert!(String::from_utf8_lossy(&said.stdout).contains("40 300"), "{said:?}");
    assert_eq!(said.exit, Some(0));
}

#[tokio::test]
async fn ports_that_open_and_close_meanwhile_are_told() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let code = "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nprint(s.getsockname()[1], flush=True)\ninput()\ns.close()\ninput()\n";
    sandbox.write("/workspace/listen.py", code).await;
    let mut socket = framed(&sandbox, &[("command", "python3 listen.py")]).await;
    let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut wait = async |socket: &mut Socket, wanted: &dyn Fn(u8, &[u8]) -> bool| {
        while !frames.iter().any(|(kind, payload)| wanted(*kind, payload)) {
            match socket.next().await {
                Some(Message::Binary(frame)) => frames.push((frame[0], frame[1..].to_vec())),
                other => panic!("{other:?}"),
            }
        }
        frames.iter().find(|(kind, payload)| wanted(*kind, payload)).unwrap().1.clone()
    };
    let printed = wait(&mut socket, &|kind, _| kind == 1).await;
    let port: u16 = String::from_utf8_lossy(&printed).trim().parse().unwrap();
    let told = json!({ "port": port }).to_string();
    wait(&mut socket, &|kind, payload| kind == 0x10 && payload == told.as_bytes()).await;
    socket.send(frame(0, b"\n")).await;
    wait(&mut socket, &|kind, payload| kind == 0x11 && payload == told.as_bytes()).await;
}

#[tokio::test]
async fn closing_or_losing_the_socket_ends_the_command() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (file, path, polite) in [
        ("one", "stream", true),
        ("two", "stream", false),
        ("three", "spawn", true),
        ("four", "ws", false),
    ] {
        // It reads no input, and some waits for it.
        let command = format!("echo $$ > {file}; exec sleep 300");
        let path = at(&sandbox, path, &[("command", &command)]);
        let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
        let pid = sandbox.pid_in(file).await;
        assert!(sandbox.runs(pid).await);
        socket.send(Message::binary(vec![0; 200_000])).await;
        if polite {
            socket.stream.close(None).await.unwrap();
        }
        drop(socket);
        until(async || !sandbox.runs(pid).await).await;
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_command_down() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    // Far more than all buffers on the way hold.
    let command = "for n in $(seq 200); do head -c 1000000 /dev/zero; echo $n > written; done";
    let mut socket = framed(&sandbox, &[("command", command)]).await;
    let Some(Message::Binary(first)) = socket.next().await else { panic!("no output") };
    let mut bytes = first.len() - 1;
    let (mut written, mut unchanged) = (None, 0);
    until(async || {
        let now = sandbox.read("written").await;
        unchanged = if now.is_some() && now == written { unchanged + 1 } else { 0 };
        written = now;
        unchanged > 50
    })
    .await;
    let stopped: u32 = written.unwrap().trim().parse().unwrap();
    assert!(stopped < 100, "{stopped} MB were taken");
    while let Some(Message::Binary(frame)) = socket.next().await {
        bytes += if frame[0] == 1 { frame.len() - 1 } else { 0 };
    }
    assert_eq!(bytes, 200_000_000);
    assert_eq!(sandbox.read("written").await.unwrap(), "200\n");
}

/// The JSON messages of a socket, to its end.
async fn objects(socket: &mut Socket) -> Vec<Value> {
    let texts = socket.rest().await.into_iter().filter_map(|message| match message {
        Message::Text(text) => Some(serde_json::from_str(&text).unwrap()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn without_a_subprotocol_both_sides_speak_json() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let script = "-c,cat; echo $A >&2; exit 3";
    let command = [("command", "sh"), ("args", script), ("env", r#"{"A":"b"}"#)];
    let path = at(&sandbox, "stream", &command);
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    assert!(socket.response.headers().get("sec-websocket-protocol").is_none());
    socket.send(json!({ "type": "stdin", "data": "héllo" }).to_string()).await;
    socket.send(Message::binary(&b"\xff"[..])).await;
    socket.send(json!({ "type": "stdin_close" }).to_string()).await;
    let told = objects(&mut socket).await;
    let text = |name: &str| {
        let of = told.iter().filter(|object| object["type"] == name);
        of.map(|object| object["data"].as_str().unwrap()).collect::<String>()
    };
    assert_eq!((text("stdout"), text("stderr")), ("héllo\u{fffd}".to_owned(), "b\n".to_owned()));
    assert!(told.iter().any(|object| object["data_base64"].is_string()));
    let exit = told.last().unwrap();
    assert_eq!((&exit["type"], &exit["code"]), (&json!("exit"), &json!(3)));
}

#[tokio::test]
async fn a_signal_reaches_a_command_that_reads_nothing() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let path = at(&sandbox, "stream", &[("command", "exec sleep 300")]);
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    socket.send(json!({ "type": "stdin", "data": "x".repeat(200_000) }).to_string()).await;
    socket.send(json!({ "type": "signal", "signal": "SIGTERM" }).to_string()).await;
    assert_eq!(objects(&mut socket).await.last().unwrap()["code"], 143);
    // And nonsense is told what it is.
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    socket.send("nonsense").await;
    assert_eq!(socket.closed().await, Some(1007));
}

#[tokio::test]
async fn spawn_sends_bytes_by_stream_and_its_exit_as_json() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let path = at(
        &sandbox,
        "spawn",
        &[("command", "cat;echo e >&2;exit 5"), ("rows", "24"), ("cols", "80")],
    );
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    socket.send(Message::binary(&b"in\xff\n"[..])).await;
    socket.send(json!({ "type": "resize", "rows": 30, "cols": 90 }).to_string()).await;
    socket.send(json!({ "type": "stdin_close" }).to_string()).await;
    let messages = socket.rest().await;
    let spoken = said(&messages);
    assert_eq!(
        (spoken.stdout.as_slice(), spoken.stderr.as_slice()),
        (&b"in\xff\n"[..], &b"e\n"[..])
    );
    let exit = messages
        .iter()
        .rev()
        .find_map(|message| message.to_text().ok().filter(|text| text.starts_with('{')));
    let exit: Value = serde_json::from_str(exit.unwrap()).unwrap();
    assert_eq!((&exit["type"], &exit["exit"]), (&json!("exit"), &json!(5)));
}

#[tokio::test]
async fn ws_takes_text_as_it_is_and_closes_with_the_exit_code() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let path = at(&sandbox, "ws", &[("command", "read a;echo got $a;exit 7")]);
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    assert!(socket.response.headers().get("sec-websocket-protocol").is_none());
    socket.send("héllo\n").await;
    let got = socket.until("got héllo\n".as_bytes()).await;
    assert_eq!(got, "got héllo\n".as_bytes());
    assert_eq!(socket.closed().await, Some(1007));
    let path = at(&sandbox, "ws", &[("command", "stty size;read a;stty size"), ("pty", "true")]);
    let mut socket = open(&sandbox.client, &path, &[]).await.unwrap();
    socket.until(b"24 80").await;
    socket.send(json!({ "type": "resize", "cols": 66, "rows": 33 }).to_string()).await;
    socket.send("\r").await;
    socket.until(b"33 66").await;
    assert_eq!(socket.closed().await, Some(1000));
}

#[tokio::test]
async fn a_browser_opens_a_socket_by_subprotocol_or_ticket_and_a_foreign_page_does_not() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let anonymous = emulator.anonymous();
    let path = at(&sandbox, "stream", &[("command", "true")]);
    let bearer = format!("miosa-exec-v1, bearer.{KEY}");
    let mut socket =
        open(&anonymous, &path, &[("sec-websocket-protocol", bearer.as_str())]).await.unwrap();
    assert_eq!(socket.response.headers()["sec-websocket-protocol"], "miosa-exec-v1");
    assert_eq!(said(&socket.rest().await).exit, Some(0));
    let minted = sandbox.client.post("/sse/ticket", json!({})).await.data(200);
    let by_ticket = format!("{path}&ticket={}", minted["ticket"].as_str().unwrap());
    let mut socket = open(&anonymous, &by_ticket, &FRAMED).await.unwrap();
    assert_eq!(said(&socket.rest().await).exit, Some(0));
    let (status, body) = open(&anonymous, &by_ticket, &FRAMED).await.err().unwrap();
    assert_eq!(status, 401);
    assert!(body.contains("TICKET_USED"), "{body}");
    let evil = [("sec-websocket-protocol", bearer.as_str()), ("origin", "http://evil.example")];
    let (status, body) = open(&anonymous, &path, &evil).await.err().unwrap();
    assert_eq!(status, 403);
    assert!(body.contains("ORIGIN_NOT_ALLOWED"), "{body}");
    let own = format!("http://{}", emulator.address);
    let own = [("sec-websocket-protocol", bearer.as_str()), ("origin", own.as_str())];
    assert!(open(&anonymous, &path, &own).await.is_ok());
}

#[tokio::test]
async fn what_cannot_start_is_refused_before_the_socket_opens() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (query, code) in [
        ("", "INVALID_PARAMETER"),
        ("command=true&cwd=/no/such", "INVALID_PARAMETER"),
        ("command=/no/such&args=x", "INVALID_PARAMETER"),
        ("command=true&tty=1&rows=0", "INVALID_PARAMETER"),
        ("command=true&env=x", "INVALID_PARAMETER"),
    ] {
        let path = sandbox.at(&format!("/exec/stream?{query}"));
        let (status, body) = open(&sandbox.client, &path, &FRAMED).await.err().unwrap();
        assert_eq!(status, 400, "{query}: {body}");
        assert!(body.contains(code), "{query}: {body}");
    }
    let nowhere = format!("/sandboxes/{}/exec/stream?command=true", uuid::Uuid::new_v4());
    assert_eq!(open(&sandbox.client, &nowhere, &FRAMED).await.err().unwrap().0, 404);
    let stranger = emulator.client("msk_test_other");
    let path = at(&sandbox, "stream", &[("command", "true")]);
    assert_eq!(open(&stranger, &path, &FRAMED).await.err().unwrap().0, 404);
    assert_eq!(open(&emulator.anonymous(), &path, &FRAMED).await.err().unwrap().0, 401);
    let reader = json!({ "name": "r", "scopes": ["sandboxes:read"] });
    let reader = sandbox.client.post("/api-keys", reader).await.data(201);
    let reader = emulator.client(reader["key"].as_str().unwrap());
    assert_eq!(open(&reader, &path, &FRAMED).await.err().unwrap().0, 403);
    let plain = sandbox.client.get(&path).await;
    plain.refused(426, "UPGRADE_REQUIRED");
    assert_eq!(plain.header("upgrade"), "websocket");
}

#[tokio::test]
async fn variables_of_a_socket_are_not_journalled_and_no_parameter_is_unread() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut socket = framed(&sandbox, &[("command", "true"), ("env", "TOKEN=hush")]).await;
    socket.rest().await;
    let journal = emulator.client(KEY).get("/_emulator/requests?limit=100").await;
    let text = std::str::from_utf8(&journal.body).unwrap();
    assert!(text.contains("/exec/stream?command=true&env=***"), "{text}");
    assert!(!text.contains("hush") && !text.contains("?command\""), "{text}");
}

#[tokio::test]
async fn every_socket_ends_with_the_emulator() {
    let emulator: Emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut socket = framed(&sandbox, &[("command", "sleep 300")]).await;
    let ending = tokio::spawn(async move { socket.closed().await });
    emulator.end().await;
    assert_eq!(ending.await.unwrap(), Some(1001));
}
