//! Many sandboxes from one request, and one action on many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;
mod slow;

use std::sync::Arc;

use boot::{path, until};
use harness::{Client, Emulator};
use http::Method;
use http_body_util::BodyExt as _;
use miosa_emulator::machines::Machines;
use miosa_emulator::machines::host::HostMachines;
use serde_json::{Value, json};
use slow::{Gate, SlowHost};

const KEY: &str = "msk_test_batches";

async fn start(gate: &Gate) -> (Emulator, Client) {
    on(tempfile::tempdir().unwrap(), gate).await
}

async fn on(data: tempfile::TempDir, gate: &Gate) -> (Emulator, Client) {
    let inner = HostMachines::open(data.path()).await.unwrap();
    let host = SlowHost { gate: gate.clone(), inner };
    let machines = move |_: &std::path::Path| Machines::new(Arc::new(host));
    let emulator = Emulator::boot(data, machines, |_| {}).await;
    let client = emulator.client(KEY);
    (emulator, client)
}

fn request(count: u32, concurrency: u32) -> Value {
    json!({ "template_id": "blank", "count": count, "concurrency": concurrency, "name_prefix": "w" })
}

fn batch_path(batch: &Value) -> String {
    format!("/sandboxes/batches/{}", batch["id"].as_str().unwrap())
}

/// Waits until a counter has this value; answers the batch.
async fn until_counted(client: &Client, batch: &Value, counter: &str, value: Value) -> Value {
    let path = batch_path(batch);
    until(counter, || async { client.get(&path).await.data(200)[counter] == value }).await;
    client.get(&path).await.data(200)
}

#[tokio::test]
async fn a_batch_answers_at_once_and_makes_a_few_at_a_time() {
    let gate = Gate::shut();
    let (emulator, client) = start(&gate).await;
    let reply = client.post("/sandboxes/batch", request(5, 2)).await;
    let batch = reply.data(202);
    assert_eq!((&batch["status"], &batch["requested_count"]), (&json!("pending"), &json!(5)));
    assert_eq!(batch["concurrency_limit"], 2);
    let begun = until_counted(&client, &batch, "dispatched", json!(2)).await;
    for (counter, value) in [
        ("status", json!("running")),
        ("requested", json!(5)),
        ("pending", json!(3)),
        ("succeeded", json!(0)),
        ("live_count", json!(2)),
        ("creates_per_second_avg", Value::Null),
        ("settled?", json!(false)),
    ] {
        assert_eq!(begun[counter], value, "{counter}");
    }
    gate.let_through(5);
    let settled = until_counted(&client, &batch, "settled?", json!(true)).await;
    for (counter, value) in [
        ("status", json!("completed")),
        ("dispatched", json!(5)),
        ("pending", json!(0)),
        ("succeeded", json!(5)),
        ("dispatch_failed", json!(0)),
        ("cancelled", json!(0)),
        ("live_count", json!(5)),
        ("boot_error_count", json!(0)),
        ("destroyed_count", json!(0)),
        ("failed_total", json!(0)),
        ("failure_samples", json!([])),
    ] {
        assert_eq!(settled[counter], value, "{counter}");
    }
    assert!(settled["creates_per_second_avg"].as_f64().unwrap() > 0.0);
    // Its sandboxes are in the order of their numbers, and ordinary ones.
    let items = client.get(&format!("{}/items", batch_path(&batch))).await.data(200);
    let names: Vec<_> = items.as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["w-1", "w-2", "w-3", "w-4", "w-5"]);
    assert_eq!((&items[4]["batch_item_index"], &items[4]["state"]), (&json!(4), &json!("running")));
    let part = client.get(&format!("{}/items?limit=2&page=2", batch_path(&batch))).await;
    assert_eq!((&part.data(200)[0]["name"], &part.json()["total"]), (&json!("w-3"), &json!(5)));
    assert_eq!(client.get("/sandboxes").await.json()["total"], 5);
    client.delete(&path(&items[0])).await.data(200);
    let later = client.get(&batch_path(&batch)).await.data(200);
    assert_eq!((&later["live_count"], &later["destroyed_count"]), (&json!(4), &json!(1)));
    assert_eq!(emulator.app.machines.list().await.unwrap().len(), 4);
    // Nobody else sees it.
    let other = emulator.client("msk_test_other");
    other.get(&batch_path(&batch)).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_is_refused_or_fails_is_counted_and_told() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    gate.let_through(1);
    client.post("/sandboxes", json!({ "template_id": "blank", "name": "w-2" })).await.data(201);
    gate.break_machines();
    let batch = client.post("/sandboxes/batch", request(3, 1)).await.data(202);
    gate.let_through(2);
    let settled = until_counted(&client, &batch, "settled?", json!(true)).await;
    for (counter, value) in [
        ("status", json!("failed")),
        ("succeeded", json!(0)),
        ("dispatch_failed", json!(1)),
        ("boot_error_count", json!(2)),
        ("failed_total", json!(3)),
        ("live_count", json!(0)),
    ] {
        assert_eq!(settled[counter], value, "{counter}");
    }
    let sample = &settled["failure_samples"][0];
    assert_eq!((&sample["batch_item_index"], &sample["code"]), (&json!(1), &json!("CONFLICT")));
    let items = client.get(&format!("{}/items", batch_path(&batch))).await.data(200);
    assert!(items[0]["metadata"]["last_error"]["reason"].is_string(), "{items}");
}

