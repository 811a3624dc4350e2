//! Creates that wait, within bounds, for a machine that is slow to come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;
mod slow;

use std::sync::Arc;
use std::time::Duration;

use boot::{id, path, until_state};
use harness::{Client, Emulator};
use miosa_emulator::api::compute::sandboxes::{Sandbox, State};
use miosa_emulator::http::ApiError;
use miosa_emulator::machines::Machines;
use miosa_emulator::machines::host::HostMachines;
use serde_json::{Value, json};
use slow::{Gate, SlowHost};
use uuid::Uuid;

const KEY: &str = "msk_test_wait";
const OUTCOME: &str = "x-miosa-wait-outcome";

async fn start(gate: &Gate) -> (Emulator, Client) {
    let data = tempfile::tempdir().unwrap();
    let inner = HostMachines::open(data.path()).await.unwrap();
    let host = SlowHost { gate: gate.clone(), inner };
    let machines = move |_: &std::path::Path| Machines::new(Arc::new(host));
    let emulator = Emulator::boot(data, machines, |config| {
        config.patience.ready = Duration::from_millis(300);
    })
    .await;
    let client = emulator.client(KEY);
    (emulator, client)
}

fn blank(name: &str) -> Value {
    json!({ "template_id": "blank", "name": name })
}

#[tokio::test]
async fn a_wait_that_is_fulfilled_answers_ready() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    gate.let_through(2);
    for query in ["wait=20", "wait=true"] {
        let reply = client.post(&format!("/sandboxes?{query}"), blank(query)).await;
        let sandbox = reply.data(201);
        assert_eq!((reply.header(OUTCOME), &sandbox["state"]), ("ready", &json!("running")));
        assert_eq!(sandbox["ready"], true);
    }
}

#[tokio::test]
async fn a_wait_that_is_over_answers_201_and_the_sandbox_goes_on_starting() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    let keyed = client.clone().with("idempotency-key", "k");
    let reply = keyed.post("/sandboxes?wait=2", blank("slow")).await;
    let sandbox = reply.data(201);
    assert_eq!((reply.header(OUTCOME), &sandbox["state"]), ("timeout", &json!("provisioning")));
    assert_eq!((&sandbox["ready"], &sandbox["ready_at"]), (&json!(false), &Value::Null));
    // A repetition is told the same.
    let again = keyed.post("/sandboxes?wait=2", blank("slow")).await;
    assert_eq!((again.header(OUTCOME), again.data(201)), ("timeout", sandbox.clone()));
    // Its name is taken, whoever asks for it while it starts.
    client.post("/sandboxes?wait=2", blank("slow")).await.refused(409, "CONFLICT");
    // Nothing runs in it yet, and the client is told when to come back.
    let exec = format!("{}/exec", path(&sandbox));
    let refused = client.post(&exec, json!({ "command": "true" })).await;
    let error = refused.refused(409, "SANDBOX_STARTING");
    assert_eq!((&error["retryable"], &error["retry_after_ms"]), (&json!(true), &json!(2000)));
    assert_eq!(refused.header("retry-after"), "2");
    gate.let_through(1);
    let running = until_state(&client, &sandbox, "running").await;
    assert_eq!((&running["ready"], &running["name"]), (&json!(true), &json!("slow")));
    assert_eq!(client.post(&exec, json!({ "command": "true" })).await.data(200)["exit_code"], 0);
}

#[tokio::test]
async fn wait_true_answers_504_and_a_repetition_gets_the_sandbox_instead_of_another() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    let keyed = client.clone().with("idempotency-key", "k");
    let refused = keyed.post("/sandboxes?wait=true", blank("slow")).await;
    let error = refused.refused(504, "SANDBOX_READY_TIMEOUT");
    assert_eq!(error["retryable"], false);
    let made = client.get("/sandboxes/by-name/slow").await.data(200);
    assert_eq!(error["details"]["sandbox_id"], made["id"]);
    let again = keyed.post("/sandboxes?wait=true", blank("slow")).await;
    assert_eq!((again.header(OUTCOME), &again.data(201)["id"]), ("timeout", &made["id"]));
    gate.let_through(1);
    until_state(&client, &made, "running").await;
    assert_eq!(client.get("/sandboxes").await.json()["total"], 1);
}

