//! `kill -9` at any moment, with clients that send the identical request again until it is answered: nothing that was
//! acknowledged is lost, and nothing runs twice.
//!
//! Short: eight kills. Long (`MIOSA_TEST_ALL=1`): a hundred. `MIOSA_TEST_SEED` repeats a run's choices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod crash_client;
mod harness;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crash_client::{Acknowledged, Dice, Line, Patient, Worker};
use harness::Client;
use http::Method;
use program::{Home, host, said};
use serde_json::{Value, json};

const WORKERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_over_kill_9() {
    let all = std::env::var_os("MIOSA_TEST_ALL").is_some();
    let seed = std::env::var("MIOSA_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("MIOSA_TEST_SEED={seed}");
    storm("namespace", if all { 100 } else { 8 }, seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_sandboxes_are_made_once_over_kill_9() {
    let all = std::env::var_os("MIOSA_TEST_ALL").is_some();
    let seed = u64::from(std::process::id());
    eprintln!("MIOSA_TEST_SEED={seed}");
    storm("docker", if all { 25 } else { 3 }, seed).await;
}

async fn storm(machines: &'static str, kills: u32, seed: u64) {
    let home = Home::new(machines);
    let mut program = home.start().await;
    let (reached, address) = tokio::sync::watch::channel(Some(program.address));
    let (finish, finishing) = tokio::sync::watch::channel(false);
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let patient = Patient::new(address.clone());
            let worker = Worker::new(number, Dice::new(seed ^ (number << 32)), patient);
            tokio::spawn(worker.run(finishing.clone()))
        })
        .collect();
    let mut dice = Dice::new(seed);
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(100 + dice.below(1500))).await;
        reached.send(None).unwrap();
        program.kill().await;
        program = home.start().await;
        reached.send(Some(program.address)).unwrap();
        eprintln!("killed {} times", kill + 1);
    }
    finish.send(true).unwrap();
    let mut done = Vec::new();
    for worker in workers {
        done.push(worker.await.expect("a worker's checks"));
    }
    // Once more, so that everything is read from what a crash has left.
    program.kill().await;
    let program = home.start().await;
    let api = program.client(crash_client::KEY);
    for worker in &done {
        for acknowledged in &worker.acknowledged {
            replays(&api, acknowledged).await;
        }
    }
    lists_agree(&api, &done).await;
    for worker in &done {
        for (sandbox, model) in &worker.sandboxes {
            files_agree(&api, sandbox, &model.lines, &model.files).await;
        }
    }
    let sandboxes = sorted(done.iter().flat_map(|worker| worker.sandboxes.keys().cloned()));
    let snapshots: usize = done.iter().map(|worker| worker.snapshots.len()).sum();
    let acknowledged: usize = done.iter().map(|worker| worker.acknowledged.len()).sum();
    let attempts: u64 = done.iter().map(crash_client::Worker::attempts).sum();
    eprintln!(
        "{acknowledged} answers in {attempts} attempts; {} sandboxes, {snapshots} snapshots",
        sandboxes.len()
    );
    program.terminate().await;
    // No machine twice, none without a row.
    if machines == "docker" {
        let found = host::containers(&home.owner().unwrap()).await;
        assert_eq!(sorted(found.into_iter().map(|(_, machine, _)| machine)), sandboxes);
    } else {
        assert_eq!(host::directories(&home.data()), sandboxes);
    }
    counters_agree(&home);
}

/// The same request under the same key: the same answer, marked.
async fn replays(api: &Client, acknowledged: &Acknowledged) {
    let Acknowledged { request, reply } = acknowledged;
    let again = request.send(api).await.unwrap();
    let what = format!("{request:?}: {reply:?}, then {again:?}");
    assert_eq!(again.status, reply.status, "{what}");
    assert_eq!(again.body, reply.body, "{what}");
    for header in ["x-request-id", "location", "content-type"] {
        assert_eq!(again.headers.get(header), reply.headers.get(header), "{header}: {what}");
    }
    assert_eq!(again.header("idempotency-replayed"), "true", "{what}");
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<_> = items.collect();
    items.sort();
    items
}

