//! Snapshots through real HTTP: made, restored, listed, removed, expired.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use std::time::Duration;

use harness::Emulator;
use hosted::{KEY, Sandbox, start, start_on, until};
use http::Method;
use miosa_emulator::api::compute::snapshots::{Snapshot, Status};
use miosa_emulator::http::ApiResult;
use serde_json::{Value, json};
use uuid::Uuid;

async fn snapshot(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/snapshots"), body).await.data(201)
}

fn id(value: &Value) -> Uuid {
    value["id"].as_str().unwrap().parse().unwrap()
}

async fn rows(emulator: &Emulator) -> Vec<Snapshot> {
    emulator.app.store.read(|view| ApiResult::Ok(view.all::<Snapshot>()?)).await.unwrap()
}

async fn events(emulator: &Emulator, org: Uuid) -> Vec<String> {
    let events = emulator
        .app
        .store
        .read(move |view| ApiResult::Ok(view.events_after(org, 0, 1000)?))
        .await
        .unwrap();
    events
        .into_iter()
        .map(|event| event.kind)
        .filter(|kind| kind.starts_with("snapshot."))
        .collect()
}

#[tokio::test]
async fn a_restore_brings_the_files_back_and_ends_the_processes() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "before").await;
    let made = sandbox.client.post(&sandbox.at("/snapshots"), json!({ "comment": "c" })).await;
    let record = made.data(201);
    assert_eq!((&record["status"], &record["comment"]), (&json!("ready"), &json!("c")));
    assert_eq!(record["sandbox_id"], sandbox.id);
    assert!(record["size_bytes"].is_u64());
    let snapshot = id(&record);
    assert_eq!(
        made.header("location"),
        format!("/api/v1/sandboxes/{}/snapshots/{snapshot}", sandbox.id)
    );
    assert_eq!(sandbox.record().await["state"], "running");
    sandbox.write("a", "after").await;
    sandbox.write("b", "after").await;
    let pid = sandbox.exec("nohup sleep 300 > /dev/null 2>&1 & echo $!").await["stdout"].clone();
    let pid = pid.as_str().unwrap().trim().parse().unwrap();
    assert!(sandbox.runs(pid).await);
    let restored = sandbox
        .client
        .request(Method::POST, &sandbox.at(&format!("/restore/{snapshot}")))
        .send()
        .await;
    let restored = restored.data(200);
    assert_eq!((&restored["id"], &restored["state"]), (&json!(sandbox.id), &json!("running")));
    assert_eq!(sandbox.read("a").await.unwrap(), "before");
    assert_eq!(sandbox.read("b").await, None);
    until(async || !sandbox.runs(pid).await).await;
    let used = sandbox.client.get(&sandbox.at(&format!("/snapshots/{snapshot}"))).await.data(200);
    assert!(used["last_used_at"].is_string());
    let org = rows(&emulator).await[0].org;
    assert_eq!(events(&emulator, org).await, ["snapshot.created", "snapshot.restored"]);
}

#[tokio::test]
async fn a_sandbox_that_rests_can_be_kept_and_restored() {
    let emulator = start().await;
    for rest in ["/pause", "/stop"] {
        let sandbox = Sandbox::new(&emulator).await;
        sandbox.write("a", "before").await;
        sandbox.client.post(&sandbox.at(rest), json!({})).await.data(200);
        let made = snapshot(&sandbox, json!({})).await;
        assert_eq!(made["status"], "ready");
        assert_eq!(sandbox.record().await["state"], "paused");
        let path = sandbox.at(&format!("/restore/{}", id(&made)));
        assert_eq!(sandbox.client.post(&path, json!({})).await.data(200)["state"], "running");
        assert_eq!(sandbox.read("a").await.unwrap(), "before");
    }
}

