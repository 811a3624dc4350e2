//! Commands through real HTTP, in sandboxes that are plain processes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use bytes::Bytes;
use harness::Client;
use hosted::{Sandbox, start, until};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

#[tokio::test]
async fn a_command_answers_what_it_wrote_and_how_it_ended() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let reply =
        sandbox.client.post(&sandbox.at("/exec"), json!({ "command": "echo a; echo b >&2" })).await;
    let result = reply.data(200);
    assert_eq!((&result["stdout"], &result["stderr"]), (&json!("a\n"), &json!("b\n")));
    assert_eq!((&result["exit_code"], &result["success"]), (&json!(0), &json!(true)));
    assert_eq!(result["timed_out"], false);
    assert!(result["duration_ms"].is_u64());
    // Bare for those who read bare.
    assert_eq!(reply.json()["stdout"], "a\n");
    let output = sandbox.exec("echo a; sleep 0.1; echo b >&2; sleep 0.1; echo c").await;
    assert_eq!(output["output"], "a\nb\nc\n");
}

#[tokio::test]
async fn a_command_that_fails_is_an_answer() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (command, code) in [("exit 3", 3), ("no-such-program", 127), ("kill -9 $$", 137)] {
        let result = sandbox.exec(command).await;
        assert_eq!((&result["exit_code"], &result["success"]), (&json!(code), &json!(false)));
    }
}

#[tokio::test]
async fn a_command_gets_its_input_directory_and_environment() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "env": { "MADE": "with" } })).await;
    let body = json!({
        "command": "cat; pwd; echo $MADE $GIVEN", "stdin": "in\n", "cwd": "/tmp",
        "env": { "GIVEN": "here" }, "wait": true, "wait_timeout_ms": 120_000,
    });
    let result = sandbox.client.post(&sandbox.at("/exec"), body).await.data(200);
    assert_eq!(result["stdout"], "in\n/tmp\nwith here\n");
    let argv = json!({ "cmd": "printf", "args": ["%s|", "a b", "$HOME"] });
    let result = sandbox.client.post(&sandbox.at("/exec"), argv).await.data(200);
    assert_eq!(result["stdout"], "a b|$HOME|");
}

#[tokio::test]
async fn a_timeout_ends_the_command_and_is_an_answer() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "echo $$; exec sleep 300", "timeout": 1 });
    let result = sandbox.client.post(&sandbox.at("/exec"), body).await.data(200);
    assert_eq!((&result["timed_out"], &result["exit_code"]), (&json!(true), &json!(-1)));
    let pid = result["stdout"].as_str().unwrap().trim().parse().unwrap();
    until(async || !sandbox.runs(pid).await).await;
}

#[tokio::test]
async fn a_command_in_the_background_does_not_hold_the_answer() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let result = sandbox.exec("nohup sleep 300 > /dev/null 2>&1 & echo $!").await;
    let pid: u32 = result["stdout"].as_str().unwrap().trim().parse().unwrap();
    assert!(result["duration_ms"].as_u64().unwrap() < 5_000);
    assert!(sandbox.runs(pid).await);
}

