//! What only an emulator has: health, reset, clock, journal, coverage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use harness::{BOUND, Client, Emulator};
use http::Method;
use http_body_util::BodyExt as _;
use miosa_emulator::api::{self, known_routes};
use miosa_emulator::http::auth::AuthMode;
use miosa_emulator::http::route::pattern;
use serde_json::{Value, json};

const A: &str = "msk_test_control_a";
const B: &str = "msk_test_control_b";

async fn workspace(client: &Client, name: &str) -> Value {
    client.post("/workspaces", json!({ "name": name })).await.data(201)
}

async fn total(client: &Client, path: &str) -> u64 {
    client.get(path).await.json()["page"]["total"].as_u64().unwrap()
}

/// The journal's entries that pass this query.
async fn journal(client: &Client, query: &str) -> Vec<Value> {
    let reply = client.get(&format!("/_emulator/requests?{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    let entries = body["data"].as_array().unwrap().clone();
    assert_eq!(body["count"], entries.len(), "{body}");
    entries
}

/// A key without scopes, as strict mode needs one: minted while it was open, in the same data.
async fn strict_with_key(scopes: Option<Value>) -> (Emulator, String) {
    let open = Emulator::start().await;
    let mut fields = json!({ "name": "ci" });
    if let Some(scopes) = scopes {
        fields["scopes"] = scopes;
    }
    let reply = open.client("msk_live_first").post("/api-keys", fields).await;
    let key =
        reply.json()["data"]["key"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    let data = open.stop().await;
    let none = |_: &std::path::Path| miosa_emulator::machines::Machines::none("a test");
    let strict = Emulator::boot(data, none, |config| config.auth = AuthMode::Strict).await;
    (strict, key)
}

#[tokio::test]
async fn health_needs_no_credential_and_names_the_machines() {
    let emulator = Emulator::with(|config| config.auth = AuthMode::Strict).await;
    let reply = emulator.anonymous().get("/_emulator/health").await;
    assert_eq!(reply.status, 200);
    let health = reply.json();
    assert_eq!((&health["status"], &health["machines"]), (&json!("ok"), &json!("none")));
    assert_eq!(health["auth"], "strict");
}

#[tokio::test]
async fn a_reset_empties_the_callers_organization_and_no_other() {
    let emulator = Emulator::start().await;
    let (a, b) = (emulator.client(A), emulator.client(B));
    let made = workspace(&a, "Mine").await;
    let theirs = workspace(&b, "Theirs").await;
    let path = |workspace: &Value| format!("/workspaces/{}", workspace["id"].as_str().unwrap());
    let reset = a.post("/_emulator/reset", json!({})).await.data(200);
    assert_eq!((&reset["reset"], &reset["all"]), (&json!(true), &json!(false)));
    a.get(&path(&made)).await.refused(404, "workspace_not_found");
    assert_eq!(total(&a, "/workspaces").await, 1, "a fresh default one");
    assert_eq!(total(&a, "/projects").await, 1);
    b.get(&path(&theirs)).await.data(200);
    assert_eq!(total(&b, "/workspaces").await, 2);
}

#[tokio::test]
async fn a_reset_makes_sandboxes_unreachable_at_once_and_removes_their_machines_behind() {
    let emulator = boot::start().await;
    let (a, b) = (emulator.client(A), emulator.client(B));
    let mut mine = Vec::new();
    for name in ["one", "two"] {
        mine.push(boot::create(&a, json!({ "name": name })).await);
    }
    let theirs = boot::create(&b, json!({ "name": "one" })).await;
    let snapshot = a.post(&format!("{}/snapshots", boot::path(&mine[0])), json!({})).await;
    assert!(snapshot.status < 300, "{snapshot:?}");
    let reset = a.post("/_emulator/reset", json!({})).await.data(200);
    assert_eq!((&reset["sandboxes"], &reset["snapshots"]), (&json!(2), &json!(1)));
    for sandbox in &mine {
        a.get(&boot::path(sandbox)).await.refused(404, "sandbox_not_found");
        let run = json!({ "command": "true" });
        let ran = a.post(&format!("{}/exec", boot::path(sandbox)), run).await;
        ran.refused(404, "sandbox_not_found");
    }
    assert_eq!(total(&a, "/sandboxes").await, 0);
    boot::create(&a, json!({ "name": "one" })).await;
    let machines = &emulator.app.machines;
    boot::until("the machines are gone", || async {
        let found = machines.list().await.unwrap();
        let left = mine.iter().filter(|sandbox| {
            found.iter().any(|machine| machine.id.to_string() == boot::id(sandbox))
        });
        left.count() == 0 && machines.list_snapshots().await.unwrap().is_empty()
    })
    .await;
    assert_eq!(boot::said(&emulator, &theirs, "echo still here").await, "still here\n");
}

#[tokio::test]
async fn a_sandbox_that_is_being_made_does_not_survive_a_reset() {
    let emulator = boot::start().await;
    let a = emulator.client(A);
    let makers = (0..4).map(|n| {
        let a = a.clone();
        tokio::spawn(async move {
            let fields = json!({ "name": format!("s{n}"), "template_id": "blank" });
            a.post("/sandboxes", fields).await.status
        })
    });
    let makers: Vec<_> = makers.collect();
    boot::until("one is under way", || async { total(&a, "/sandboxes").await > 0 }).await;
    a.post("/_emulator/reset", json!({})).await.data(200);
    for maker in makers {
        maker.await.unwrap();
    }
    boot::until("no machine without a row", || async {
        let rows = total(&a, "/sandboxes").await as usize;
        emulator.app.machines.list().await.unwrap().len() == rows
    })
    .await;
}

#[tokio::test]
async fn a_reset_of_all_works_from_this_computer_and_not_where_keys_are_strict() {
    let emulator = Emulator::start().await;
    for key in [A, B] {
        workspace(&emulator.client(key), "One").await;
    }
    emulator.anonymous().post("/_emulator/reset?all=true", json!({})).await.data(200);
    for key in [A, B] {
        assert_eq!(total(&emulator.client(key), "/workspaces").await, 1);
    }
    let (strict, key) = strict_with_key(None).await;
    let reset = "/_emulator/reset";
    strict.anonymous().post(reset, json!({})).await.refused(401, "MISSING_TOKEN");
    let client = strict.client(&key);
    client.post("/_emulator/reset?all=true", json!({})).await.refused(403, "FORBIDDEN");
    client.get("/_emulator/requests?all=true").await.refused(403, "FORBIDDEN");
    client.post(reset, json!({})).await.data(200);
    // The key lives on, or nobody could come in again.
    assert_eq!(total(&client, "/workspaces").await, 1);
}

#[tokio::test]
async fn control_refuses_a_key_with_scopes() {
    let emulator = Emulator::start().await;
    let owner = emulator.client(A);
    let fields = json!({ "name": "ci", "scopes": ["projects:read"] });
    let minted = owner.post("/api-keys", fields).await;
    let key =
        minted.json()["data"]["key"].as_str().unwrap_or_else(|| panic!("{minted:?}")).to_owned();
    let scoped = emulator.client(&key);
    assert_eq!(scoped.get("/workspaces").await.status, 200);
    scoped.post("/_emulator/reset", json!({})).await.refused(403, "FORBIDDEN");
    scoped.post("/_emulator/clock", json!({ "advance": "1h" })).await.refused(403, "FORBIDDEN");
    scoped.get("/_emulator/requests").await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_clock_moves_for_the_callers_organization_and_no_other() {
    let emulator = Emulator::start().await;
    let (a, b) = (emulator.client(A), emulator.client(B));
    let offset = async |client: &Client| {
        client.get("/_emulator/clock").await.data(200)["offset_seconds"].clone()
    };
    let moved = a.post("/_emulator/clock", json!({ "advance": "1h30m" })).await.data(200);
    assert_eq!(moved["offset_seconds"], 5400);
    a.post("/_emulator/clock", json!({ "advance_seconds": 600 })).await.data(200);
    assert_eq!((offset(&a).await, offset(&b).await), (json!(6000), json!(0)));
    assert_eq!(offset(&emulator.anonymous()).await, 0);
    let (later, now) = (workspace(&a, "Later").await, workspace(&b, "Now").await);
    assert!(later["created_at"].as_str() > now["created_at"].as_str(), "{later} {now}");
    // Time does not run backwards over a restart.
    let data = emulator.stop().await;
    let none = |_: &std::path::Path| miosa_emulator::machines::Machines::none("a test");
    let emulator = Emulator::boot(data, none, |_| {}).await;
    assert_eq!(offset(&emulator.client(A)).await, 6000);
}

#[tokio::test]
async fn a_clock_takes_only_what_it_can_do() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    for body in [
        json!({}),
        json!({ "advance": "soon" }),
        json!({ "advance": "-1h" }),
        json!({ "advance_seconds": -1 }),
        json!({ "advance_seconds": 1, "advance": "1s" }),
        json!({ "advance": "4000000d" }),
        json!({ "advance_seconds": u64::MAX }),
    ] {
        a.post("/_emulator/clock", body.clone()).await.refused(422, "VALIDATION_FAILED");
    }
    // However often: times stay times that a client can read.
    for _ in 0..50 {
        a.post("/_emulator/clock", json!({ "advance": "73000d" })).await;
    }
    let now = a.get("/_emulator/clock").await.data(200)["now"].as_str().unwrap().to_owned();
    assert!(now.starts_with('9') && now.len() <= 24, "{now}");
}

#[tokio::test]
async fn the_journal_is_filtered_by_every_parameter() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    workspace(&a, "One").await;
    let missing = a.get("/workspaces/nope").await;
    missing.refused(404, "workspace_not_found");
    a.get("/projects").await.data(200);
    a.post("/workspaces", json!({ "nmae": "x" })).await.refused(422, "VALIDATION_FAILED");
    let only = async |query: &str| {
        let entries = journal(&a, query).await;
        let mut seen: Vec<String> = entries
            .iter()
            .filter(|entry| entry["family"] != "control")
            .map(|entry| format!("{} {}", entry["status"], entry["target"].as_str().unwrap()))
            .collect();
        seen.reverse();
        seen.join(", ")
    };
    let (made, lost, listed, wrong) = (
        "201 /api/v1/workspaces",
        "404 /api/v1/workspaces/nope",
        "200 /api/v1/projects",
        "422 /api/v1/workspaces",
    );
    for (query, expected) in [
        ("", vec![made, lost, listed, wrong]),
        ("status=4xx", vec![lost, wrong]),
        ("status=404", vec![lost]),
        ("method=post", vec![made, wrong]),
        ("path=nope", vec![lost]),
        ("family=projects", vec![listed]),
        ("unread=true", vec![wrong]),
        ("status=5xx", vec![]),
        ("flag=replayed", vec![]),
        (&format!("request_id={}", missing.header("x-request-id")), vec![lost]),
    ] {
        assert_eq!(only(query).await, expected.join(", "), "{query}");
    }
    let all = journal(&a, "").await;
    let second = all.iter().find(|entry| entry["status"] == 404).unwrap()["seq"].as_u64().unwrap();
    let later = journal(&a, &format!("after={second}&family=workspaces")).await;
    assert_eq!(later.len(), 1, "{later:?}");
    assert_eq!(journal(&a, "most=2").await.len(), 2);
    a.get("/_emulator/requests?most=many").await.refused(400, "INVALID_PARAMETER");
    // Newest first, and what one organization does is no other's business.
    let seqs: Vec<u64> = all.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b), "{seqs:?}");
    assert_eq!(journal(&emulator.client(B), "family=workspaces").await.len(), 0);
    assert_eq!(journal(&emulator.anonymous(), "all=true&family=workspaces").await.len(), 3);
}

