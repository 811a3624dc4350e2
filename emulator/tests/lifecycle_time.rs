//! Timeouts and idle pauses, by moving the clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;

use boot::{advance, awoken, create, events, path, row, said, start, until, until_state};
use miosa_emulator::api::compute::sandboxes::awake::hold;
use miosa_emulator::clock::Timestamp;
use miosa_emulator::http::ApiResult;
use miosa_emulator::store::idempotency::Key;
use serde_json::{Value, json};

const KEY: &str = "msk_test_time";

#[tokio::test]
async fn the_timeout_of_a_persistent_sandbox_pauses_it_with_its_memory() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "timeout_sec": 300 })).await;
    said(&emulator, &sandbox, "echo kept > file").await;
    advance(&emulator, &sandbox, 299).await;
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "running");
    advance(&emulator, &sandbox, 1).await;
    let paused = until_state(&client, &sandbox, "paused").await;
    assert_eq!(paused["total_runtime_sec"], 300);
    assert!(row(&emulator, &sandbox).await.alive);
    assert_eq!(events(&emulator, &sandbox).await.last().unwrap(), "sandbox.paused");
    // Use wakes it, and its timeout begins anew.
    assert_eq!(said(&emulator, &sandbox, "cat file").await, "kept\n");
    let left = client.get(&path(&sandbox)).await.data(200)["timeout_remaining_ms"].clone();
    assert!(left.as_i64().unwrap() > 295_000, "{left}");
}

#[tokio::test]
async fn the_timeout_of_another_destroys_it_and_leaves_it_readable() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let body = json!({ "timeout_sec": 60, "persistent": false, "name": "brief" });
    let sandbox = create(&client, body).await;
    advance(&emulator, &sandbox, 61).await;
    let ended = until_state(&client, &sandbox, "destroyed").await;
    assert_eq!(ended["timeout_remaining_ms"], 0);
    assert!(ended["destroyed_at"].is_string());
    until("its machine is gone", || async {
        emulator.app.machines.list().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(client.get("/sandboxes").await.json()["total"], 0);
    assert_eq!(client.get("/sandboxes?state=destroyed").await.json()["total"], 1);
    client.get("/sandboxes/by-name/brief").await.refused(404, "sandbox_not_found");
    for (what, code) in [
        ("resume", "RESOURCE_STATE"),
        ("pause", "SANDBOX_NOT_RUNNING"),
        ("extend", "SANDBOX_NOT_RUNNING"),
    ] {
        client.post(&format!("{}/{what}", path(&sandbox)), json!({})).await.refused(409, code);
    }
    client.patch(&path(&sandbox), json!({ "name": "x" })).await.refused(409, "RESOURCE_STATE");
    assert_eq!(awoken(&emulator, &sandbox).await.err().unwrap().code.name, "SANDBOX_NOT_RUNNING");
    // Its name is free, and a DELETE makes it go.
    create(&client, json!({ "name": "brief" })).await;
    client.delete(&path(&sandbox)).await.data(200);
    client.get(&path(&sandbox)).await.refused(404, "sandbox_not_found");
    let destroyed = events(&emulator, &sandbox).await;
    assert_eq!(destroyed.iter().filter(|kind| *kind == "sandbox.destroyed").count(), 1);
}

#[tokio::test]
async fn an_idle_sandbox_is_paused_and_a_used_or_held_one_is_not() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let idle = json!({ "idle_timeout_sec": 60 });
    let (quiet, used, held) = (
        create(&client, idle.clone()).await,
        create(&client, idle.clone()).await,
        create(&client, idle).await,
    );
    let guard = hold(&emulator.app, &row(&emulator, &held).await);
    advance(&emulator, &quiet, 50).await;
    said(&emulator, &used, "true").await;
    advance(&emulator, &quiet, 11).await;
    until_state(&client, &quiet, "paused").await;
    // The loop has looked at the others: they are due later now.
    for sandbox in [&used, &held] {
        until("it was postponed", || async {
            row(&emulator, sandbox).await.due_at().unwrap()
                > emulator.app.clock.now(row(&emulator, sandbox).await.org)
        })
        .await;
        assert_eq!(client.get(&path(sandbox)).await.data(200)["state"], "running");
        assert!(!events(&emulator, sandbox).await.contains(&"sandbox.paused".to_owned()));
    }
    drop(guard);
    advance(&emulator, &quiet, 61).await;
    until_state(&client, &held, "paused").await;
    until_state(&client, &used, "paused").await;
}

#[tokio::test]
async fn an_always_on_sandbox_has_neither_timeout_nor_idle_pause() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let body = json!({ "always_on": true, "idle_timeout_sec": 5, "timeout_sec": 5 });
    let (always, other) =
        (create(&client, body).await, create(&client, json!({ "timeout_sec": 5 })).await);
    assert_eq!(always["timeout_remaining_ms"], Value::Null);
    advance(&emulator, &always, 3600).await;
    until_state(&client, &other, "paused").await;
    assert_eq!(client.get(&path(&always)).await.data(200)["state"], "running");
}

#[tokio::test]
async fn a_patch_can_make_a_sandbox_due() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    client.patch(&path(&sandbox), json!({ "timeout_sec": 1 })).await.data(200);
    // One second of real time, or one that is given.
    advance(&emulator, &sandbox, 1).await;
    until_state(&client, &sandbox, "paused").await;
}

#[tokio::test]
async fn retention_lets_snapshots_go() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    let snapshots = format!("{}/snapshots", path(&sandbox));
    client.post(&snapshots, json!({ "retention_seconds": 60 })).await.data(201);
    client.post(&snapshots, json!({ "retention_seconds": 600 })).await.data(201);
    advance(&emulator, &sandbox, 61).await;
    until("one is gone", || async { client.get(&snapshots).await.json()["total"] == 1 }).await;
    until("its files, too", || async {
        emulator.app.machines.list_snapshots().await.unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn one_organization_s_clock_ends_no_other_s_sandbox() {
    let emulator = start().await;
    let (mine, theirs) = (emulator.client(KEY), emulator.client("msk_test_time2"));
    let sandbox = create(&mine, json!({ "timeout_sec": 10 })).await;
    let other = create(&theirs, json!({ "timeout_sec": 10 })).await;
    advance(&emulator, &sandbox, 3600).await;
    until_state(&mine, &sandbox, "paused").await;
    assert_eq!(theirs.get(&path(&other)).await.data(200)["state"], "running");
}

#[tokio::test]
async fn old_idempotency_keys_are_forgotten() {
    let emulator = boot::quiet(tempfile::tempdir().unwrap()).await;
    let client = emulator.client(KEY).with("idempotency-key", "old");
    let sandbox = create(&client, json!({})).await;
    let org = row(&emulator, &sandbox).await.org;
    let kept = || {
        let store = emulator.app.store.clone();
        async move {
            let key = Key { org, key: "old".to_owned() };
            let read: ApiResult<bool> =
                store.read(move |view| Ok(view.idempotency(&key)?.is_some())).await;
            read.map_err(|error| error.log).unwrap()
        }
    };
    assert!(kept().await);
    advance(&emulator, &sandbox, 24 * 3600 + 1).await;
    // The first round of the lifecycle sweeps.
    miosa_emulator::lifecycle::start(&emulator.app);
    until("it was forgotten", || async { !kept().await }).await;
    assert!(emulator.app.clock.now(org) > Timestamp(0));
}
