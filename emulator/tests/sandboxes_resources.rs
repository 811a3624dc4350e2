//! What a sandbox may use, uses and serves, and its tags.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{KEY, Sandbox, start, until};
use serde_json::{Value, json};

/// Holds this many megabytes for a moment; whether it could.
async fn holds(sandbox: &Sandbox, megabytes: u32) -> bool {
    let hold = format!("python3 -c 'x = b\"x\" * ({megabytes} << 20); print(len(x))'");
    sandbox.exec(&hold).await["exit_code"] == 0
}

#[tokio::test]
async fn a_resize_changes_the_limits_of_what_runs_or_is_refused() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "cpu_count": 1, "memory_mb": 256 })).await;
    let path = sandbox.at("/resources");
    let read = sandbox.client.get(&path).await.data(200);
    assert_eq!(
        (&read["resources"]["cpu"], &read["resources"]["memory_mb"]),
        (&json!(1), &json!(256))
    );
    let resize = async |body: Value| sandbox.client.patch(&path, body).await;
    resize(json!({})).await.refused(422, "VALIDATION_FAILED");
    resize(json!({ "cpu_count": 65 })).await.refused(422, "VALIDATION_FAILED");
    if read["capabilities"]["live_memory"] == false {
        assert!(read["capabilities"]["reason"].is_string(), "{read}");
        resize(json!({ "memory_mb": 512 })).await.refused(409, "RESIZE_UNSUPPORTED");
        assert_eq!(sandbox.record().await["memory_mb"], 256);
        return;
    }
    let server = sandbox.exec("sleep 300 > /dev/null 2>&1 & echo $!").await["stdout"].clone();
    assert!(!holds(&sandbox, 400).await, "256 MB are not held to");
    let resized = resize(json!({ "memory_mb": 1024 })).await.data(200);
    for (field, value) in [
        ("applied_live", json!(true)),
        ("requires_restart", json!(false)),
        ("changes", json!({ "memory_mb": { "from": 256, "to": 1024, "applied_live": true } })),
        ("resources", json!({ "cpu": 1, "memory_mb": 1024, "disk_size_mb": 10_240 })),
    ] {
        assert_eq!(resized[field], value, "{field}");
    }
    assert_eq!(resized["enforced"]["memory_mb"], 1024);
    assert!(holds(&sandbox, 400).await, "1024 MB are not given");
    // What ran before still does.
    let server: u32 = server.as_str().unwrap().trim().parse().unwrap();
    assert!(sandbox.runs(server).await);
    let record = sandbox.record().await;
    assert_eq!((&record["memory_mb"], &record["size"]), (&json!(1024), &json!("custom")));
    assert_eq!(record["resource_contract"]["id"], "sandbox/custom-1x1024x10240@v1");
    // Down again: not below what its processes hold, else yes.
    sandbox.exec("python3 -c 'import time; x = b\"x\" * (300 << 20); time.sleep(300)' > /dev/null 2>&1 &").await;
    let used = async || {
        let metrics = sandbox.client.get(&sandbox.at("/metrics")).await.data(200);
        metrics["current"]["memory_used_mb"].as_u64().unwrap()
    };
    until(async || used().await > 300).await;
    resize(json!({ "memory_mb": 256 })).await.refused(409, "RESIZE_REQUIRES_RESTART");
    sandbox.exec("pkill -f 'time.sleep'").await;
    until(async || used().await < 200).await;
    resize(json!({ "memory_mb": 256, "cpu_count": 2 })).await.data(200);
    assert!(!holds(&sandbox, 400).await);
    // A stopped one has it from its next start on.
    sandbox.client.post(&sandbox.at("/stop"), json!({})).await.data(200);
    let recorded = resize(json!({ "memory_mb": 1024 })).await.data(200);
    assert_eq!(
        (&recorded["applied_live"], &recorded["requires_restart"]),
        (&json!(false), &json!(true))
    );
    sandbox.client.post(&sandbox.at("/resume"), json!({})).await.data(200);
    assert!(holds(&sandbox, 400).await);
    assert_eq!(sandbox.client.get(&path).await.data(200)["enforced"]["memory_mb"], 1024);
}

#[tokio::test]
async fn metrics_are_measured_and_a_series_grows() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let metrics =
        async |query: &str| sandbox.client.get(&sandbox.at(&format!("/metrics{query}"))).await;
    sandbox.exec("sleep 300 > /dev/null 2>&1 &").await;
    let first = metrics("").await.data(200);
    assert_eq!((&first["resource_type"], &first["window"]), (&json!("sandbox"), &json!("1h")));
    assert_eq!(first["current"]["state"], "running");
    assert!(first["current"]["memory_used_mb"].as_u64().unwrap() > 0);
    assert!(first["current"]["processes"].as_u64().unwrap() >= 1);
    sandbox.exec("timeout 1.2 sh -c 'while :; do :; done'").await;
    until(async || {
        let cpu = metrics("?window=5m").await.data(200)["series"]["cpu_percent"].clone();
        cpu.as_array().unwrap().iter().any(|percent| percent.as_f64().is_some_and(|p| p > 5.0))
    })
    .await;
    let last = metrics("").await.data(200);
    let lengths: Vec<usize> = last["series"]
        .as_object()
        .unwrap()
        .values()
        .map(|one| one.as_array().unwrap().len())
        .collect();
    assert!(lengths[0] >= 2 && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    metrics("?window=soon").await.refused(400, "INVALID_PARAMETER");
    sandbox.client.post(&sandbox.at("/pause"), json!({})).await.data(200);
    let paused = metrics("").await.data(200);
    assert_eq!(
        (&paused["current"]["state"], &paused["current"]["cpu_percent"]),
        (&json!("paused"), &Value::Null)
    );
}