#[tokio::test]
async fn the_journal_names_what_was_sent_and_nobody_read() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    let misspelt = json!({ "name": "One", "descripton": "x", "settings": {} });
    a.post("/workspaces", misspelt).await.data(201);
    a.get("/sandboxes?stat=running&limit=5").await.data(200);
    a.get("/whoami?verbos=1").await;
    let unread = journal(&a, "unread=true").await;
    let names: Vec<&Value> = unread.iter().map(|entry| &entry["unread_fields"]).collect();
    assert!(names.contains(&&json!(["?stat"])), "{unread:?}");
    let body = unread.iter().find(|entry| entry["method"] == "POST").expect("the create");
    assert!(body["unread_fields"].as_array().unwrap().contains(&json!("descripton")), "{body}");
    assert!(!body["unread_fields"].as_array().unwrap().contains(&json!("name")), "{body}");
}

#[tokio::test]
async fn the_journal_shows_the_path_that_was_sent_and_the_route_that_it_meant() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    a.request(Method::GET, "/").path("//api/v1//workspaces/").send().await.data(200);
    let entry = journal(&a, "family=workspaces").await.remove(0);
    assert_eq!(entry["target"], "//api/v1//workspaces/");
    assert_eq!(entry["route"], "/workspaces");
}

#[tokio::test]
async fn a_list_that_leaves_items_out_unasked_is_flagged() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    for n in 1..20 {
        workspace(&a, &format!("W {n}")).await;
    }
    assert_eq!(total(&a, "/workspaces").await, 20);
    assert!(journal(&a, "flag=items_left_out").await.is_empty(), "20 fit a page");
    workspace(&a, "W 20").await;
    a.get("/workspaces").await.data(200);
    a.get("/workspaces?page=1").await.data(200);
    let flagged = journal(&a, "flag=items_left_out").await;
    assert_eq!(flagged.len(), 1, "who asks for a page knows: {flagged:?}");
    assert_eq!(flagged[0]["target"], "/api/v1/workspaces");
}