/// Every item of a list, page by page, and what it says is the total.
async fn listed(api: &Client, path: &str) -> (Vec<Value>, u64) {
    let mut items = Vec::new();
    for page in 1.. {
        let part = api.get(&format!("{path}?page_size=50&page={page}")).await;
        assert_eq!(part.status, 200, "{part:?}");
        let part = part.json();
        let found = part["data"].as_array().unwrap().clone();
        if found.is_empty() {
            return (items, part["page"]["total"].as_u64().unwrap());
        }
        items.extend(found);
    }
    unreachable!()
}

async fn agree(api: &Client, path: &str, expected: BTreeMap<String, String>, also: usize) {
    let (items, total) = listed(api, path).await;
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let found: Vec<(String, String)> = items
        .iter()
        .map(|item| (text(item, "id"), text(item, "name")))
        .filter(|(_, name)| name.starts_with('w') || path.ends_with("snapshots"))
        .collect();
    let once: BTreeMap<String, String> = found.iter().cloned().collect();
    assert_eq!(once.len(), found.len(), "{path}: twice in a list");
    assert_eq!(once, expected, "{path}");
    assert_eq!(total, (expected.len() + also) as u64, "{path}: {items:?}");
}

async fn lists_agree(api: &Client, done: &[Worker]) {
    let all = |of: fn(&Worker) -> BTreeMap<String, String>| {
        done.iter().flat_map(of).collect::<BTreeMap<_, _>>()
    };
    // The default workspace and its default project are beside.
    agree(api, "/workspaces", all(|worker| worker.workspaces.clone()), 1).await;
    let (projects, _) = listed(api, "/projects").await;
    let defaults = projects.iter().filter(|item| item["is_default"] == true).count();
    agree(api, "/projects", all(|worker| worker.projects.clone()), defaults).await;
    let sandboxes = all(|worker| {
        worker.sandboxes.iter().map(|(id, model)| (id.clone(), model.name.clone())).collect()
    });
    agree(api, "/sandboxes", sandboxes.clone(), 0).await;
    for sandbox in sandboxes.keys() {
        let of: BTreeMap<String, String> = done
            .iter()
            .flat_map(|worker| &worker.snapshots)
            .filter(|(_, of)| *of == sandbox)
            .map(|(id, _)| (id.clone(), String::new()))
            .collect();
        agree(api, &format!("/sandboxes/{sandbox}/snapshots"), of, 0).await;
    }
}

async fn files_agree(
    api: &Client,
    sandbox: &str,
    lines: &BTreeMap<String, Line>,
    files: &BTreeMap<String, String>,
) {
    let log = said(api, sandbox, "touch /workspace/log; cat /workspace/log").await;
    let written: Vec<&str> = log.lines().collect();
    let once: BTreeSet<&str> = written.iter().copied().collect();
    assert_eq!(once.len(), written.len(), "{sandbox}: a command ran twice: {written:?}");
    for line in &written {
        assert!(lines.contains_key(*line), "{sandbox}: who wrote {line}?");
    }
    for (line, outcome) in lines {
        assert!(
            *outcome == Line::Unknown || once.contains(line.as_str()),
            "{sandbox}: {line} was acknowledged and is lost: {written:?}"
        );
    }
    for (path, content) in files {
        let read = api.get(&format!("/sandboxes/{sandbox}/fs/download?path={path}")).await;
        assert_eq!(read.status, 200, "{sandbox} {path}: {read:?}");
        assert_eq!(read.body, content.as_bytes(), "{sandbox} {path}");
    }
}