#[tokio::test]
async fn what_cannot_run_is_refused_before_anything_runs() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for route in ["/exec", "/exec/stream"] {
        for (body, field) in [
            (json!({}), "command"),
            (json!({ "command": "" }), "command"),
            (json!({ "command": "a\u{0}" }), "command"),
            (json!({ "command": "true", "env": { "A-B": "x" } }), "env.A-B"),
            (json!({ "command": "true", "cwd": "/no/such/directory" }), "cwd"),
            (json!({ "cmd": "/no/such/program", "args": [] }), "command"),
        ] {
            let error = sandbox
                .client
                .post(&sandbox.at(route), body)
                .await
                .refused(422, "VALIDATION_FAILED");
            assert_eq!(error["details"][0]["field"], field);
        }
        let body = json!({ "command": "true", "timeout": 901_000 });
        sandbox.client.post(&sandbox.at(route), body).await.refused(422, "TIMEOUT_TOO_LONG");
    }
    let followed = json!({ "command": "true", "detached": true });
    let refused = sandbox.client.post(&sandbox.at("/exec/stream"), followed).await;
    refused.refused(501, "not_emulated");
    let nowhere = format!("/sandboxes/{}/exec", uuid::Uuid::new_v4());
    let reply = sandbox.client.post(&nowhere, json!({ "command": "true" })).await;
    reply.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn too_much_output_is_cut_and_said() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let result = sandbox.exec("head -c 9000000 /dev/zero | tr '\\0' x; echo end >&2").await;
    assert_eq!(result["stdout"].as_str().unwrap().len(), 8 * 1024 * 1024);
    assert_eq!(
        (&result["stdout_truncated"], &result["stderr_truncated"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(result["stderr"], "end\n");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_given_whole_beside_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let result = sandbox.exec("printf 'a\\377b'").await;
    assert_eq!(
        (&result["stdout"], &result["stdout_base64"]),
        (&json!("a\u{fffd}b"), &json!("Yf9i"))
    );
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_command() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for route in ["/exec", "/exec/stream"] {
        let file = format!("pid{}", route.len());
        let client = sandbox.client.clone();
        let body = json!({ "command": format!("echo $$ > {file}; exec sleep 300") });
        let path = sandbox.at(route);
        let request = tokio::spawn(async move {
            let answer = client.request(Method::POST, &path).json(&body).open().await;
            answer.into_body().collect().await.map(|_| ())
        });
        let pid = sandbox.pid_in(&file).await;
        assert!(sandbox.runs(pid).await);
        request.abort();
        until(async || !sandbox.runs(pid).await).await;
    }
}

#[tokio::test]
async fn a_command_with_a_key_goes_on_without_its_client_and_runs_once() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "echo $$ > pid; read line < gate; echo ran >> log; echo done" });
    let send = |client: Client| {
        let (path, body) = (sandbox.at("/exec"), body.clone());
        async move {
            let request = client.request(Method::POST, &path).header("idempotency-key", "once");
            request.json(&body).send().await
        }
    };
    sandbox.exec("mkfifo gate").await;
    let first = tokio::spawn(send(sandbox.client.clone()));
    let pid = sandbox.pid_in("pid").await;
    first.abort();
    assert!(sandbox.runs(pid).await);
    sandbox.exec("echo go > gate").await;
    let again = send(sandbox.client.clone()).await;
    assert_eq!(again.data(200)["stdout"], "done\n");
    assert_eq!(sandbox.read("log").await.unwrap(), "ran\n");
}

/// The events of a whole stream: names and data.
fn events(body: &Bytes) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.is_ascii());
    assert!(text.ends_with("\n\n"));
    text.split("\n\n")
        .filter(|event| !event.is_empty() && !event.starts_with(':'))
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (name.strip_prefix("event: ").unwrap().to_owned(), data)
        })
        .collect()
}

#[tokio::test]
async fn a_stream_gives_lines_and_its_exit_last() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let command = "echo héllo; sleep 0.1; printf 'no\\u2028end' >&2; exit 4";
    for accept in ["text/event-stream", "application/json", "*/*"] {
        for http2 in [false, true] {
            let request = sandbox
                .client
                .request(Method::POST, &sandbox.at("/exec/stream"))
                .header("accept", accept)
                .json(&json!({ "command": command }));
            let reply = if http2 { request.http2().send().await } else { request.send().await };
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("content-type"), "text/event-stream");
            assert_eq!(reply.header("x-accel-buffering"), "no");
            assert_eq!(reply.header("cache-control"), "no-store");
            let events = events(&reply.body);
            let stdout = json!({ "type": "stdout", "line": "héllo", "data": "héllo\n" });
            assert_eq!(events[0], ("stdout".to_owned(), stdout));
            let (name, data) = &events[1];
            assert_eq!((name.as_str(), &data["data"]), ("stderr", &data["line"]));
            let (name, exit) = events.last().unwrap();
            assert_eq!((name.as_str(), &exit["type"]), ("exit", &json!("exit")));
            assert_eq!((&exit["exit_code"], &exit["exitCode"]), (&json!(4), &json!(4)));
            assert_eq!(exit["timed_out"], false);
            assert_eq!(events.len(), 3);
        }
    }
}

async fn next_chunk(body: &mut Incoming) -> Option<Bytes> {
    let frame = tokio::time::timeout(harness::BOUND, body.frame()).await.unwrap()?;
    frame.unwrap().into_data().ok()
}

#[tokio::test]
async fn a_line_comes_while_the_command_still_runs() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("mkfifo gate").await;
    let body = json!({ "command": "echo first; read line < gate; echo $line" });
    let request = sandbox.client.request(Method::POST, &sandbox.at("/exec/stream")).json(&body);
    let mut stream = request.open().await.into_body();
    let first = next_chunk(&mut stream).await.unwrap();
    assert_eq!(events(&first)[0].1["line"], "first");
    sandbox.exec("echo second > gate").await;
    let rest = stream.collect().await.unwrap().to_bytes();
    let rest = events(&rest);
    assert_eq!(rest[0].1["line"], "second");
    assert_eq!(rest[1].0, "exit");
}

#[tokio::test]
async fn a_sandbox_that_rests_is_woken_by_a_command() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "persistent": true })).await;
    sandbox.client.post(&sandbox.at("/pause"), json!({})).await.data(200);
    assert_eq!(sandbox.record().await["state"], "paused");
    assert_eq!(sandbox.exec("echo awake").await["stdout"], "awake\n");
    assert_eq!(sandbox.record().await["state"], "running");
}