#[tokio::test]
async fn a_replay_is_flagged() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A).with("idempotency-key", "once");
    let first = workspace(&a, "One").await;
    assert_eq!(workspace(&a, "One").await["id"], first["id"]);
    let replayed = journal(&emulator.client(A), "flag=replayed").await;
    assert_eq!(replayed.len(), 1);
}

#[tokio::test]
async fn the_journal_keeps_to_its_caps() {
    let emulator = Emulator::with(|config| config.journal = (10, 100_000)).await;
    let a = emulator.client(A);
    for n in 0..30 {
        a.get(&format!("/workspaces/{n}")).await;
    }
    let kept = journal(&a, "most=1000").await;
    assert_eq!(kept.len(), 10);
    assert_eq!(kept[0]["target"], "/api/v1/workspaces/29");
    let emulator = Emulator::with(|config| config.journal = (10_000, 5_000)).await;
    let a = emulator.client(A);
    for _ in 0..30 {
        a.get(&format!("/workspaces/{}", "x".repeat(1000))).await;
    }
    let kept = journal(&a, "most=1000").await;
    assert!((1..=5).contains(&kept.len()), "{}", kept.len());
}

#[tokio::test]
async fn a_live_journal_shows_what_comes_after() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    workspace(&a, "Before").await;
    let live = a.clone().with("accept", "text/event-stream");
    let stream = live.request(Method::GET, "/_emulator/requests?family=workspaces").open().await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut events = stream.into_body().into_data_stream();
    emulator.client(B).get("/workspaces").await;
    a.get("/projects").await;
    a.get("/workspaces/after").await;
    let event = tokio::time::timeout(BOUND, events.next()).await.unwrap().unwrap().unwrap();
    let event = String::from_utf8(event.to_vec()).unwrap();
    let data = event.strip_prefix("event: request\ndata: ").unwrap_or_else(|| panic!("{event}"));
    let entry: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(entry["target"], "/api/v1/workspaces/after");
    emulator.app.stopping.cancel();
    assert!(
        tokio::time::timeout(BOUND, events.next()).await.unwrap().is_none(),
        "it ends in order"
    );
}

