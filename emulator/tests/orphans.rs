//! What an emulator leaves behind: nothing that lives, whichever way it ends, and never anything of a neighbour's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
mod program;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use program::{Home, Program, host, id, said, until, until_state};
use serde_json::{Value, json};
use uuid::Uuid;

const KEY: &str = "msk_live_orphans";

/// A command line that nobody else has.
fn marker() -> String {
    format!("sleep 86400.{}", Uuid::new_v4().as_u128() % 1_000_000_000_000)
}

/// A sandbox in which the marker runs: as a child of the agent's, and cut off from everything as daemons are.
async fn busy(api: &harness::Client, marker: &str, fields: Value) -> String {
    let sandbox = id(&api.post("/sandboxes", fields).await.data(201));
    said(api, &sandbox, &format!("{marker} >/dev/null 2>&1 &")).await;
    said(api, &sandbox, &format!("setsid nohup {marker} >/dev/null 2>&1 </dev/null &")).await;
    until("it runs", async || host::processes(marker).len() == 2).await;
    sandbox
}

#[tokio::test]
async fn nothing_of_a_namespace_machine_outlives_its_emulator() {
    let (home, neighbour) = (Home::new("namespace"), Home::new("namespace"));
    let (program, theirs) = (home.start().await, neighbour.start().await);
    let (mine, other) = (marker(), marker());
    let api = program.client(KEY);
    let running = busy(&api, &mine, json!({})).await;
    let frozen_marker = marker();
    let frozen = busy(&api, &frozen_marker, json!({})).await;
    api.post(&format!("/sandboxes/{frozen}/pause"), json!({})).await.data(200);
    let their_api = theirs.client(KEY);
    let their_sandbox = busy(&their_api, &other, json!({})).await;
    program.kill().await;
    for (what, marker, sandbox) in
        [("running", &mine, &running), ("frozen", &frozen_marker, &frozen)]
    {
        until(&format!("the {what} one's processes are gone"), async || {
            let grouped: Vec<i32> = host::groups(sandbox).into_iter().flat_map(|g| g.1).collect();
            host::processes(marker).is_empty() && grouped.is_empty()
        })
        .await;
    }
    let program = home.start().await;
    let data = home.data();
    for sandbox in [&running, &frozen] {
        assert_eq!(host::groups(sandbox), []);
        until_state(&program.client(KEY), sandbox, "paused").await;
    }
    assert_eq!(host::mounts(data.to_str().unwrap()), Vec::<String>::new());
    // The neighbour's are where they were.
    assert_eq!(host::processes(&other).len(), 2);
    assert_eq!(said(&their_api, &their_sandbox, "echo here").await, "here");
    program.terminate().await;
    assert_eq!(host::processes(&other).len(), 2);
    theirs.terminate().await;
    assert!(host::processes(&other).is_empty());
}

#[tokio::test]
async fn a_docker_machine_without_a_row_is_removed_at_the_next_start() {
    let (home, neighbour) = (Home::new("docker"), Home::new("docker"));
    let (program, theirs) = (home.start().await, neighbour.start().await);
    let api = program.client(KEY);
    let their_sandbox = id(&theirs.client(KEY).post("/sandboxes", json!({})).await.data(201));
    let kept = id(&api.post("/sandboxes", json!({})).await.data(201));
    let lost = id(&api.post("/sandboxes", json!({})).await.data(201));
    let create = |program: &Program| {
        let api = program.client(KEY);
        async move {
            api.request(Method::POST, "/sandboxes")
                .header("idempotency-key", "torn")
                .json(&json!({ "name": "torn" }))
                .send()
                .await
        }
    };
    let torn = id(&create(&program).await.data(201));
    program.kill().await;
    // As if it had died between the machine's start and its row's: a create whose outcome was not committed.
    let state = home.state();
    state
        .execute_batch(&format!(
            "UPDATE documents SET state = 'provisioning', body = json_set(body, '$.state', 'provisioning')
             WHERE kind = 'sandbox' AND id = '{torn}';
             UPDATE idempotency SET status = NULL, headers = NULL, body = NULL WHERE key = 'torn';
             DELETE FROM documents WHERE kind = 'sandbox' AND id = '{lost}';"
        ))
        .unwrap();
    drop(state);
    host::leave_a_look(&home.owner().unwrap()).await;
    assert_eq!(host::containers(&home.owner().unwrap()).await.len(), 4);
    let before = host::containers(&neighbour.owner().unwrap()).await;
    let program = home.start().await;
    let machines = |owner: String| async move {
        let found = host::containers(&owner).await;
        found.into_iter().map(|(_, machine, _)| machine).collect::<Vec<_>>()
    };
    assert_eq!(machines(home.owner().unwrap()).await, std::slice::from_ref(&kept));
    // Its request runs anew, once.
    let anew = id(&create(&program).await.data(201));
    assert_eq!(id(&create(&program).await.data(201)), anew);
    assert_ne!(anew, torn);
    assert_eq!(program.client(KEY).get("/sandboxes").await.json()["page"]["total"], 2);
    let mut expected = vec![kept, anew];
    expected.sort();
    let mut found = machines(home.owner().unwrap()).await;
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(host::containers(&neighbour.owner().unwrap()).await, before);
    assert_eq!(said(&theirs.client(KEY), &their_sandbox, "echo here").await, "here");
    program.terminate().await;
    theirs.terminate().await;
}