#[tokio::test]
async fn snapshots_are_listed_newest_first_and_read_both_ways() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let first = snapshot(&sandbox, json!({ "name": "first" })).await;
    let legacy = sandbox.client.post(&sandbox.at("/snapshot"), json!({})).await;
    let second = legacy.data(201);
    assert_eq!(legacy.json()["snapshot_id"], second["id"]);
    assert_eq!(first["comment"], "first");
    for path in [
        sandbox.at("/snapshots"),
        "/snapshots".to_owned(),
        format!("/snapshots?resource_id={}", sandbox.id),
    ] {
        let list = sandbox.client.get(&path).await;
        let ids: Vec<_> = list.data(200).as_array().unwrap().iter().map(id).collect();
        assert_eq!(ids, [id(&second), id(&first)], "{path}");
        assert_eq!(list.json()["page"]["total"], 2);
        assert_eq!(list.json()["snapshots"], list.json()["data"]);
    }
    let named = id(&first).to_string();
    for (search, found) in [("FIR", 1), (named.as_str(), 1), ("nothing", 0)] {
        let list = sandbox.client.get(&format!("/snapshots?q={search}")).await;
        assert_eq!(list.json()["page"]["total"], found, "{search}");
    }
    let part = sandbox.client.get(&sandbox.at("/snapshots?limit=1")).await;
    assert_eq!(part.data(200).as_array().unwrap().len(), 1);
    assert!(part.json()["next_cursor"].is_string());
    let flat = sandbox.client.get(&format!("/snapshots/{}", id(&first))).await;
    assert_eq!(
        (flat.data(200)["comment"].clone(), &flat.json()["dependents"]),
        (json!("first"), &json!([]))
    );
    // Another organization sees none of it.
    let other = emulator.client("msk_test_other");
    let path = format!("/snapshots/{}", id(&first));
    other.get(&path).await.refused(404, "snapshot_not_found");
    other.delete(&path).await.refused(404, "snapshot_not_found");
    assert_eq!(other.get("/snapshots").await.data(200), json!([]));
}

#[tokio::test]
async fn a_sandbox_that_started_from_a_snapshot_goes_on_without_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "kept").await;
    let made = snapshot(&sandbox, json!({})).await;
    sandbox.write("a", "changed").await;
    let body = json!({ "snapshot_id": made["id"] });
    let forked = sandbox.client.post(&sandbox.at("/fork"), body).await.data(201);
    let path = format!("/sandboxes/{}/fs/read?path=a", forked["id"].as_str().unwrap());
    assert_eq!(sandbox.client.get(&path).await.data(200)["content"], "kept");
    let flat = sandbox.client.get(&format!("/snapshots/{}", id(&made))).await;
    assert_eq!(flat.json()["dependents"], json!([]));
    let gone = sandbox.client.delete(&format!("/snapshots/{}", id(&made))).await;
    assert_eq!(gone.status, 204);
    assert_eq!(sandbox.client.get(&path).await.data(200)["content"], "kept");
}

#[tokio::test]
async fn a_removed_snapshot_is_gone_with_its_files() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for flat in [false, true] {
        let made = id(&snapshot(&sandbox, json!({})).await);
        assert_eq!(emulator.app.machines.list_snapshots().await.unwrap(), [made]);
        let path = if flat {
            format!("/snapshots/{made}")
        } else {
            sandbox.at(&format!("/snapshots/{made}"))
        };
        let gone = sandbox.client.delete(&path).await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
        sandbox.client.get(&path).await.refused(404, "snapshot_not_found");
        sandbox.client.delete(&path).await.refused(404, "snapshot_not_found");
        let restore = sandbox.at(&format!("/restore/{made}"));
        sandbox.client.post(&restore, json!({})).await.refused(404, "snapshot_not_found");
        assert!(emulator.app.machines.list_snapshots().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_snapshot_of_another_sandbox_is_not_found_below_this_one() {
    let emulator = start().await;
    let (one, other) = (Sandbox::new(&emulator).await, Sandbox::new(&emulator).await);
    let made = id(&snapshot(&one, json!({})).await);
    let path = other.at(&format!("/snapshots/{made}"));
    other.client.get(&path).await.refused(404, "snapshot_not_found");
    other.client.delete(&path).await.refused(404, "snapshot_not_found");
    let restore = other.at(&format!("/restore/{made}"));
    other.client.post(&restore, json!({})).await.refused(404, "snapshot_not_found");
    // Nor when the path names the sandbox by its name, as the command line does.
    other.client.patch(&other.path, json!({ "name": "other" })).await.data(200);
    for path in
        [format!("/sandboxes/other/snapshots/{made}"), format!("/sandboxes/other/restore/{made}")]
    {
        let method = if path.contains("restore") { Method::POST } else { Method::DELETE };
        let reply = other.client.request(method, &path).send().await;
        reply.refused(404, "snapshot_not_found");
    }
}

#[tokio::test]
async fn a_snapshot_is_one_moment_of_files_that_a_process_holds_open() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    // Two descriptors that stay open, and lines that are written to the first and then to the second.
    let writer = "nohup bash -c 'exec 3>>first 4>>second; n=0; while [ ! -e stop ]; do n=$((n+1)); \
                  echo $n >&3; echo $n >&4; done' > /dev/null 2>&1 & echo $!";
    let pid = sandbox.exec(writer).await["stdout"].as_str().unwrap().trim().parse().unwrap();
    until(async || sandbox.read("second").await.is_some_and(|text| text.lines().count() > 20))
        .await;
    let made = snapshot(&sandbox, json!({})).await;
    let lines = async |path: &str| {
        let path = format!("/snapshots/{}/files?path=/workspace/{path}", id(&made));
        let reply = sandbox.client.get(&path).await;
        assert_eq!(reply.status, 200);
        String::from_utf8(reply.body.to_vec()).unwrap().lines().count()
    };
    let (first, second) = (lines("first").await, lines("second").await);
    assert!(second > 20 && (first == second || first == second + 1), "{first} and {second}");
    // The writer goes on through the same descriptors, and nothing of it reaches the snapshot.
    let grown = async || sandbox.read("first").await.unwrap().lines().count();
    until(async || grown().await > first + 20).await;
    assert!(sandbox.runs(pid).await);
    assert_eq!((lines("first").await, lines("second").await), (first, second));
    let body = json!({ "snapshot_id": made["id"] });
    let forked = sandbox.client.post(&sandbox.at("/fork"), body).await.data(201);
    let path = format!("/sandboxes/{}/fs/read?path=first", forked["id"].as_str().unwrap());
    let text = sandbox.client.get(&path).await.data(200)["content"].clone();
    assert_eq!(text.as_str().unwrap().lines().count(), first);
    sandbox.write("stop", "").await;
}

#[tokio::test]
async fn the_same_key_makes_one_snapshot() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let make = async || {
        let request = sandbox.client.request(Method::POST, &sandbox.at("/snapshots"));
        request.header("idempotency-key", "s1").json(&json!({ "comment": "x" })).send().await
    };
    let (first, second) = tokio::join!(make(), make());
    assert_eq!(first.data(201), second.data(201));
    assert_eq!(rows(&emulator).await.len(), 1);
}

