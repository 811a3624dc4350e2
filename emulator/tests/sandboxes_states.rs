//! The states of a sandbox: each legal transition, each illegal one, and what happens when several come at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;

use boot::{awoken, create, events, path, row, said, start, until_state};
use miosa_emulator::api::compute::sandboxes::awake::hold;
use miosa_emulator::api::compute::sandboxes::transition::{claim, settle};
use miosa_emulator::api::compute::sandboxes::{Sandbox, State};
use serde_json::{Value, json};

const KEY: &str = "msk_test_states";

#[tokio::test]
async fn a_pause_freezes_and_a_resume_lets_go_on() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s" })).await;
    said(
        &emulator,
        &sandbox,
        "nohup sh -c 'while :; do echo x >> ticks; sleep 0.02; done' >/dev/null 2>&1 &",
    )
    .await;
    let paused = client.post("/sandboxes/s/pause", json!({})).await.data(200);
    assert_eq!((&paused["state"], &paused["ready"]), (&json!("paused"), &json!(false)));
    assert_eq!(paused["timeout_remaining_ms"], Value::Null);
    assert!(paused["total_runtime_sec"].is_u64());
    assert!(row(&emulator, &sandbox).await.alive);
    let resumed = client.post("/sandboxes/s/resume", json!({})).await.data(200);
    assert_eq!((&resumed["state"], &resumed["ready"]), (&json!("running"), &json!(true)));
    // The same process goes on.
    let before = said(&emulator, &sandbox, "wc -l < ticks").await;
    boot::until("the process goes on", || async {
        said(&emulator, &sandbox, "wc -l < ticks").await != before
    })
    .await;
    assert_eq!(
        events(&emulator, &sandbox).await,
        [
            "sandbox.created",
            "sandbox.started",
            "sandbox.ready",
            "sandbox.paused",
            "sandbox.resumed"
        ]
    );
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused_also_where_nothing_of_it_is_read() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    create(&client, json!({ "name": "s" })).await;
    for action in ["pause", "stop", "env/sync"] {
        for body in [json!(5), json!([]), json!("x")] {
            client
                .post(&format!("/sandboxes/s/{action}"), body)
                .await
                .refused(422, "VALIDATION_FAILED");
        }
    }
    assert_eq!(client.get("/sandboxes/s").await.data(200)["state"], "running");
}

#[tokio::test]
async fn a_stop_ends_the_processes_and_keeps_the_files() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s", "env": { "A": "1" } })).await;
    said(&emulator, &sandbox, "echo kept > file").await;
    let stopped = client.post("/sandboxes/s/stop", json!({})).await.data(200);
    assert_eq!((&stopped["state"], &stopped["persistent"]), (&json!("paused"), &json!(true)));
    assert!(!row(&emulator, &sandbox).await.alive);
    client.post("/sandboxes/s/resume", json!({})).await.data(200);
    assert_eq!(said(&emulator, &sandbox, "cat file; echo $A").await, "kept\n1\n");
}

#[tokio::test]
async fn illegal_transitions_are_refused_and_change_nothing() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s" })).await;
    let post = |what: &str| {
        let (client, path) = (client.clone(), format!("{}/{what}", path(&sandbox)));
        async move { client.post(&path, json!({})).await }
    };
    post("resume").await.refused(409, "SANDBOX_NOT_PAUSED");
    post("pause").await.data(200);
    post("pause").await.refused(409, "SANDBOX_NOT_RUNNING");
    post("extend").await.refused(409, "SANDBOX_NOT_RUNNING");
    // Frozen processes can be ended.
    post("stop").await.data(200);
    post("stop").await.refused(409, "SANDBOX_NOT_RUNNING");
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "paused");
    post("resume").await.data(200);
    client
        .post("/sandboxes/s/resume", json!({ "env": { "A": "1" } }))
        .await
        .refused(501, "not_emulated");
}

#[tokio::test]
async fn of_ten_pauses_at_once_one_pauses() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s" })).await;
    let pauses = (0..10).map(|_| client.post("/sandboxes/s/pause", json!({})));
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(pauses).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409, 409, 409]);
    let paused = events(&emulator, &sandbox).await;
    assert_eq!(paused.iter().filter(|kind| *kind == "sandbox.paused").count(), 1);
}

#[tokio::test]
async fn pauses_and_resumes_at_once_never_interleave() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "s" })).await;
    let calls = (0..20).map(|n| {
        let path = format!("/sandboxes/s/{}", ["pause", "resume", "stop", "extend"][n % 4]);
        let client = client.clone();
        async move { client.post(&path, json!({})).await }
    });
    for reply in futures_util::future::join_all(calls).await {
        assert!(matches!(reply.status, 200 | 409), "{reply:?}");
    }
    let state = client.get(&path(&sandbox)).await.data(200)["state"].clone();
    assert!(state == "running" || state == "paused", "{state}");
    assert_eq!(said(&emulator, &sandbox, "echo well").await, "well\n");
}