#[tokio::test]
async fn no_secret_reaches_the_journal() {
    let emulator = boot::start().await;
    let client = emulator.client("msk_live_k3y5ecret");
    let fields = json!({ "name": "s", "env": { "A": "env5ecret" } });
    boot::create(&client, fields).await;
    let run = json!({ "command": "echo cmd5ecret", "env": { "B": "run5ecret" } });
    client.post("/sandboxes/s/exec", run).await.data(200);
    let minted = client.post("/api-keys", json!({ "name": "ci" })).await.json();
    let minted = minted["data"]["key"].as_str().unwrap().to_owned();
    client.get("/workspaces?token=qu3ry5ecret&TICKET=qu3ry5ecret").await;
    client.get("/workspaces?q=msk_live_qu3ry5ecret").await;
    client.get("/workspaces/msk_live_p4th5ecret").await;
    client.post("/workspaces", json!({ "name": 3, "x": "b0dy5ecret" })).await;
    let entries = serde_json::to_string(&journal(&client, "most=1000").await).unwrap();
    assert!(entries.contains("/api-keys") && entries.contains("/workspaces"), "{entries}");
    for secret in [
        "k3y5ecret",
        "qu3ry5ecret",
        "p4th5ecret",
        "env5ecret",
        "run5ecret",
        "cmd5ecret",
        "b0dy5ecret",
        &minted,
    ] {
        assert!(!entries.contains(secret), "{secret}: {entries}");
    }
}