#[tokio::test]
async fn two_at_once_are_made_one_after_the_other() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let (a, b) = tokio::join!(snapshot(&sandbox, json!({})), snapshot(&sandbox, json!({})));
    assert_ne!(id(&a), id(&b));
    assert_eq!(sandbox.record().await["state"], "running");
}

#[tokio::test]
async fn retention_lets_go_when_its_time_has_come() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "always_on": true })).await;
    let short = snapshot(&sandbox, json!({ "retention_seconds": 60 })).await;
    let long = snapshot(&sandbox, json!({ "expiration_days": 1 })).await;
    let kept = snapshot(&sandbox, json!({ "retention_seconds": 60, "keep": true })).await;
    assert!(short["expires_at"].is_string());
    assert_eq!((&kept["expires_at"], &kept["keep"]), (&Value::Null, &json!(true)));
    let org = rows(&emulator).await[0].org;
    emulator.app.clock.advance(org, Duration::from_secs(61));
    emulator.app.due.notify_one();
    until(async || rows(&emulator).await.len() == 2).await;
    let left: Vec<_> = rows(&emulator).await.iter().map(|row| row.id).collect();
    assert_eq!(left, [id(&long), id(&kept)]);
    until(async || emulator.app.machines.list_snapshots().await.unwrap().len() == 2).await;
    assert!(events(&emulator, org).await.contains(&"snapshot.deleted".to_owned()));
    for (body, field) in [
        (json!({ "retention_seconds": 0 }), "retention_seconds"),
        (json!({ "comment": "x".repeat(501) }), "comment"),
    ] {
        let reply = sandbox.client.post(&sandbox.at("/snapshots"), body).await;
        assert_eq!(reply.refused(422, "VALIDATION_FAILED")["details"][0]["field"], field);
    }
}

#[tokio::test]
async fn what_a_crash_has_left_is_cleared_away() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let kept = id(&snapshot(&sandbox, json!({})).await);
    let torn = id(&snapshot(&sandbox, json!({})).await);
    let nameless = id(&snapshot(&sandbox, json!({})).await);
    let torn_row = rows(&emulator).await.into_iter().find(|row| row.id == torn).unwrap();
    let org = torn_row.org;
    emulator
        .app
        .store
        .write(move |tx| -> ApiResult<()> {
            tx.update(&Snapshot { status: Status::Creating, ..torn_row })?;
            tx.remove::<Snapshot>(org, nameless)?;
            Ok(())
        })
        .await
        .unwrap();
    let emulator = start_on(emulator.stop().await).await;
    assert_eq!(emulator.app.machines.list_snapshots().await.unwrap(), [kept]);
    let client = emulator.client(KEY);
    // As if it had never been asked for: its request may come again.
    client.get(&format!("/snapshots/{torn}")).await.refused(404, "snapshot_not_found");
    let restore = format!("/sandboxes/{}/restore/{torn}", sandbox.id);
    client.post(&restore, json!({})).await.refused(404, "snapshot_not_found");
}
