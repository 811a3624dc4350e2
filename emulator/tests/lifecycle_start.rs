//! The start after a crash, and the end: rows and machines agree, and nothing is left that nobody owns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;

use boot::{create, events, on, path, quiet, row, said, start, until};
use miosa_emulator::api::compute::sandboxes::{Sandbox, State};
use miosa_emulator::http::{ApiError, ApiResult};
use miosa_emulator::lifecycle;
use miosa_emulator::machines::{Base, MachineSpec};
use miosa_emulator::store::idempotency::{Key, Record};
use serde_json::{Value, json};
use uuid::Uuid;

const KEY: &str = "msk_test_start";

/// Changes the stored row behind the emulator's back, as a crash in the middle of something leaves it.
async fn torn(
    emulator: &harness::Emulator,
    record: &Value,
    change: impl FnOnce(&mut Sandbox) + Send + 'static,
) {
    let Sandbox { org, id, .. } = row(emulator, record).await;
    let changed: ApiResult<_> = emulator
        .app
        .store
        .write(move |tx| tx.modify::<Sandbox>(org, id, change).map_err(ApiError::from))
        .await;
    changed.map_err(|error| error.log).unwrap().unwrap();
}

/// The emulator dies without a chance to do anything: its machines, plain processes, die with it.
async fn crash(emulator: harness::Emulator) -> tempfile::TempDir {
    for machine in emulator.app.machines.list().await.unwrap() {
        emulator.app.machines.host().unwrap().stop(machine.id).await.unwrap();
    }
    emulator.stop().await
}

#[tokio::test]
async fn after_a_crash_running_sandboxes_are_paused_with_their_files() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s" })).await;
    said(&emulator, &sandbox, "echo kept > file").await;
    // No lifecycle sees the machines die.
    emulator.app.stopping.cancel();
    let emulator = on(crash(emulator).await).await;
    let client = emulator.client(KEY);
    let paused = client.get(&path(&sandbox)).await.data(200);
    assert_eq!((&paused["state"], &paused["id"]), (&json!("paused"), &sandbox["id"]));
    assert_eq!(events(&emulator, &sandbox).await.last().unwrap(), "sandbox.paused");
    assert_eq!(said(&emulator, &sandbox, "cat file").await, "kept\n");
}