#[tokio::test]
async fn coverage_counts_what_the_router_and_the_table_of_known_routes_say() {
    let emulator = Emulator::start().await;
    // Counted here on its own: by method and shape of the path, built ones first.
    let mut families: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for route in api::routes() {
        seen.insert((route.info.method.to_string(), pattern(route.info.path)));
        families.entry(route.info.family.to_owned()).or_default().0 += 1;
    }
    let built = seen.len();
    for route in known_routes::all() {
        if seen.insert((route.method.to_owned(), pattern(route.path))) {
            families.entry(route.family.to_owned()).or_default().1 += 1;
        }
    }
    let coverage = emulator.anonymous().get("/_emulator/coverage").await.data(200);
    assert_eq!(coverage["routes"], seen.len());
    assert_eq!(coverage["built"], built);
    assert_eq!(coverage["not_emulated"], seen.len() - built);
    let counted: BTreeMap<String, (usize, usize)> = coverage["families"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let count = |field: &str| row[field].as_u64().unwrap() as usize;
            assert_eq!(count("routes"), count("built") + count("not_emulated"), "{row}");
            (row["family"].as_str().unwrap().to_owned(), (count("built"), count("not_emulated")))
        })
        .collect();
    assert_eq!(counted, families);
}

#[tokio::test]
async fn coverage_of_a_family_names_its_routes_and_they_answer_so() {
    let emulator = Emulator::start().await;
    let a = emulator.client(A);
    let coverage = a.get("/_emulator/coverage?family=sandboxes").await.data(200);
    let row = &coverage["families"][0];
    let names = |field: &str| -> Vec<String> {
        row[field]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    assert!(names("built_routes").contains(&"POST /sandboxes".to_owned()), "{row}");
    for name in names("not_emulated_routes").iter().take(10) {
        let (method, path) = name.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "").replace("...", "");
        let asked = a.request(method.parse().unwrap(), &path).send().await;
        asked.refused(501, "not_emulated");
    }
    let error =
        a.get("/_emulator/coverage?family=sandboxs").await.refused(400, "INVALID_PARAMETER");
    assert!(error["message"].as_str().unwrap().contains("sandboxes"), "{error}");
}
