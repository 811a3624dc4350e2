//! Processes that go on without the request that started them, through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{Sandbox, start, start_on, until};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// Starts a process; its record.
async fn process(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/processes"), body).await.data(201)
}

fn pid(record: &Value) -> String {
    record["pid"].as_str().unwrap().to_owned()
}

async fn look(sandbox: &Sandbox, pid: &str) -> Value {
    sandbox.client.get(&sandbox.at(&format!("/processes/{pid}"))).await.data(200)
}

/// The record, once it has this status.
async fn becomes(sandbox: &Sandbox, pid: &str, status: &str) -> Value {
    let mut record = Value::Null;
    until(async || {
        record = look(sandbox, pid).await;
        record["status"] == status
    })
    .await;
    record
}

/// The text that a process has said, once it holds something.
async fn says(sandbox: &Sandbox, pid: &str, something: &str) -> String {
    let mut text = String::new();
    until(async || {
        let reply = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs"))).await;
        reply.data(200).as_str().unwrap().clone_into(&mut text);
        text.contains(something)
    })
    .await;
    text
}

async fn type_in(sandbox: &Sandbox, pid: &str, text: &str) {
    let path = sandbox.at(&format!("/processes/{pid}/stdin"));
    sandbox.client.post(&path, json!({ "data": text })).await.data(200);
}

#[tokio::test]
async fn a_process_goes_on_without_its_request_and_its_record_says_how_it_ended() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({
        "command": "echo $WORD; pwd; read line; echo got $line >&2; exit 3", "name": "waiter",
        "env": { "WORD": "hello" }, "cwd": "/tmp",
    });
    let reply = sandbox.client.post(&sandbox.at("/processes"), body).await;
    let record = reply.data(201);
    // A number in text, for those who read bare and for those who read `data` (Go reads text, Python makes it a number).
    assert_eq!(reply.json()["pid"], record["pid"]);
    assert!(pid(&record).parse::<u32>().is_ok());
    assert_eq!((&record["name"], &record["status"]), (&json!("waiter"), &json!("running")));
    assert_eq!((&record["exit_code"], &record["stopped_at"]), (&Value::Null, &Value::Null));
    let pid = pid(&record);
    assert_eq!(says(&sandbox, &pid, "/tmp").await, "hello\n/tmp\n");
    type_in(&sandbox, &pid, "you\n").await;
    let ended = becomes(&sandbox, &pid, "exited").await;
    assert_eq!((&ended["exit_code"], &ended["state"]), (&json!(3), &json!("exited")));
    assert!(ended["stopped_at"].as_str().unwrap() >= ended["started_at"].as_str().unwrap());
    assert!(says(&sandbox, &pid, "got you").await.ends_with("got you\n"));
    // It is found by its id too, and in the list.
    let id = record["id"].as_str().unwrap();
    assert_eq!(look(&sandbox, id).await, ended);
    let list = sandbox.client.get(&sandbox.at("/processes")).await;
    assert_eq!(list.data(200), json!([ended]));
    assert_eq!(list.json()["processes"], json!([ended]));
}

#[tokio::test]
async fn the_log_is_text_for_sdks_and_lines_for_the_command_line() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record = process(&sandbox, json!({ "command": "seq 5; echo end" })).await;
    let pid = pid(&record);
    says(&sandbox, &pid, "end").await;
    let path = sandbox.at(&format!("/processes/{pid}/logs?tail=2"));
    for agent in ["miosa-python/2.19.2", "miosa-go/2.0.2", "miosa-elixir/1.1.0"] {
        let reply = sandbox.client.clone().with("user-agent", agent).get(&path).await;
        assert_eq!(reply.data(200), "5\nend\n");
        assert_eq!(reply.json()["lines"], json!(["5", "end"]));
        assert_eq!(reply.json()["truncated"], true);
        assert_eq!(reply.json()["lost_bytes"], 0);
    }
    for agent in ["Go-http-client/1.1", "miosa-cli/3.0.0"] {
        let reply = sandbox.client.clone().with("user-agent", agent).get(&path).await;
        assert_eq!(reply.data(200)["lines"], json!(["5", "end"]));
    }
    let refused = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs?tail=x"))).await;
    refused.refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_log_keeps_its_end_within_bounds_and_says_what_is_lost() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let command = "head -c 3000000 /dev/zero | tr '\\0' x; echo; printf 'b\\377c\\n'; echo end";
    let record = process(&sandbox, json!({ "command": command })).await;
    let pid = pid(&record);
    becomes(&sandbox, &pid, "exited").await;
    let reply = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs"))).await;
    let (body, text) = (reply.json(), reply.data(200).as_str().unwrap().to_owned());
    assert!(text.ends_with("x\nb\u{fffd}c\nend\n"));
    assert!(text.len() < 600_000, "{}", text.len());
    let lost = body["lost_bytes"].as_u64().unwrap() as usize;
    // The replacement character has two bytes more than what it stands for.
    assert_eq!(lost + text.len() - 2, 3_000_000 + 9);
    assert_eq!(body["truncated"], true);
    let few = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs?tail=2"))).await;
    assert_eq!(few.data(200), "b\u{fffd}c\nend\n");
    let record = process(&sandbox, json!({ "command": "printf 'a\\377b'" })).await;
    let pid = self::pid(&record);
    becomes(&sandbox, &pid, "exited").await;
    let reply = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs"))).await;
    assert_eq!(reply.json()["text_base64"], "Yf9i");
}