#[tokio::test]
async fn a_create_that_was_cut_off_is_undone_and_its_retry_runs_anew() {
    let emulator = quiet(tempfile::tempdir().unwrap()).await;
    let client = emulator.client(KEY).with("idempotency-key", "cut");
    let sandbox = create(&client, json!({ "name": "cut" })).await;
    // As it was before its outcome was committed: a row, a machine and a claim without an answer.
    torn(&emulator, &sandbox, |sandbox| {
        sandbox.state = State::Provisioning;
        sandbox.alive = false;
    })
    .await;
    let key = Key { org: row(&emulator, &sandbox).await.org, key: "cut".into() };
    let unanswered: ApiResult<()> = emulator
        .app
        .store
        .write(move |tx| {
            let record = tx.idempotency(&key)?.unwrap();
            Ok(tx.claim_idempotency(&key, &Record { answer: None, ..record }, false)?)
        })
        .await;
    unanswered.map_err(|error| error.log).unwrap();
    let emulator = on(crash(emulator).await).await;
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
    let client = emulator.client(KEY).with("idempotency-key", "cut");
    emulator.client(KEY).get(&path(&sandbox)).await.refused(404, "sandbox_not_found");
    let anew = create(&client, json!({ "name": "cut" })).await;
    assert_ne!(anew["id"], sandbox["id"]);
    assert_eq!(emulator.app.machines.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_nobody_can_know_is_never_run_again() {
    let emulator = quiet(tempfile::tempdir().unwrap()).await;
    let sandbox = create(&emulator.client(KEY), json!({})).await;
    let client = emulator.client(KEY).with("idempotency-key", "lost");
    client.post("/sandboxes", json!({ "template_id": "blank", "name": "x" })).await.data(201);
    let key = Key { org: row(&emulator, &sandbox).await.org, key: "lost".into() };
    let unanswered: ApiResult<()> = emulator
        .app
        .store
        .write(move |tx| {
            let record = tx.idempotency(&key)?.unwrap();
            // Of an operation that no row knows.
            let record = Record { answer: None, operation: Uuid::new_v4(), ..record };
            Ok(tx.claim_idempotency(&key, &record, false)?)
        })
        .await;
    unanswered.map_err(|error| error.log).unwrap();
    let emulator = on(crash(emulator).await).await;
    let client = emulator.client(KEY).with("idempotency-key", "lost");
    for _ in 0..2 {
        let reply = client.post("/sandboxes", json!({ "template_id": "blank", "name": "x" })).await;
        assert_eq!((reply.status, &reply.json()["code"]), (500, &json!("OUTCOME_UNKNOWN")));
    }
    assert_eq!(emulator.client(KEY).get("/sandboxes").await.json()["total"], 2);
}

#[tokio::test]
async fn a_machine_without_a_sandbox_is_removed_and_a_sandbox_without_one_says_so() {
    let emulator = quiet(tempfile::tempdir().unwrap()).await;
    let client = emulator.client(KEY);
    let (whole, bare) = (create(&client, json!({})).await, create(&client, json!({})).await);
    let Sandbox { shape, .. } = row(&emulator, &whole).await;
    let orphan = MachineSpec {
        id: Uuid::new_v4(),
        operation: Uuid::new_v4(),
        base: Base::Template("blank".into()),
        shape,
        env: std::collections::BTreeMap::new(),
        hostname: "orphan".into(),
    };
    emulator.app.machines.create(&orphan).await.unwrap();
    emulator.app.machines.remove(row(&emulator, &bare).await.id).await.unwrap();
    let emulator = quiet(crash(emulator).await).await;
    let report = lifecycle::reconcile(&emulator.app).await.map_err(|error| error.log).unwrap();
    assert_eq!((report.orphans, report.failed, report.paused), (1, 1, 1));
    let machines = emulator.app.machines.list().await.unwrap();
    assert_eq!(
        machines.iter().map(|found| found.id).collect::<Vec<_>>(),
        [row(&emulator, &whole).await.id]
    );
    let client = emulator.client(KEY);
    let failed = client.get(&path(&bare)).await.data(200);
    assert_eq!((&failed["state"], &failed["ready"]), (&json!("error"), &json!(false)));
    assert!(failed["metadata"]["last_error"]["reason"].is_string());
    // A second start changes nothing.
    let again = lifecycle::reconcile(&emulator.app).await.map_err(|error| error.log).unwrap();
    assert_eq!(again, lifecycle::Report::default());
    client.delete(&path(&bare)).await.data(200);
}

#[tokio::test]
async fn transitions_that_were_cut_off_are_settled() {
    let emulator = quiet(tempfile::tempdir().unwrap()).await;
    let client = emulator.client(KEY);
    let mut cut = Vec::new();
    for state in [State::Pausing, State::Resuming, State::Snapshotting] {
        let sandbox = create(&client, json!({})).await;
        said(&emulator, &sandbox, "echo kept > file").await;
        torn(&emulator, &sandbox, move |sandbox| sandbox.state = state).await;
        cut.push(sandbox);
    }
    let emulator = on(crash(emulator).await).await;
    let client = emulator.client(KEY);
    for sandbox in &cut {
        assert_eq!(client.get(&path(sandbox)).await.data(200)["state"], "paused");
        assert_eq!(said(&emulator, sandbox, "cat file").await, "kept\n");
    }
}

#[tokio::test]
async fn without_machines_nothing_is_thrown_away() {
    let emulator = start().await;
    let sandbox = create(&emulator.client(KEY), json!({})).await;
    said(&emulator, &sandbox, "echo kept > file").await;
    emulator.app.stopping.cancel();
    let data = crash(emulator).await;
    let none = harness::Emulator::boot(
        data,
        |_| miosa_emulator::machines::Machines::none("a test"),
        |_| {},
    )
    .await;
    lifecycle::reconcile(&none.app).await.map_err(|error| error.log).unwrap();
    let client = none.client(KEY);
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "paused");
    client.post(&format!("{}/resume", path(&sandbox)), json!({})).await.refused(503, "NO_MACHINES");
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "paused");
    let emulator = on(none.stop().await).await;
    assert_eq!(said(&emulator, &sandbox, "cat file").await, "kept\n");
}

#[tokio::test]
async fn the_end_pauses_what_is_persistent_and_ends_the_rest() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let (kept, brief) =
        (create(&client, json!({})).await, create(&client, json!({ "persistent": false })).await);
    said(&emulator, &kept, "echo kept > file").await;
    let app = emulator.app.clone();
    let data = emulator.stop().await;
    lifecycle::shutdown(&app, false).await.map_err(|error| error.log).unwrap();
    let machines = app.machines.list().await.unwrap();
    assert_eq!(machines.len(), 1);
    assert!(!machines[0].alive);
    drop(app);
    let emulator = on(data).await;
    let client = emulator.client(KEY);
    assert_eq!(client.get(&path(&kept)).await.data(200)["state"], "paused");
    assert_eq!(client.get(&path(&brief)).await.data(200)["state"], "destroyed");
    assert_eq!(said(&emulator, &kept, "cat file").await, "kept\n");
}

#[tokio::test]
async fn an_ephemeral_end_leaves_nothing() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    client.post(&format!("{}/pause", path(&sandbox)), json!({})).await.data(200);
    create(&client, json!({})).await;
    let app = emulator.app.clone();
    let _data = emulator.stop().await;
    lifecycle::shutdown(&app, true).await.map_err(|error| error.log).unwrap();
    until("no machine is left", || async { app.machines.list().await.unwrap().is_empty() }).await;
}
