//! Services of a sandbox, through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{Sandbox, start, start_on, until};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn create(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/services"), body).await.data(201)
}

async fn look(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.client.get(&sandbox.at(&format!("/services/{name}"))).await.data(200)
}

async fn act(sandbox: &Sandbox, name: &str, what: &str) -> Value {
    let path = sandbox.at(&format!("/services/{name}/{what}"));
    sandbox.client.post(&path, json!({})).await.data(200)
}

/// The record, once it has this status.
async fn becomes(sandbox: &Sandbox, name: &str, status: &str) -> Value {
    let mut record = Value::Null;
    until(async || {
        record = look(sandbox, name).await;
        record["status"] == status
    })
    .await;
    record
}

async fn lines(sandbox: &Sandbox, file: &str) -> usize {
    sandbox.read(file).await.unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_service_runs_and_is_found_by_name_and_id() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "name": "web", "command": "echo $PORT > port; exec sleep 300", "env": { "PORT": "3000" }, "port": 3000 });
    let reply = sandbox.client.post(&sandbox.at("/services"), body.clone()).await;
    let made = reply.data(201);
    assert_eq!(
        (&made["status"], &made["name"], &made["port"]),
        (&json!("running"), &json!("web"), &json!(3000))
    );
    assert_eq!(reply.json()["id"], made["id"]);
    assert!(made["pid"].as_u64().is_some());
    until(async || sandbox.read("port").await.is_some_and(|text| text == "3000\n")).await;
    let id = made["id"].as_str().unwrap();
    assert_eq!(look(&sandbox, "web").await["id"], look(&sandbox, id).await["id"]);
    let list = sandbox.client.get(&sandbox.at("/services")).await;
    assert_eq!(
        (&list.data(200)[0]["id"], &list.json()["services"][0]["status"]),
        (&made["id"], &json!("running"))
    );
    sandbox.client.post(&sandbox.at("/services"), body).await.refused(409, "NAME_TAKEN");
    let nobody = sandbox.client.get(&sandbox.at("/services/nobody")).await;
    nobody.refused(404, "service_not_found");
    let stranger = emulator.client("msk_test_stranger");
    stranger.get(&sandbox.at("/services/web")).await.refused(404, "sandbox_not_found");
}

/// The docs say `restart`, the SDKs `restart_policy`, the Elixir client `auto_restart`: each finds its own.
#[tokio::test]
async fn a_policy_and_a_directory_are_read_and_shown_in_every_spelling() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (n, (fields, restart)) in [
        (json!({}), "on-failure"),
        (json!({ "restart": "always", "cwd": "/tmp" }), "always"),
        (json!({ "restart_policy": "no", "working_dir": "/tmp" }), "no"),
        (json!({ "auto_restart": true }), "always"),
        (json!({ "auto_restart": false }), "no"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({ "name": format!("s{n}"), "command": "exec sleep 300" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let made = create(&sandbox, body).await;
        assert_eq!((&made["restart"], &made["restart_policy"]), (&json!(restart), &json!(restart)));
        assert_eq!(made["auto_restart"], restart != "no");
        assert_eq!(made["cwd"], made["working_dir"]);
    }
}

#[tokio::test]
async fn a_service_is_started_again_as_its_policy_says() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (policy, code, again) in
        [("always", 0, true), ("on-failure", 3, true), ("on-failure", 0, false), ("no", 3, false)]
    {
        let name = format!("{policy}-{code}");
        let command = format!("echo run >> {name}; exit {code}");
        create(&sandbox, json!({ "name": name, "command": command, "restart": policy })).await;
        if again {
            until(async || lines(&sandbox, &name).await >= 3).await;
            let record = look(&sandbox, &name).await;
            assert!(record["restart_count"].as_u64().unwrap() >= 2);
            act(&sandbox, &name, "stop").await;
            let stopped = becomes(&sandbox, &name, "stopped").await;
            assert_eq!(stopped["desired_state"], "stopped");
        } else {
            let ended =
                becomes(&sandbox, &name, if code == 0 { "stopped" } else { "failed" }).await;
            assert_eq!((&ended["exit_code"], &ended["restart_count"]), (&json!(code), &json!(0)));
            assert_eq!(lines(&sandbox, &name).await, 1);
        }
    }
}

#[tokio::test]
async fn a_service_that_is_killed_comes_back_and_one_that_is_stopped_does_not() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let made = create(
        &sandbox,
        json!({ "name": "web", "command": "exec sleep 300", "restart": "always" }),
    )
    .await;
    let pid = made["pid"].as_u64().unwrap();
    sandbox.exec(&format!("kill -9 {pid}")).await;
    let mut record = Value::Null;
    until(async || {
        record = look(&sandbox, "web").await;
        record["status"] == "running" && record["pid"] != pid
    })
    .await;
    assert_eq!((&record["restart_count"], &record["exit_code"]), (&json!(1), &json!(137)));
    let stopped = act(&sandbox, "web", "stop").await;
    assert_eq!((&stopped["status"], &stopped["pid"]), (&json!("stopped"), &Value::Null));
    let started = act(&sandbox, "web", "start").await;
    assert_eq!(started["status"], "running");
    // Starting what runs changes nothing; a restart does.
    assert_eq!(act(&sandbox, "web", "start").await["pid"], started["pid"]);
    assert_ne!(act(&sandbox, "web", "restart").await["pid"], started["pid"]);
    let gone = sandbox.client.delete(&sandbox.at("/services/web")).await;
    assert_eq!(gone.status, 204);
    sandbox.client.get(&sandbox.at("/services/web")).await.refused(404, "service_not_found");
}

fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Go reads `message`, the Elixir client `line` or `message`.
#[tokio::test]
async fn a_log_line_has_every_clients_words() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "name": "web", "command": "echo one; echo two >&2; read line < gate; echo three; exec sleep 300", "restart": "no" });
    sandbox.exec("mkfifo gate").await;
    create(&sandbox, body).await;
    let path = sandbox.at("/services/web/logs");
    let mut seen = Vec::new();
    until(async || {
        let reply = sandbox.client.get(&path).await;
        assert_eq!(reply.header("content-type"), "text/event-stream");
        seen = events(std::str::from_utf8(&reply.body).unwrap());
        seen.len() == 2
    })
    .await;
    // The two streams are two pipes: which is read first is nobody's promise.
    seen.sort_by_key(|event| event["stream"] == "stderr");
    assert_eq!(
        seen[0],
        json!({ "timestamp": null, "stream": "stdout", "message": "one", "line": "one" })
    );
    assert_eq!((&seen[1]["stream"], &seen[1]["message"]), (&json!("stderr"), &json!("two")));
    let followed = format!("{path}?follow=true");
    let mut body = sandbox.client.request(Method::GET, &followed).open().await.into_body();
    sandbox.exec("echo go > gate").await;
    let mut text = String::new();
    while !text.contains("three") {
        let frame = tokio::time::timeout(harness::BOUND, body.frame()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    let live = events(&text);
    assert_eq!(live.last().unwrap()["line"], "three");
    assert!(live.last().unwrap()["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn services_start_with_their_machine_and_rest_with_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let command = "echo run >> runs; exec sleep 300";
    create(&sandbox, json!({ "name": "web", "command": command })).await;
    create(&sandbox, json!({ "name": "off", "command": command })).await;
    act(&sandbox, "off", "stop").await;
    until(async || lines(&sandbox, "runs").await == 2).await;
    sandbox.client.post(&sandbox.at("/pause"), json!({})).await.data(200);
    assert_eq!(look(&sandbox, "web").await["status"], "stopped");
    assert_eq!(look(&sandbox, "web").await["desired_state"], "running");
    sandbox.client.post(&sandbox.at("/resume"), json!({})).await.data(200);
    becomes(&sandbox, "web", "running").await;
    assert_eq!(lines(&sandbox, "runs").await, 2);
    sandbox.client.post(&sandbox.at("/stop"), json!({})).await.data(200);
    let down = look(&sandbox, "web").await;
    assert_eq!(down["status"], "stopped");
    assert!(down["reason"].as_str().unwrap().contains("does not run"));
    sandbox.client.post(&sandbox.at("/resume"), json!({})).await.data(200);
    becomes(&sandbox, "web", "running").await;
    until(async || lines(&sandbox, "runs").await == 3).await;
    assert_eq!(look(&sandbox, "off").await["status"], "stopped");
    // After a restart of the emulator: where the machine went on, so did the service.
    let data = emulator.stop().await;
    let emulator = start_on(data).await;
    let sandbox = Sandbox { client: emulator.client(hosted::KEY), ..sandbox };
    sandbox.exec("true").await;
    becomes(&sandbox, "web", "running").await;
    let docker = std::env::var("MIOSA_TEST_MACHINES").as_deref() == Ok("docker");
    until(async || lines(&sandbox, "runs").await == if docker { 3 } else { 4 }).await;
}

#[tokio::test]
async fn a_create_brings_its_services() {
    let emulator = start().await;
    let client = emulator.client(hosted::KEY);
    let services = json!([
        { "name": "web", "command": "exec sleep 300" },
        { "name": "worker", "command": "exec sleep 300", "restart": "always" },
    ]);
    let sandbox = Sandbox::with(&emulator, json!({ "services": services })).await;
    for name in ["web", "worker"] {
        becomes(&sandbox, name, "running").await;
    }
    let broken = json!({ "services": [{ "name": "web" }] });
    let refused = client.post("/sandboxes", broken).await;
    let error = refused.refused(422, "VALIDATION_FAILED");
    assert_eq!(error["details"][0]["field"], "services[0]");
    let twice =
        json!({ "services": [{ "name": "a", "command": "x" }, { "name": "a", "command": "y" }] });
    client.post("/sandboxes", twice).await.refused(409, "NAME_TAKEN");
    // One that cannot start says so; the sandbox is there.
    let lost =
        json!({ "services": [{ "name": "lost", "command": "x", "cwd": "/no/such/directory" }] });
    let sandbox = Sandbox::with(&emulator, lost).await;
    let lost = becomes(&sandbox, "lost", "failed").await;
    assert!(lost["reason"].as_str().unwrap().contains("/no/such/directory"), "{lost}");
}

#[tokio::test]
async fn what_cannot_be_a_service_is_refused_and_leaves_nothing() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (body, field) in [
        (json!({ "command": "x" }), "name"),
        (json!({ "name": "Not-Lower", "command": "x" }), "name"),
        (json!({ "name": "web" }), "command"),
        (json!({ "name": "web", "command": "x", "restart": "sometimes" }), "restart"),
        (json!({ "name": "web", "command": "x", "cwd": "/no/such/directory" }), "cwd"),
    ] {
        let refused = sandbox.client.post(&sandbox.at("/services"), body.clone()).await;
        let error = refused.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field, "{body}");
    }
    assert_eq!(sandbox.client.get(&sandbox.at("/services")).await.data(200), json!([]));
}