#[tokio::test]
async fn use_wakes_a_paused_persistent_sandbox_once() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    for how in ["pause", "stop"] {
        let sandbox = create(&client, json!({})).await;
        client.post(&format!("{}/{how}", path(&sandbox)), json!({})).await.data(200);
        let uses = (0..8).map(|_| awoken(&emulator, &sandbox));
        for used in futures_util::future::join_all(uses).await {
            assert!(used.is_ok(), "{:?}", used.err().map(|error| error.message));
        }
        assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "running");
        let resumed = events(&emulator, &sandbox).await;
        assert_eq!(resumed.iter().filter(|kind| *kind == "sandbox.resumed").count(), 1, "{how}");
    }
}

#[tokio::test]
async fn use_does_not_wake_a_paused_sandbox_that_is_not_persistent() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "persistent": false })).await;
    client.post(&format!("{}/pause", path(&sandbox)), json!({})).await.data(200);
    let error = awoken(&emulator, &sandbox).await.err().unwrap();
    assert_eq!(error.code.name, "SANDBOX_NOT_RUNNING");
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "paused");
}

#[tokio::test]
async fn a_sandbox_that_is_just_starting_refuses_use_retryably_and_its_delete_waits() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    let Sandbox { org, id, .. } = row(&emulator, &sandbox).await;
    let operation = uuid::Uuid::new_v4();
    let app = emulator.app.clone();
    claim(&app, org, id, operation, State::Resuming, |_| Ok(()))
        .await
        .map_err(|e| e.message)
        .unwrap();
    let error = awoken(&emulator, &sandbox).await.err().unwrap();
    assert_eq!((error.code.name, error.code.retryable), ("SANDBOX_STARTING", true));
    assert_eq!(error.retry_after, Some(2));
    let deleting = tokio::spawn({
        let (client, path) = (client.clone(), path(&sandbox));
        async move { client.delete(&path).await }
    });
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["state"], "resuming");
    settle(&app, org, id, operation, |_, sandbox, now| {
        sandbox.set_running(now);
        Ok(())
    })
    .await
    .map_err(|e| e.message)
    .unwrap();
    deleting.await.unwrap().data(200);
    client.get(&path(&sandbox)).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn a_machine_that_dies_is_told_and_a_resume_starts_it_anew() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    said(&emulator, &sandbox, "echo kept > file").await;
    // The process above the shell is the agent.
    let agent = awoken(&emulator, &sandbox).await.map_err(|error| error.message).unwrap();
    let pid = agent.health().await.unwrap().pid;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let failed = until_state(&client, &sandbox, "error").await;
    assert!(
        failed["metadata"]["last_error"]["reason"].as_str().is_some_and(|text| !text.is_empty())
    );
    let error = awoken(&emulator, &sandbox).await.err().unwrap();
    assert_eq!((error.code.name, error.code.status), ("AGENT_UNAVAILABLE", 502));
    assert_eq!(client.get("/sandboxes").await.json()["total"], 0);
    assert_eq!(client.get("/sandboxes?include_errored=true").await.json()["total"], 1);
    let resumed = client.post(&format!("{}/resume", path(&sandbox)), json!({})).await.data(200);
    assert_eq!((&resumed["state"], &resumed["metadata"]), (&json!("running"), &json!({})));
    assert_eq!(said(&emulator, &sandbox, "cat file").await, "kept\n");
    assert!(events(&emulator, &sandbox).await.contains(&"sandbox.error".to_owned()));
}

#[tokio::test]
async fn an_extend_lets_the_timeout_begin_anew() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "timeout_sec": 100 })).await;
    boot::advance(&emulator, &sandbox, 60).await;
    let left =
        client.get(&path(&sandbox)).await.data(200)["timeout_remaining_ms"].as_i64().unwrap();
    assert!((30_000..=40_000).contains(&left), "{left}");
    let extended = client.post(&format!("{}/extend", path(&sandbox)), json!({})).await.data(200);
    assert_eq!(extended["timeout_sec"], 100);
    assert!(extended["timeout_remaining_ms"].as_i64().unwrap() > 95_000);
    let longer = json!({ "timeout_sec": 7200 });
    let extended = client.post(&format!("{}/extend", path(&sandbox)), longer).await.data(200);
    assert_eq!(extended["timeout_sec"], 7200);
    let bad = json!({ "timeout_sec": 0 });
    let bad = client.post(&format!("{}/extend", path(&sandbox)), bad).await;
    bad.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn use_of_a_running_sandbox_writes_nothing() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "idle_timeout_sec": 60 })).await;
    let before = row(&emulator, &sandbox).await;
    boot::advance(&emulator, &sandbox, 10).await;
    drop(awoken(&emulator, &sandbox).await.map_err(|error| error.message).unwrap());
    drop(hold(&emulator.app, &before));
    assert_eq!(row(&emulator, &sandbox).await, before);
    // Yet it is shown.
    assert_ne!(
        client.get(&path(&sandbox)).await.data(200)["last_activity_at"],
        sandbox["last_activity_at"]
    );
}