#[tokio::test]
async fn a_cancelled_batch_begins_no_more_and_what_has_begun_goes_on() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    let batch = client.post("/sandboxes/batch", request(6, 2)).await.data(202);
    until_counted(&client, &batch, "dispatched", json!(2)).await;
    let cancel = format!("{}/cancel", batch_path(&batch));
    let cancelled = client.post(&cancel, json!({})).await.data(200);
    assert_eq!((&cancelled["status"], &cancelled["cancelled"]), (&json!("cancelled"), &json!(4)));
    assert_eq!((&cancelled["pending"], &cancelled["settled?"]), (&json!(0), &json!(false)));
    client.post(&cancel, json!({})).await.refused(409, "BATCH_ALREADY_TERMINAL");
    gate.let_through(6);
    let settled = until_counted(&client, &batch, "settled?", json!(true)).await;
    assert_eq!((&settled["status"], &settled["succeeded"]), (&json!("cancelled"), &json!(2)));
    assert_eq!(client.get("/sandboxes").await.json()["total"], 2);
}

#[tokio::test]
async fn events_tell_each_step_and_end_when_it_is_settled() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    let batch = client.post("/sandboxes/batch", request(3, 1)).await.data(202);
    let events = format!("{}/events", batch_path(&batch));
    let stream = client.request(Method::GET, &events).open().await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    gate.let_through(3);
    let whole = tokio::time::timeout(harness::BOUND, stream.into_body().collect()).await.unwrap();
    let text = String::from_utf8(whole.unwrap().to_bytes().to_vec()).unwrap();
    let told: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let last = told.last().unwrap();
    assert_eq!((&last["event"], &last["succeeded"]), (&json!("batch_settled"), &json!(3)));
    assert!(told.len() >= 2 && told[0]["event"] == "batch_progress", "{text}");
    assert!(text.trim_end().lines().rev().nth(1).unwrap() == "event: batch_settled", "{text}");
    // Who comes later hears the end at once.
    let late = client.get(&events).await;
    assert!(String::from_utf8_lossy(&late.body).starts_with("event: batch_settled\n"));
}

#[tokio::test]
async fn a_batch_that_a_crash_cut_off_goes_on_and_says_what_was_lost() {
    let gate = Gate::shut();
    let (emulator, client) = start(&gate).await;
    let batch = client.post("/sandboxes/batch", request(4, 2)).await.data(202);
    gate.let_through(1);
    until_counted(&client, &batch, "dispatched", json!(3)).await;
    // Two are being made; nobody comes back to them.
    let data = emulator.killed();
    let gate = Gate::shut();
    gate.let_through(4);
    let (_emulator, client) = on(data, &gate).await;
    let settled = until_counted(&client, &batch, "settled?", json!(true)).await;
    for (counter, value) in [
        ("status", json!("completed")),
        ("dispatched", json!(4)),
        ("succeeded", json!(2)),
        ("boot_error_count", json!(2)),
        ("failed_total", json!(2)),
    ] {
        assert_eq!(settled[counter], value, "{counter}");
    }
}