#[tokio::test]
async fn many_commands_run_at_once() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let running = (0..32).map(|n| {
        let (client, path) = (sandbox.client.clone(), sandbox.at("/exec"));
        tokio::spawn(async move {
            client.post(&path, json!({ "command": format!("echo {n}") })).await.data(200)
        })
    });
    for (n, result) in futures_util::future::join_all(running).await.into_iter().enumerate() {
        assert_eq!(result.unwrap()["stdout"], format!("{n}\n"));
    }
}

#[tokio::test]
async fn a_command_by_ticket_starts_when_its_events_are_opened_and_runs_once() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "echo $0 >> ran; echo a; echo b >&2; exit 4", "shell": "/bin/sh", "ticket": true });
    let minted = sandbox.client.post(&sandbox.at("/exec/stream"), body).await;
    let minted = minted.data(202);
    let ticket = minted["ticket"].as_str().unwrap();
    let url = minted["stream_url"].as_str().unwrap();
    assert_eq!(minted["expires_in"], 60);
    assert!(minted["expires_at"].as_u64().unwrap() > 1_700_000_000);
    let base = format!("http://{}", emulator.address);
    let path = url.strip_prefix(&base).unwrap();
    assert!(path.ends_with(&format!("?ticket={ticket}")));
    assert_eq!(sandbox.read("ran").await, None);
    // Another stream is not what it was minted for, and another sandbox is not where.
    let elsewhere = sandbox.at(&format!("/readiness/stream?ticket={ticket}"));
    emulator.anonymous().get(&elsewhere).await.refused(401, "TICKET_INVALID");
    let stream = emulator.anonymous().get(path).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let events = events(&stream.body);
    let lines: Vec<_> = events.iter().filter(|(name, _)| name == "output").collect();
    let said = |stream: &str| {
        lines
            .iter()
            .filter(|(_, data)| data["stream"] == stream)
            .map(|(_, data)| data["line"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((said("stdout"), said("stderr")), (vec![json!("a")], vec![json!("b")]));
    let (name, exit) = events.last().unwrap();
    assert_eq!(
        (name.as_str(), &exit["exitCode"], &exit["exit_code"]),
        ("exit", &json!(4), &json!(4))
    );
    emulator.anonymous().get(path).await.refused(401, "TICKET_USED");
    assert_eq!(sandbox.read("ran").await.unwrap(), "/bin/sh\n");
}

#[tokio::test]
async fn a_ticket_of_a_command_opens_with_a_credential_too_and_a_plain_one_does_not() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let other = Sandbox::new(&emulator).await;
    let body = json!({ "command": "echo a", "ticket": true });
    let mint = async || {
        let minted = sandbox.client.post(&sandbox.at("/exec/stream"), body.clone()).await;
        minted.data(202)["ticket"].as_str().unwrap().to_owned()
    };
    let at = |sandbox: &Sandbox, ticket: &str| {
        sandbox.at(&format!("/exec/stream/events?ticket={ticket}"))
    };
    let ticket = mint().await;
    assert_eq!(events(&sandbox.client.get(&at(&sandbox, &ticket)).await.body).len(), 2);
    sandbox.client.get(&at(&sandbox, &ticket)).await.refused(401, "TICKET_USED");
    let ticket = mint().await;
    sandbox.client.get(&at(&other, &ticket)).await.refused(401, "TICKET_INVALID");
    let plain = sandbox.client.post("/sse/ticket", json!({})).await.data(200);
    let path = at(&sandbox, plain["ticket"].as_str().unwrap());
    emulator.anonymous().get(&path).await.refused(401, "TICKET_INVALID");
    let ticket = mint().await;
    sandbox.client.advance(61).await;
    emulator.anonymous().get(&at(&sandbox, &ticket)).await.refused(401, "TICKET_EXPIRED");
    let body = json!({ "command": "cat", "ticket": true, "stdin": "x".repeat(40_000) });
    sandbox.client.post(&sandbox.at("/exec/stream"), body).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn a_client_of_a_ticket_that_goes_away_ends_its_command() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "echo $$ > pid; exec sleep 300", "ticket": true });
    let minted = sandbox.client.post(&sandbox.at("/exec/stream"), body).await.data(202);
    let path =
        sandbox.at(&format!("/exec/stream/events?ticket={}", minted["ticket"].as_str().unwrap()));
    let stream = emulator.anonymous().request(Method::GET, &path).open().await;
    let pid = sandbox.pid_in("pid").await;
    assert!(sandbox.runs(pid).await);
    drop(stream);
    until(async || !sandbox.runs(pid).await).await;
}