#[tokio::test]
async fn ports_are_what_listens_with_its_process() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let serve = format!("python3 -m http.server {port} --bind 127.0.0.1 > /dev/null 2>&1 &");
    sandbox.exec(&serve).await;
    let ports = async || sandbox.client.get(&sandbox.at("/ports")).await;
    let found = async || {
        let ports = ports().await.data(200);
        assert_eq!(ports["count"], ports["ports"].as_array().unwrap().len());
        ports["ports"].as_array().unwrap().iter().find(|one| one["port"] == port).cloned()
    };
    until(async || found().await.is_some()).await;
    let found = found().await.unwrap();
    assert_eq!((&found["protocol"], &found["state"]), (&json!("tcp"), &json!("listening")));
    assert_eq!(found["address"], "127.0.0.1");
    assert!(found["process"]["name"].as_str().unwrap().starts_with("python3"), "{found}");
    sandbox.client.post(&sandbox.at("/pause"), json!({})).await.data(200);
    ports().await.refused(409, "SANDBOX_NOT_RUNNING");
}

#[tokio::test]
async fn tags_are_set_from_a_list_or_a_map_and_each_client_reads_what_it_can() {
    let emulator = start().await;
    let sandbox =
        Sandbox::with(&emulator, json!({ "tags": ["old"], "metadata": { "n": 5 } })).await;
    let path = sandbox.at("/tags");
    let listed = sandbox.client.patch(&path, json!({ "tags": ["a", "b", "a"] })).await.data(200);
    assert_eq!((&listed["tags"], &listed["metadata"]), (&json!(["a", "b"]), &json!({ "n": 5 })));
    let mapped = sandbox.client.patch(&path, json!({ "tags": { "team": "red" } })).await.data(200);
    assert_eq!(mapped["tags"], json!(["team=red"]));
    // The Go command line decodes a map of texts, and fails on a list or a number.
    for agent in ["miosa-go/0.2.0", "Go-http-client/1.1"] {
        let cli = emulator.client(KEY).with("user-agent", agent).unchecked("it gets no tags");
        let read = cli.patch(&path, json!({ "tags": ["x"] })).await.data(200);
        assert_eq!((&read["tags"], &read["metadata"]), (&Value::Null, &json!({ "n": "5" })));
        let listed = cli.get("/sandboxes").await.data(200);
        assert_eq!((&listed[0]["tags"], &listed[0]["metadata"]["n"]), (&Value::Null, &json!("5")));
    }
    assert_eq!(sandbox.record().await["tags"], json!(["x"]));
    sandbox.client.patch(&path, json!({})).await.refused(422, "VALIDATION_FAILED");
    sandbox.client.patch(&path, json!({ "tags": [7] })).await.refused(422, "VALIDATION_FAILED");
}

/// What clients send or read differently, each served (fork, restore, delete).
#[tokio::test]
async fn forks_restores_and_deletes_answer_every_client() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "name": "source" })).await;
    // miosa-go 2.0 reads a fork as a bare computer, others under `data`; by name, as the command line asks.
    let reply = sandbox.client.post("/sandboxes/source/fork", json!({})).await;
    let (fork, whole) = (reply.data(201), reply.json());
    for field in ["id", "template_type", "template_id", "status", "state", "slug"] {
        assert!(fork[field].is_string(), "{field}");
        assert_eq!(whole[field], fork[field], "{field}");
    }
    // The command line restores without a body, others with an empty object.
    let snapshot = sandbox.client.post(&sandbox.at("/snapshots"), json!({})).await.data(201);
    let restore = sandbox.at(&format!("/restore/{}", snapshot["id"].as_str().unwrap()));
    for body in ["", "{}"] {
        let sending = sandbox.client.request(http::Method::POST, &restore);
        let restored = sending.bytes("application/json", body).send().await.data(200);
        assert_eq!((&restored["id"], &restored["state"]), (&json!(sandbox.id), &json!("running")));
    }
    let bare = sandbox.client.request(http::Method::POST, &restore).send().await;
    assert_eq!(bare.data(200)["id"], json!(sandbox.id));
    // A delete answers 200 with what is gone; a second one 404.
    let deleted = sandbox.client.delete(&sandbox.path).await.json();
    assert_eq!((&deleted["id"], &deleted["deleted"]), (&json!(sandbox.id), &json!(true)));
    assert_eq!(deleted["data"]["state"], "destroyed");
    sandbox.client.delete(&sandbox.path).await.refused(404, "sandbox_not_found");
}