#[tokio::test]
async fn a_batch_under_a_key_is_made_once_and_a_wrong_one_not_at_all() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    gate.let_through(2);
    let keyed = client.clone().with("idempotency-key", "batch");
    let first = keyed.post("/sandboxes/batch", request(2, 2)).await.data(202);
    assert_eq!(keyed.post("/sandboxes/batch", request(2, 2)).await.data(202)["id"], first["id"]);
    until_counted(&client, &first, "settled?", json!(true)).await;
    assert_eq!(client.get("/sandboxes").await.json()["total"], 2);
    for (body, status, code) in [
        (json!({}), 422, "VALIDATION_FAILED"),
        (json!({ "count": 2, "name": "same" }), 422, "VALIDATION_FAILED"),
        (json!({ "count": 2, "setup_file": "" }), 422, "INVALID_SETUP_FILE"),
        (json!({ "count": 2, "template_id": "nope" }), 404, "TEMPLATE_NOT_FOUND"),
        (json!({ "count": 2, "database": true }), 501, "not_emulated"),
    ] {
        client.post("/sandboxes/batch", body).await.refused(status, code);
    }
    let unknown = json!({ "count": 2, "template_id": "nope" });
    client.post("/sandboxes/batch", unknown).await.refused(404, "TEMPLATE_NOT_FOUND");
    client.get("/sandboxes/batches/nope").await.refused(404, "NOT_FOUND");
}

async fn job(client: &Client, action: &str, which: Value) -> Value {
    let queued = client.post(&format!("/bulk/sandboxes/{action}"), which).await;
    assert_eq!(queued.status, 202, "{queued:?}");
    let id = queued.json()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/bulk/jobs/{id}");
    until("completed", || async { client.get(&path).await.json()["state"] == "completed" }).await;
    let job = client.get(&path).await.data(200);
    assert_eq!(job["total"], queued.json()["queued"]);
    job
}

#[tokio::test]
async fn a_bulk_action_reaches_what_is_named_or_matched_and_says_with_which_it_failed() {
    let emulator = boot::start().await;
    let client = emulator.client(KEY);
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let tags = if name == "c" { json!([]) } else { json!(["web"]) };
        made.push(boot::create(&client, json!({ "name": name, "tags": tags })).await);
    }
    let states = async || {
        let listed = client.get("/sandboxes?sort=name-asc").await.data(200);
        listed.as_array().unwrap().iter().map(|one| one["state"].clone()).collect::<Vec<_>>()
    };
    let paused = job(&client, "pause", json!({ "filter": { "tags": ["web"] } })).await;
    assert_eq!((&paused["action"], &paused["completed"]), (&json!("pause"), &json!(2)));
    assert_eq!(states().await, ["paused", "paused", "running"]);
    let everyone: Vec<Value> = made.iter().map(|one| one["id"].clone()).collect();
    // What is so already is no failure; what is not there is.
    let mut ids = everyone.clone();
    ids.push(json!("nobody"));
    let resumed = job(&client, "resume", json!({ "ids": ids })).await;
    assert_eq!((&resumed["completed"], &resumed["failed"]), (&json!(3), &json!(1)));
    assert_eq!(resumed["failures"][0]["code"], "sandbox_not_found");
    assert_eq!(states().await, ["running", "running", "running"]);
    let destroyed = job(&client, "destroy", json!({ "filter": { "state": "running" } })).await;
    assert_eq!(destroyed["completed"], 3);
    assert!(states().await.is_empty());
    let post = |action: &str, body| {
        let (client, path) = (client.clone(), format!("/bulk/sandboxes/{action}"));
        async move { client.post(&path, body).await }
    };
    post("pause", json!({})).await.refused(422, "VALIDATION_FAILED");
    post("pause", json!({ "ids": [], "filter": {} })).await.refused(422, "VALIDATION_FAILED");
    // A condition that nobody knows must not widen what is reached.
    post("destroy", json!({ "filter": { "statte": "paused" } }))
        .await
        .refused(422, "VALIDATION_FAILED");
    post("explode", json!({ "ids": [] })).await.refused(404, "ROUTE_NOT_FOUND");
    let empty = post("pause", json!({ "ids": [] })).await;
    assert_eq!((empty.status, &empty.json()["queued"]), (202, &json!(0)));
    let id = empty.json()["job_id"].as_str().unwrap().to_owned();
    let other = emulator.client("msk_test_other");
    other.get(&format!("/bulk/jobs/{id}")).await.refused(404, "NOT_FOUND");
}