#[tokio::test]
async fn a_start_that_fails_after_its_answer_is_told_in_the_record() {
    let gate = Gate::shut();
    let (emulator, client) = start(&gate).await;
    let sandbox = client.post("/sandboxes?wait=2", blank("doomed")).await.data(201);
    gate.break_machines();
    gate.let_through(1);
    let failed = until_state(&client, &sandbox, "error").await;
    assert!(failed["metadata"]["last_error"]["reason"].is_string(), "{failed}");
    assert_eq!(boot::events(&emulator, &failed).await, ["sandbox.created", "sandbox.error"]);
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
    client.delete(&path(&sandbox)).await.data(200);
}

#[tokio::test]
async fn a_start_that_fails_within_its_wait_is_refused_and_leaves_nothing() {
    let gate = Gate::shut();
    let (_emulator, client) = start(&gate).await;
    gate.break_machines();
    gate.let_through(2);
    client.post("/sandboxes?wait=20", blank("a")).await.refused(500, "INTERNAL");
    client.post("/sandboxes?wait=true", blank("a")).await.refused(500, "INTERNAL");
    assert_eq!(client.get("/sandboxes?include_errored=true").await.json()["total"], 0);
}

#[tokio::test]
async fn a_delete_of_what_still_starts_waits_and_is_told_to_come_back() {
    let gate = Gate::shut();
    let (emulator, client) = start(&gate).await;
    let sandbox = client.post("/sandboxes?wait=2", blank("slow")).await.data(201);
    let (deleting, opening) = (client.clone(), gate.clone());
    let path = path(&sandbox);
    let deleted = tokio::spawn(async move { deleting.delete(&path).await });
    opening.let_through(1);
    deleted.await.unwrap().data(200);
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_promised_and_cut_off_by_a_crash_has_failed_and_says_so() {
    let emulator = boot::start().await;
    let client = emulator.client(KEY);
    let told = boot::create(&client, json!({ "name": "told" })).await;
    let untold = boot::create(&client, json!({ "name": "untold" })).await;
    // As if the emulator had died before their machines came.
    for (record, known) in [(&told, true), (&untold, false)] {
        let (org, id) =
            (boot::row(&emulator, record).await.org, Uuid::parse_str(&id(record)).unwrap());
        let torn: Result<_, ApiError> = emulator
            .app
            .store
            .write(move |tx| {
                Ok(tx.modify::<Sandbox>(org, id, |sandbox| {
                    sandbox.state = State::Provisioning;
                    sandbox.told = known;
                })?)
            })
            .await;
        assert!(torn.unwrap().is_some());
    }
    // No shutdown in order: it would settle them.
    let data = emulator.stop_as_killed().await;
    let emulator = boot::on(data).await;
    let client = emulator.client(KEY);
    let failed = client.get(&path(&told)).await.data(200);
    assert_eq!(failed["state"], "error");
    assert_eq!(
        failed["metadata"]["last_error"]["reason"],
        "the emulator ended while it was under way"
    );
    client.get(&path(&untold)).await.refused(404, "sandbox_not_found");
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_many_creates_of_one_name_at_once_one_wins() {
    let gate = Gate::shut();
    let (emulator, client) = start(&gate).await;
    gate.let_through(8);
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        racing.spawn(async move { client.post("/sandboxes", blank("mine")).await });
    }
    let replies = racing.join_all().await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(won.len(), 1);
    for lost in replies.iter().filter(|reply| reply.status != 201) {
        lost.refused(409, "CONFLICT");
    }
    // Who lost finds the winner by its name.
    let found = client.get("/sandboxes/by-name/mine").await.data(200);
    assert_eq!(found["id"], won[0].data(201)["id"]);
    assert_eq!(emulator.app.machines.list().await.unwrap().len(), 1);
}