/// The totals that lists answer with are what there is.
fn counters_agree(home: &Home) {
    const COUNTED: &str =
        "SELECT kind, org, ifnull(workspace, ''), ifnull(parent, ''), state, count(*)
                           FROM documents GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5";
    const KEPT: &str =
        "SELECT kind, org, workspace, parent, state, n FROM counters ORDER BY 1, 2, 3, 4, 5";
    let state = home.state();
    let rows = |sql: &str| -> Vec<(Vec<String>, i64)> {
        let mut statement = state.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            let names: Result<Vec<String>, _> = (0..5).map(|column| row.get(column)).collect();
            Ok((names?, row.get(5)?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(rows(COUNTED), rows(KEPT));
    let check: String = state.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_after_crash_runs_once() {
    let home = Home::new("namespace");
    let program = home.start().await;
    let api = program.client(crash_client::KEY);
    let keyed = async |api: &Client, method: Method, path: &str, key: &str, body: &Value| {
        api.request(method, path).header("idempotency-key", key).json(body).attempt().await
    };
    let create = json!({ "name": "one" });
    let made = keyed(&api, Method::POST, "/sandboxes", "make", &create).await.unwrap();
    let path = format!("/sandboxes/{}", program::id(&made.data(201)));
    let exec = format!("{path}/exec");
    let append = json!({ "command": "echo line >> /workspace/log" });
    let ran = keyed(&api, Method::POST, &exec, "append", &append).await.unwrap();
    assert_eq!(ran.data(200)["exit_code"], 0);
    // One that has taken effect and is not answered when the power goes.
    let cut = json!({ "command": "echo cut >> /workspace/log; sleep 600", "timeout": 600 });
    let (client, cut_path, cut_body) = (api.clone(), exec.clone(), cut.clone());
    let waiting = tokio::spawn(async move {
        let request = client.request(Method::POST, &cut_path).header("idempotency-key", "cut");
        request.json(&cut_body).attempt().await
    });
    program::until("it has begun", async || {
        said(&api, &program::id(&made.data(201)), "cat /workspace/log").await.contains("cut")
    })
    .await;
    program.kill().await;
    waiting.await.unwrap().unwrap_err();
    let mut program = home.start().await;
    let mut unknown = None;
    for _ in 0..2 {
        let api = program.client(crash_client::KEY);
        let again = keyed(&api, Method::POST, "/sandboxes", "make", &create).await.unwrap();
        assert_eq!((again.status, &again.body), (201, &made.body));
        assert_eq!(again.headers["x-request-id"], made.headers["x-request-id"]);
        assert_eq!(again.headers["location"], made.headers["location"]);
        assert_eq!(again.header("idempotency-replayed"), "true");
        let again = keyed(&api, Method::POST, &exec, "append", &append).await.unwrap();
        assert_eq!((again.status, &again.body), (200, &ran.body));
        for _ in 0..2 {
            let again = keyed(&api, Method::POST, &exec, "cut", &cut).await.unwrap();
            again.refused(500, "OUTCOME_UNKNOWN");
            assert_eq!(*unknown.get_or_insert(again.body.clone()), again.body);
        }
        let other = json!({ "command": "echo other" });
        let other = keyed(&api, Method::POST, &exec, "append", &other).await.unwrap();
        other.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
        let log = said(&api, &program::id(&made.data(201)), "cat /workspace/log").await;
        assert_eq!(log, "line\ncut");
        assert_eq!(api.get("/sandboxes").await.json()["page"]["total"], 1);
        program.kill().await;
        program = home.start().await;
    }
    program.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_write_that_was_cut_off_left_is_in_nobodys_way() {
    let home = Home::new("namespace");
    let program = home.start().await;
    let api = program.client(crash_client::KEY);
    let sandbox = program::id(&api.post("/sandboxes", json!({})).await.data(201));
    let write = async |api: &Client, name: String, content: &str| {
        let body = json!({ "path": format!("/workspace/{name}"), "content": content });
        api.post(&format!("/sandboxes/{sandbox}/fs/write"), body).await
    };
    // Sees one of the names under which files are written before they are there.
    let watch = "cd /workspace; while [ ! -s seen ]; do for f in .miosa-*; do [ -e \"$f\" ] && echo \"$f\" > seen; \
                 done; done >/dev/null 2>&1 &";
    said(&api, &sandbox, watch).await;
    let large = "x".repeat(8 * 1024 * 1024);
    let (mut writes, mut left) = (0, String::new());
    while left.is_empty() {
        assert!(writes < 100, "no write was seen under way");
        assert_eq!(write(&api, format!("large-{writes}"), &large).await.status / 100, 2);
        writes += 1;
        left = said(&api, &sandbox, "cd /workspace; touch seen; cat seen; rm -f large-*").await;
    }
    // What a kill at that moment leaves.
    said(&api, &sandbox, &format!("echo cut > '/workspace/{left}'")).await;
    program.kill().await;
    let program = home.start().await;
    let api = program.client(crash_client::KEY);
    for number in 0..=writes {
        let written = write(&api, format!("small-{number}"), "whole").await;
        assert_eq!(written.status / 100, 2, "{left}: {written:?}");
    }
    let content =
        said(&api, &sandbox, &format!("cat '/workspace/{left}' /workspace/small-0")).await;
    assert_eq!(content, "cut\nwhole");
    program.terminate().await;
}