#[tokio::test]
async fn a_process_ends_by_request_first_asked_then_killed() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let asked = process(
        &sandbox,
        json!({ "command": "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done" }),
    )
    .await;
    let asked = pid(&asked);
    says(&sandbox, &asked, "up").await;
    let stopped = sandbox.client.delete(&sandbox.at(&format!("/processes/{asked}"))).await;
    let stopped = stopped.data(200);
    assert_eq!((&stopped["status"], &stopped["exit_code"]), (&json!("stopped"), &json!(0)));
    says(&sandbox, &asked, "bye").await;
    let deaf = process(
        &sandbox,
        json!({ "command": "trap '' TERM; echo up; while :; do sleep 0.05; done" }),
    )
    .await;
    let deaf = pid(&deaf);
    says(&sandbox, &deaf, "up").await;
    let began = std::time::Instant::now();
    let killed = sandbox.client.delete(&sandbox.at(&format!("/processes/{deaf}"))).await.data(200);
    assert!(began.elapsed().as_secs() >= 5);
    assert_eq!((&killed["status"], &killed["signal"]), (&json!("stopped"), &json!(9)));
    assert!(!sandbox.runs(deaf.parse().unwrap()).await);
    // Once more changes nothing.
    let again = sandbox.client.delete(&sandbox.at(&format!("/processes/{deaf}"))).await.data(200);
    assert_eq!(again, killed);
    let nobody = sandbox.client.delete(&sandbox.at("/processes/999999")).await;
    nobody.refused(404, "process_not_found");
}

#[tokio::test]
async fn signals_and_input_reach_a_process() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record = process(&sandbox, json!({ "command": "trap 'echo caught' USR1; echo up; while read line; do echo got $line; done; echo end" })).await;
    let pid = pid(&record);
    says(&sandbox, &pid, "up").await;
    let at = |rest: &str| sandbox.at(&format!("/processes/{pid}{rest}"));
    let reply = sandbox.client.post(&at("/stdin"), json!({ "data": "one\n" })).await;
    assert_eq!(
        (reply.data(200)["ok"].clone(), reply.json()["ok"].clone()),
        (json!(true), json!(true))
    );
    says(&sandbox, &pid, "got one").await;
    sandbox.client.post(&at("/signal"), json!({ "signal": "SIGUSR1" })).await.data(200);
    says(&sandbox, &pid, "caught").await;
    sandbox
        .client
        .post(&at("/stdin"), json!({ "data_base64": "dHdvCg==", "eof": true }))
        .await
        .data(200);
    assert!(says(&sandbox, &pid, "end").await.contains("got two\n"));
    becomes(&sandbox, &pid, "exited").await;
    for (route, body) in [("/stdin", json!({ "data": "x" })), ("/signal", json!({ "signal": 15 }))]
    {
        sandbox.client.post(&at(route), body).await.refused(409, "RESOURCE_STATE");
    }
    let nonsense = sandbox.client.post(&at("/signal"), json!({ "signal": "SIGNOTHING" })).await;
    nonsense.refused(422, "VALIDATION_FAILED");
}

/// The data of the events of a whole stream.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_stream_gives_what_was_said_and_what_comes_and_its_exit_last() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record =
        process(&sandbox, json!({ "command": "echo before; read line; echo $line >&2; exit 4" }))
            .await;
    let pid = pid(&record);
    says(&sandbox, &pid, "before").await;
    let path = sandbox.at(&format!("/processes/{pid}/stream"));
    let client = sandbox.client.clone();
    let following = tokio::spawn(async move {
        let answer = client.request(Method::GET, &path).open().await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    });
    type_in(&sandbox, &pid, "after\n").await;
    let seen = events(&following.await.unwrap());
    assert_eq!(seen[0], json!({ "type": "stdout", "line": "before", "data": "before\n" }));
    assert_eq!((&seen[1]["type"], &seen[1]["line"]), (&json!("stderr"), &json!("after")));
    assert_eq!((&seen[2]["type"], &seen[2]["exit_code"]), (&json!("exit"), &json!(4)));
    assert_eq!(seen.len(), 3);
    // One that has ended is told again.
    let again = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/stream"))).await;
    assert_eq!(events(std::str::from_utf8(&again.body).unwrap()), seen);
}

