//! What goes on over a restart of the emulator: after an end in order, and after `kill -9`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
mod program;

use program::{End, Home, host, id, said, until, until_state};
use serde_json::{Value, json};

const KEY: &str = "msk_live_restart";
const ENDS: [End; 2] = [End::Kill, End::Terminate];

/// Counts in memory and writes what it has come to; dies with its machine.
const COUNTER: &str = "sh -c 'n=0; while :; do n=$((n+1)); echo $n > /tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.05; done' \
                       >/dev/null 2>&1 & echo $! > /tmp/pid";

/// Moves every organization's clock while no emulator runs: what the time that passes would do.
fn let_time_pass(home: &Home, seconds: i64) {
    let state = home.state();
    let orgs: Vec<String> = state
        .prepare("SELECT id FROM documents WHERE kind = 'organization'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(!orgs.is_empty());
    for org in orgs {
        let key = format!("clock:{org}");
        let moved = (seconds * 1000).to_string();
        state.execute("INSERT OR REPLACE INTO settings VALUES (?1, ?2)", [key, moved]).unwrap();
    }
}

#[tokio::test]
async fn a_docker_sandbox_goes_on_with_its_processes() {
    let home = Home::new("docker");
    let mut program = home.start().await;
    let api = program.client(KEY);
    let made = api.post("/sandboxes", json!({ "env": { "GREETING": "hello" } })).await.data(201);
    let (running, path) = (id(&made), format!("/sandboxes/{}", id(&made)));
    said(&api, &running, COUNTER).await;
    let pid = said(&api, &running, "cat /tmp/pid").await;
    let asleep = id(&api.post("/sandboxes", json!({})).await.data(201));
    said(&api, &asleep, COUNTER).await;
    api.post(&format!("/sandboxes/{asleep}/pause"), json!({})).await.data(200);
    let containers = host::containers(&home.owner().unwrap()).await;
    assert_eq!(containers.len(), 2);
    for how in ENDS {
        let api = program.client(KEY);
        let count = async |api: &harness::Client| -> u64 {
            said(api, &running, "cat /tmp/n").await.parse().unwrap()
        };
        let before = count(&api).await;
        let updated = api.get(&path).await.data(200)["started_at"].clone();
        program.end(how).await;
        assert_eq!(host::containers(&home.owner().unwrap()).await, containers, "{how:?}");
        program = home.start().await;
        let api = program.client(KEY);
        assert_eq!(api.get(&path).await.data(200)["state"], "running", "{how:?}");
        assert_eq!(api.get(&path).await.data(200)["started_at"], updated, "{how:?}");
        let alive = "kill -0 $(cat /tmp/pid) && cat /tmp/pid && echo $GREETING";
        assert_eq!(said(&api, &running, alive).await, format!("{pid}\nhello"), "{how:?}");
        until("it counts on", || async { count(&api).await > before }).await;
        // The paused one stays so until somebody wants it; then it goes on where it stood.
        let paused = api.get(&format!("/sandboxes/{asleep}")).await.data(200);
        assert_eq!(paused["state"], "paused", "{how:?}");
    }
    let api = program.client(KEY);
    assert_eq!(host::containers(&home.owner().unwrap()).await, containers);
    let alive = said(&api, &asleep, "kill -0 $(cat /tmp/pid) && cat /tmp/n").await;
    assert!(alive.parse::<u64>().unwrap() > 0);
    for sandbox in [&running, &asleep] {
        assert_eq!(api.delete(&format!("/sandboxes/{sandbox}")).await.status / 100, 2);
    }
    program.terminate().await;
    assert_eq!(host::containers(&home.owner().unwrap()).await, []);
}

#[tokio::test]
async fn a_namespace_sandbox_is_paused_with_its_files_and_resumes_on_use() {
    let home = Home::new("namespace");
    let mut program = home.start().await;
    let api = program.client(KEY);
    let fields = json!({ "name": "kept", "env": { "GREETING": "hello" } });
    let sandbox = id(&api.post("/sandboxes", fields).await.data(201));
    let path = format!("/sandboxes/{sandbox}");
    said(&api, &sandbox, "echo first > /workspace/note").await;
    let snapshots = format!("{path}/snapshots");
    let snapshot = id(&api.post(&snapshots, json!({ "comment": "one" })).await.data(201));
    let mut note = "first".to_owned();
    for how in ENDS {
        let api = program.client(KEY);
        note = format!("{note}+{how:?}");
        said(&api, &sandbox, &format!("echo '{note}' > /workspace/note")).await;
        program.end(how).await;
        program = home.start().await;
        let api = program.client(KEY);
        let record = api.get(&path).await.data(200);
        assert_eq!(record["state"], "paused", "{how:?}");
        // Use brings it back.
        let told = said(&api, &sandbox, "cat /workspace/note; echo $GREETING").await;
        assert_eq!(told, format!("{note}\nhello"), "{how:?}");
        assert_eq!(api.get(&path).await.data(200)["state"], "running", "{how:?}");
        let list = api.get(&snapshots).await.json();
        assert_eq!(list["page"]["total"], 1, "{how:?}");
        assert_eq!(list["data"][0]["id"], snapshot.as_str(), "{how:?}");
        assert_eq!(list["data"][0]["status"], "ready", "{how:?}");
    }
    let api = program.client(KEY);
    api.post(&format!("{path}/restore/{snapshot}"), json!({})).await.data(200);
    assert_eq!(said(&api, &sandbox, "cat /workspace/note; echo $GREETING").await, "first\nhello");
    program.terminate().await;
}

#[tokio::test]
async fn a_docker_timeout_that_fell_due_while_nobody_ran_takes_effect() {
    let home = Home::new("docker");
    due_while_down(&home).await;
    let owner = home.owner().unwrap();
    until("the ended one's container is gone", || async {
        host::containers(&owner).await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_namespace_timeout_that_fell_due_while_nobody_ran_takes_effect() {
    let home = Home::new("namespace");
    due_while_down(&home).await;
    until("the ended one's files are gone", || async {
        host::directories(&home.data()).len() == 1
    })
    .await;
}

async fn due_while_down(home: &Home) {
    let program = home.start().await;
    let api = program.client(KEY);
    let kept = id(&api.post("/sandboxes", json!({ "timeout_sec": 600 })).await.data(201));
    let fields = json!({ "timeout_sec": 600, "persistent": false });
    let ended = id(&api.post("/sandboxes", fields).await.data(201));
    program.kill().await;
    let_time_pass(home, 3600);
    let program = home.start().await;
    let api = program.client(KEY);
    until_state(&api, &kept, "paused").await;
    until_state(&api, &ended, "destroyed").await;
    program.terminate().await;
}

#[tokio::test]
async fn what_was_paused_stays_paused() {
    let home = Home::new("namespace");
    let mut program = home.start().await;
    let api = program.client(KEY);
    let sandbox = id(&api.post("/sandboxes", json!({})).await.data(201));
    said(&api, &sandbox, "echo kept > /workspace/note").await;
    let path = format!("/sandboxes/{sandbox}");
    api.post(&format!("{path}/pause"), json!({})).await.data(200);
    for how in ENDS {
        program.end(how).await;
        program = home.start().await;
        let record = program.client(KEY).get(&path).await.data(200);
        assert_eq!(record["state"], "paused", "{how:?}");
    }
    let api = program.client(KEY);
    api.post(&format!("{path}/resume"), json!({})).await.data(200);
    assert_eq!(said(&api, &sandbox, "cat /workspace/note").await, "kept");
    program.terminate().await;
}

#[tokio::test]
async fn a_moved_clock_stays_moved() {
    let home = Home::new("none");
    let mut program = home.start().await;
    let moved = program.client(KEY).post("/_emulator/clock", json!({ "advance": "26h" })).await;
    assert_eq!(moved.data(200)["offset_seconds"], 26 * 3600);
    let other = program.client("msk_test_other");
    other.post("/_emulator/clock", json!({ "advance_seconds": 5 })).await.data(200);
    for how in ENDS {
        let before = program.client(KEY).get("/_emulator/clock").await.data(200)["now"].clone();
        program.end(how).await;
        program = home.start().await;
        let clock = program.client(KEY).get("/_emulator/clock").await.data(200);
        assert_eq!(clock["offset_seconds"], 26 * 3600, "{how:?}");
        assert!(clock["now"].as_str() >= before.as_str(), "{how:?}: time runs backwards");
        let other = program.client("msk_test_other").get("/_emulator/clock").await.data(200);
        assert_eq!(other["offset_seconds"], 5, "{how:?}");
    }
    program.terminate().await;
}

#[tokio::test]
async fn keys_tokens_and_their_revocations_stay() {
    let home = Home::new("none");
    let mut program = home.start().await;
    let api = program.client(KEY);
    let mint = async |name: &str| -> Value {
        let body = json!({ "name": name, "scopes": ["projects:read"] });
        api.post("/api-keys", body).await.data(201)
    };
    let (good, bad) = (mint("good").await, mint("bad").await);
    let body = json!({ "user_id": "u1", "scopes": ["projects:read"] });
    let token = api.post("/tokens/scoped", body).await.data(201);
    let token = token["token"].as_str().unwrap().to_owned();
    let revoked = api.delete(&format!("/api-keys/{}", id(&bad))).await;
    assert_eq!(revoked.status / 100, 2);
    for how in ENDS {
        program.end(how).await;
        program = home.start().await;
        let with = |secret: &Value| program.client(secret.as_str().unwrap());
        let held = with(&good["key"]);
        held.get("/workspaces").await.data(200);
        held.post("/workspaces", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
        with(&bad["key"]).get("/workspaces").await.refused(401, "TOKEN_REVOKED");
        program.client(&token).get("/workspaces").await.data(200);
    }
    program.terminate().await;
}

#[tokio::test]
async fn a_preview_is_on_the_same_loopback_port_again() {
    let home = Home::new("namespace");
    let mut program = home.start().await;
    let api = program.client(KEY);
    let sandbox = id(&api.post("/sandboxes", json!({})).await.data(201));
    let serve = "cd /workspace && echo hello > index.html && nohup python3 -m http.server 8000 >/dev/null 2>&1 &";
    said(&api, &sandbox, serve).await;
    let path = format!("/sandboxes/{sandbox}/previews");
    let url = api.post(&path, json!({ "port": 8000 })).await.data(201)["url"].clone();
    let address = url.as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let port = address.rsplit(':').next().unwrap();
    assert_ne!(port, program.address.port().to_string(), "a port of its own: {url}");
    for how in ENDS {
        program.end(how).await;
        let loopback = std::net::SocketAddr::new([127, 0, 0, 1].into(), port.parse().unwrap());
        assert!(std::net::TcpStream::connect(loopback).is_err(), "{how:?}");
        program = home.start().await;
        let api = program.client(KEY);
        assert_eq!(api.get(&path).await.json()["data"][0]["url"], url, "{how:?}");
        said(&api, &sandbox, serve).await;
        let preview = harness::Client { address: loopback, ..api.clone() };
        until("the page is there", || async {
            let page = preview.request(http::Method::GET, "/_x").path("/").attempt().await;
            page.is_ok_and(|page| page.status == 200 && page.body == "hello\n")
        })
        .await;
    }
    program.terminate().await;
}

#[tokio::test]
async fn a_second_emulator_on_the_same_directory_is_refused_and_told_who_holds_it() {
    let home = Home::new("namespace");
    let program = home.start().await;
    let api = program.client(KEY);
    let sandbox = id(&api.post("/sandboxes", json!({})).await.data(201));
    let (code, said_) = home.refused().await;
    assert_eq!(code, 4, "{said_}");
    assert!(said_.contains(&format!("process {}", program.pid())), "{said_}");
    // The first one has not noticed.
    assert_eq!(said(&api, &sandbox, "echo here").await, "here");
    program.kill().await;
    home.start().await.terminate().await;
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused_and_left_as_it_was() {
    for change in ["PRAGMA user_version = 99", "PRAGMA application_id = 7"] {
        let home = Home::new("none");
        let program = home.start().await;
        program.client(KEY).post("/workspaces", json!({ "name": "kept" })).await.data(201);
        program.terminate().await;
        home.state().execute_batch(change).unwrap();
        let before = std::fs::read(home.database()).unwrap();
        let (code, said) = home.refused().await;
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("state.db"), "{said}");
        assert_eq!(std::fs::read(home.database()).unwrap(), before, "{change}");
    }
}