#[tokio::test]
async fn sigterm_leaves_nothing_of_an_ephemeral_emulator_on_namespaces() {
    ephemeral("namespace").await;
}

#[tokio::test]
async fn sigterm_leaves_nothing_of_an_ephemeral_emulator_on_docker() {
    ephemeral("docker").await;
}

async fn ephemeral(machines: &'static str) {
    let home = Home::new(machines);
    let program = home.ephemeral().await;
    let data = std::path::PathBuf::from(program.ready["data"].as_str().unwrap());
    assert_eq!(home.left(), std::slice::from_ref(&data));
    let api = program.client(KEY);
    let (mine, asleep) = (marker(), marker());
    let running = busy(&api, &mine, json!({})).await;
    let paused = busy(&api, &asleep, json!({})).await;
    let snapshots = format!("/sandboxes/{running}/snapshots");
    let snapshot = id(&api.post(&snapshots, json!({})).await.data(201));
    let from = json!({ "snapshot_id": snapshot });
    let third = id(&api.post("/sandboxes", from).await.data(201));
    let fork = id(&api.post(&format!("/sandboxes/{running}/fork"), json!({})).await.data(201));
    api.post(&format!("/sandboxes/{paused}/pause"), json!({})).await.data(200);
    // A removed snapshot that a machine still stands on, and one that is there.
    api.delete(&format!("{snapshots}/{snapshot}")).await;
    let second = id(&api.post(&snapshots, json!({})).await.data(201));
    let previews = format!("/sandboxes/{running}/previews");
    let url = api.post(&previews, json!({ "port": 8000 })).await.data(201)["url"].clone();
    let url = url.as_str().unwrap().to_owned();
    let preview = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    assert!(TcpStream::connect(&preview).is_ok(), "{url}");
    let address = program.address;
    program.terminate().await;
    assert_eq!(home.left(), Vec::<std::path::PathBuf>::new());
    for marker in [&mine, &asleep] {
        assert!(host::processes(marker).is_empty());
    }
    assert_eq!(host::mounts(data.to_str().unwrap()), Vec::<String>::new());
    for sandbox in [&running, &paused, &third, &fork] {
        assert_eq!(host::groups(sandbox), []);
    }
    assert!(TcpStream::connect(address).is_err());
    assert!(TcpStream::connect(&preview).is_err(), "{url}");
    if machines == "docker" {
        let left = host::every_container().await;
        for sandbox in [&running, &paused, &third, &fork] {
            assert!(!left.contains(sandbox), "{left:?}");
        }
        let ours = |tag: &str| [&snapshot, &second].iter().any(|id| tag.contains(id.as_str()));
        assert_eq!(host::snapshot_images(ours).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn sigterm_cuts_running_commands_and_ends_in_time_on_namespaces() {
    cut("namespace").await;
}

#[tokio::test]
async fn sigterm_cuts_running_commands_and_ends_in_time_on_docker() {
    cut("docker").await;
}

async fn cut(machines: &'static str) {
    let home = Home::new(machines);
    let program = home.start().await;
    let api = program.client(KEY);
    let sandbox = id(&api.post("/sandboxes", json!({})).await.data(201));
    let exec = format!("/sandboxes/{sandbox}/exec");
    let marker = marker();
    let keyed = async |api: &harness::Client, path: &str, key: &str| {
        let command = format!("echo ran >> /workspace/{key}; {marker}");
        api.request(Method::POST, path)
            .header("idempotency-key", key)
            .json(&json!({ "command": command, "timeout": 600 }))
            .attempt()
            .await
    };
    let (alone, marked) = (api.clone(), marker.clone());
    let plain_path = exec.clone();
    let plain = tokio::spawn(async move {
        let body = json!({ "command": marked, "timeout": 600 });
        alone.request(Method::POST, &plain_path).json(&body).attempt().await
    });
    let under_key = keyed(&api, &exec, "one");
    let path = format!("{exec}/stream");
    let streamed = async {
        let body = json!({ "command": format!("echo begun; {marker}") });
        let response = api.request(Method::POST, &path).json(&body).open().await;
        assert_eq!(response.status(), 200);
        let _ = response.into_body().collect().await;
    };
    let streamed_under_key = keyed(&api, &path, "two");
    let ending = async {
        until("all four run", async || host::processes(&marker).len() >= 4).await;
        let began = Instant::now();
        program.tell_to_end();
        let status = program.ended(Duration::from_secs(30)).await;
        assert!(status.success(), "{status}");
        began.elapsed()
    };
    let (one, (), _two, took) = tokio::join!(under_key, streamed, streamed_under_key, ending);
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(!plain.await.unwrap().is_ok_and(|reply| reply.status == 200));
    assert!(!one.is_ok_and(|reply| reply.status == 200));
    // A command that was cut off is ended in its machine too.
    until("the commands are gone", async || host::processes(&marker).is_empty()).await;
    let program = home.start().await;
    let api = program.client(KEY);
    for (path, key) in [(&exec, "one"), (&path, "two")] {
        let first = keyed(&api, path, key).await.unwrap();
        first.refused(500, "OUTCOME_UNKNOWN");
        let again = keyed(&api, path, key).await.unwrap();
        assert_eq!((&again.body, again.status), (&first.body, 500));
        let ran = said(&api, &sandbox, &format!("cat /workspace/{key}")).await;
        assert_eq!(ran, "ran", "{key}");
    }
    program.terminate().await;
}