#[tokio::test]
async fn a_process_ends_with_its_machine_and_its_record_says_so() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record = process(&sandbox, json!({ "command": "echo up; exec sleep 98765" })).await;
    let pid = pid(&record);
    says(&sandbox, &pid, "up").await;
    sandbox.client.post(&sandbox.at("/pause"), json!({})).await.data(200);
    assert_eq!(look(&sandbox, &pid).await["status"], "paused");
    // Looking has woken nobody.
    assert_eq!(sandbox.record().await["state"], "paused");
    sandbox.client.post(&sandbox.at("/resume"), json!({})).await.data(200);
    assert_eq!(look(&sandbox, &pid).await["status"], "running");
    sandbox.client.post(&sandbox.at("/stop"), json!({})).await.data(200);
    let ended = look(&sandbox, &pid).await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("stopped"), &Value::Null));
    assert!(ended["reason"].as_str().unwrap().contains("machine"));
    let logs = sandbox.client.get(&sandbox.at(&format!("/processes/{pid}/logs"))).await;
    logs.refused(409, "SANDBOX_NOT_RUNNING");
    sandbox.client.post(&sandbox.at("/resume"), json!({})).await.data(200);
    assert_eq!(look(&sandbox, &pid).await["status"], "stopped");
    let left = sandbox.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep 'sleep 9876[5]'").await;
    assert_eq!(left["exit_code"], 1, "{left}");
    // A restore ends them as well, and a fork has none.
    let other = process(&sandbox, json!({ "command": "exec sleep 300" })).await;
    let snapshot = sandbox.client.post(&sandbox.at("/snapshots"), json!({})).await.data(201);
    let fork = sandbox.client.post(&sandbox.at("/fork"), json!({})).await.data(201);
    let of_fork = format!("/sandboxes/{}/processes", fork["id"].as_str().unwrap());
    assert_eq!(sandbox.client.get(&of_fork).await.data(200), json!([]));
    let restore = format!("/restore/{}", snapshot["id"].as_str().unwrap());
    sandbox.client.post(&sandbox.at(&restore), json!({})).await.data(200);
    let id = other["id"].as_str().unwrap();
    assert_eq!(look(&sandbox, id).await["status"], "stopped");
}

#[tokio::test]
async fn after_a_restart_of_the_emulator_a_record_tells_the_truth() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record =
        process(&sandbox, json!({ "command": "echo up; read line; echo $line; exec sleep 300" }))
            .await;
    let pid = pid(&record);
    says(&sandbox, &pid, "up").await;
    let data = emulator.stop().await;
    let emulator = start_on(data).await;
    let sandbox = Sandbox { client: emulator.client(hosted::KEY), ..sandbox };
    let record = look(&sandbox, &pid).await;
    if std::env::var("MIOSA_TEST_MACHINES").as_deref() == Ok("docker") {
        // The container went on, and so did the process, its log and its input.
        assert_eq!(record["status"], "running");
        type_in(&sandbox, &pid, "still here\n").await;
        assert_eq!(says(&sandbox, &pid, "still").await, "up\nstill here\n");
        let stopped =
            sandbox.client.delete(&sandbox.at(&format!("/processes/{pid}"))).await.data(200);
        assert_eq!(stopped["status"], "stopped");
    } else {
        assert_eq!((&record["status"], &record["exit_code"]), (&json!("stopped"), &Value::Null));
    }
}

#[tokio::test]
async fn a_time_limit_ends_a_process() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let record = process(&sandbox, json!({ "command": "exec sleep 300", "timeout": 1 })).await;
    let ended = becomes(&sandbox, &pid(&record), "exited").await;
    assert_eq!((&ended["timed_out"], &ended["exit_code"]), (&json!(true), &json!(-1)));
}

#[tokio::test]
async fn what_cannot_start_is_refused_and_leaves_no_record() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (body, field) in [
        (json!({}), "command"),
        (json!({ "command": "true", "cwd": "/no/such/directory" }), "cwd"),
        (json!({ "cmd": "/no/such/program", "args": [] }), "command"),
        (json!({ "command": "true", "env": { "A-B": "x" } }), "env.A-B"),
        (json!({ "command": "true", "name": "" }), "name"),
    ] {
        let refused = sandbox.client.post(&sandbox.at("/processes"), body.clone()).await;
        let error = refused.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field, "{body}");
    }
    let other = json!({ "command": "true", "user": "nobody" });
    sandbox.client.post(&sandbox.at("/processes"), other).await.refused(501, "not_emulated");
    assert_eq!(sandbox.client.get(&sandbox.at("/processes")).await.data(200), json!([]));
}

#[tokio::test]
async fn another_organization_sees_no_process_and_a_key_starts_one_once() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let send = async || {
        let request = sandbox.client.request(Method::POST, &sandbox.at("/processes"));
        let body = json!({ "command": "exec sleep 300" });
        request.header("idempotency-key", "once").json(&body).send().await.data(201)
    };
    let (first, second) = (send().await, send().await);
    assert_eq!(first, second);
    let all = sandbox.client.get(&sandbox.at("/processes")).await.data(200);
    assert_eq!(all.as_array().unwrap().len(), 1);
    let stranger = emulator.client("msk_test_stranger");
    let path = sandbox.at(&format!("/processes/{}", pid(&first)));
    stranger.get(&path).await.refused(404, "sandbox_not_found");
    stranger.delete(&path).await.refused(404, "sandbox_not_found");
}
