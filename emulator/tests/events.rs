//! What happens, as streams and lists tell it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;
#[path = "harness/stream.rs"]
mod stream;

use hosted::{KEY, Sandbox, until};
use miosa_emulator::lifecycle::retention;
use serde_json::{Value, json};
use stream::Stream;

#[tokio::test]
async fn a_stream_tells_what_was_and_what_comes_and_ends_with_its_sandbox() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut events = Stream::open(&sandbox.client, &sandbox.at("/events")).await;
    let (started, before) = events.until("sandbox.started").await;
    assert_eq!(before, ["sandbox.created"]);
    assert_eq!(started.data["sandbox_id"], sandbox.id.as_str());
    assert!(started.data.as_object().unwrap().contains_key("region"));
    sandbox.exec("echo out; echo err >&2; exit 3").await;
    let (exec, _) = events.until("sandbox.exec.started").await;
    assert_eq!(exec.data["command"], "echo out; echo err >&2; exit 3");
    let (completed, said) = events.until("sandbox.exec.completed").await;
    assert_eq!(completed.data["exec_id"], exec.data["exec_id"]);
    assert_eq!(
        (&completed.data["exit_code"], &completed.data["output_truncated"]),
        (&json!(3), &json!(false))
    );
    assert!(completed.data["duration_ms"].is_u64());
    assert!(said.contains(&"sandbox.exec.stdout".to_owned()), "{said:?}");
    assert!(said.contains(&"sandbox.exec.stderr".to_owned()), "{said:?}");
    sandbox.client.delete(&sandbox.path).await;
    let rest = events.rest().await;
    assert_eq!(rest.last().unwrap().name, "sandbox.destroyed");
    sandbox.client.get(&sandbox.at("/events")).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn a_stream_that_broke_off_goes_on_where_it_was_also_over_a_restart() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "persistent": true })).await;
    sandbox.exec("echo one; echo two").await;
    let mut whole = Stream::open(&sandbox.client, &sandbox.at("/events")).await;
    let mut all = Vec::new();
    while all.last().is_none_or(|event: &stream::Event| event.name != "sandbox.exec.completed") {
        all.push(whole.next().await.unwrap());
    }
    let ids: Vec<&str> = all.iter().map(|event| event.id.as_deref().unwrap()).collect();
    assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 26), "{ids:?}");
    // From each place, by header and by query, exactly the rest comes.
    for (place, id) in ids.iter().enumerate() {
        for query in ["last_event_id", "after"] {
            let path = sandbox.at(&format!("/events?{query}={id}"));
            let mut resumed = Stream::open(&sandbox.client, &path).await;
            for expected in &all[place + 1..] {
                assert_eq!(&resumed.next().await.unwrap(), expected);
            }
        }
    }
    drop(whole);
    let emulator = hosted::start_on(emulator.stop().await).await;
    let client = emulator.client(KEY);
    let mut resumed = Stream::resume(&client, &sandbox.at("/events"), Some(ids[2])).await;
    for expected in &all[3..] {
        assert_eq!(&resumed.next().await.unwrap(), expected);
    }
    client.get(&sandbox.at("/events?after=nonsense")).await.refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_place_that_is_no_longer_kept_is_told() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("echo first").await;
    let mut events = Stream::open(&sandbox.client, &sandbox.at("/events")).await;
    let (first, _) = events.until("sandbox.exec.started").await;
    // Each command tells of its first thousand lines.
    for _ in 0..3 {
        sandbox.exec("seq 1 1200").await;
    }
    let path = sandbox.at("/events");
    let mut resumed = Stream::resume(&sandbox.client, &path, first.id.as_deref()).await;
    assert_eq!(resumed.next().await.unwrap().name, "events.lost");
    // Lifecycle events are not pushed out by what commands say.
    let kept = sandbox.client.get(&format!("/platform-events?subject_id={}", sandbox.id)).await;
    assert_eq!(kept.data(200)[0]["type"], "sandbox.created");
}

#[tokio::test]
async fn a_command_that_says_too_much_is_told_in_part_and_its_end_always() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("seq 1 5000").await;
    let mut events = Stream::open(&sandbox.client, &sandbox.at("/events?backlog=1000")).await;
    let (completed, said) = events.until("sandbox.exec.completed").await;
    assert_eq!(completed.data["output_truncated"], true);
    assert!(said.len() <= 1000, "{}", said.len());
}

#[tokio::test]
async fn variables_of_a_command_are_in_no_event() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "true", "env": { "TOKEN": "hunter2" } });
    sandbox.client.post(&sandbox.at("/exec"), body).await.data(200);
    let log = sandbox.client.get(&sandbox.at("/logs")).await;
    assert!(log.data(200)["lines"].as_array().unwrap().contains(&json!("$ true")));
    assert!(!String::from_utf8_lossy(&log.body).contains("hunter2"));
}

#[tokio::test]
async fn a_command_whose_client_went_away_is_told_as_cut_off() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let mut events = Stream::open(&sandbox.client, &sandbox.at("/events")).await;
    let body = json!({ "command": "echo begun; sleep 600" });
    let running =
        sandbox.client.request(http::Method::POST, &sandbox.at("/exec/stream")).json(&body);
    let running = running.open().await;
    events.until("sandbox.exec.stdout").await;
    drop(running);
    let (completed, _) = events.until("sandbox.exec.completed").await;
    assert_eq!(
        (&completed.data["exit_code"], &completed.data["cancelled"]),
        (&Value::Null, &json!(true))
    );
}

#[tokio::test]
async fn the_log_of_a_sandbox_is_read_and_followed() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("echo hello; echo oops >&2").await;
    let log = sandbox.client.get(&sandbox.at("/logs?lines=50")).await.data(200);
    let lines: Vec<&str> =
        log["lines"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    for line in ["sandbox started", "$ echo hello; echo oops >&2", "hello", "oops"] {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert!(lines.last().unwrap().starts_with("exit 0 after "), "{lines:?}");
    let one = sandbox.client.get(&sandbox.at("/logs?lines=1")).await.data(200);
    assert_eq!(one["lines"].as_array().unwrap().len(), 1);
    for bad in ["0", "2001", "x"] {
        let path = sandbox.at(&format!("/logs?lines={bad}"));
        sandbox.client.get(&path).await.refused(400, "INVALID_PARAMETER");
    }
    let mut following = Stream::open(&sandbox.client, &sandbox.at("/logs/stream")).await;
    for line in &lines {
        let event = following.next().await.unwrap();
        assert_eq!((event.name.as_str(), &event.data["line"]), ("log", &json!(line)));
    }
    sandbox.exec("echo later").await;
    assert_eq!(following.next().await.unwrap().data["line"], "$ echo later");
    let event = following.next().await.unwrap();
    assert_eq!((&event.data["line"], &event.data["stream"]), (&json!("later"), &json!("stdout")));
}

#[tokio::test]
async fn streams_end_when_the_emulator_stops() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let own = Stream::open(&sandbox.client, &sandbox.at("/events?backlog=0")).await;
    let all = Stream::open(&sandbox.client, "/events/stream").await;
    let (own, all, ()) = tokio::join!(own.rest(), all.rest(), emulator.end());
    assert!(own.is_empty() && all.is_empty());
}

#[tokio::test]
async fn the_organization_s_stream_has_its_envelope_and_its_filter_and_no_others_events() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let mut other = Stream::open(&emulator.client("msk_test_other"), "/events/stream").await;
    let mut all = Stream::open(&client, "/events/stream").await;
    let mut some = Stream::open(&client, "/events/stream?types=sandbox.destroyed,webhook.*").await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("echo volatile").await;
    let created = all.next().await.unwrap();
    assert_eq!(created.name, "sandbox.created");
    assert!(created.id.as_deref().unwrap().starts_with("evt_"), "{created:?}");
    assert_eq!(created.data["type"], "sandbox.created");
    assert_eq!(created.data["_event_type"], "sandbox.created");
    assert_eq!(created.data["id"], sandbox.id.as_str());
    assert_eq!(created.data["workspace_id"], sandbox.record().await["workspace_id"]);
    for field in ["tenant_id", "ts", "image"] {
        assert!(created.data[field].is_string(), "{field}: {created:?}");
    }
    sandbox.client.delete(&sandbox.path).await;
    let (_, before) = all.until("sandbox.destroyed").await;
    assert!(!before.iter().any(|name| name.contains("exec")), "{before:?}");
    assert_eq!(some.next().await.unwrap().name, "sandbox.destroyed");
    let resumed = Stream::resume(&client, "/events/stream", created.id.as_deref());
    assert_eq!(resumed.await.next().await.unwrap().name, "sandbox.started");
    emulator.client("msk_test_other").post("/workspaces", json!({ "name": "theirs" })).await;
    client.get("/events/stream?types=Sandbox.[a]").await.refused(400, "INVALID_PARAMETER");
    drop(sandbox);
    let (theirs, ()) = tokio::join!(
        tokio::time::timeout(std::time::Duration::from_millis(50), other.next()),
        async {}
    );
    assert!(theirs.is_err(), "{theirs:?}");
}

#[tokio::test]
async fn platform_events_are_listed_oldest_first_in_parts() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = &sandbox.client;
    let mut seen = Vec::new();
    let mut path = "/platform-events?limit=1".to_owned();
    loop {
        let part = client.get(&path).await.json();
        let items = part["data"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        seen.push(items[0].clone());
        let Some(next) = part["next_cursor"].as_str() else { break };
        path = format!("/platform-events?limit=1&after_seq={next}");
    }
    let types: Vec<&str> = seen.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["sandbox.created", "sandbox.started", "sandbox.ready"]);
    assert!(seen.is_sorted_by_key(|event| event["seq"].as_i64()));
    for (filter, many) in [
        ("type=sandbox.ready", 1),
        ("type=sandbox.*", 3),
        ("subject_type=sandbox", 3),
        ("subject_type=workspace", 0),
        (&format!("subject_id={}", sandbox.id), 3),
        (&format!("workspace_id={}", seen[0]["workspace_id"].as_str().unwrap()), 3),
        ("workspace_id=00000000-0000-4000-8000-000000000000", 0),
    ] {
        let part = client.get(&format!("/platform-events?{filter}")).await.data(200);
        assert_eq!(part.as_array().unwrap().len(), many, "{filter}");
    }
    client.get("/platform-events?limit=201").await.refused(400, "INVALID_PARAMETER");
    client.get("/platform-events?after_seq=-1").await.refused(400, "INVALID_PARAMETER");
    let outbox = client.get("/platform-events/outbox").await.data(200);
    assert_eq!((&outbox["events"], &outbox["newest_seq"]), (&json!(3), &seen[2]["seq"]));
}

#[tokio::test]
async fn a_key_that_is_bound_to_a_workspace_sees_its_events_alone() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = &sandbox.client;
    let workspace =
        client.post("/workspaces", json!({ "name": "Other" })).await.data(201)["id"].clone();
    let body = json!({ "name": "bound", "workspace_id": workspace });
    let key = client.post("/api-keys", body).await.data(201)["key"].as_str().unwrap().to_owned();
    let bound = emulator.client(&key);
    assert_eq!(bound.get("/platform-events").await.data(200), json!([]));
    let here = sandbox.record().await["workspace_id"].as_str().unwrap().to_owned();
    let path = format!("/platform-events?workspace_id={here}");
    assert_eq!(bound.get(&path).await.data(200), json!([]));
    bound.get(&sandbox.at("/events")).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn an_idle_sandbox_says_so_before_it_is_paused() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "idle_timeout_sec": 60 })).await;
    let mut events = Stream::open(&sandbox.client, &sandbox.at("/events")).await;
    sandbox.client.advance(61).await;
    let (idle, _) = events.until("sandbox.idle").await;
    assert_eq!(idle.data["sandbox_id"], sandbox.id.as_str());
    let (paused, between) = events.until("sandbox.paused").await;
    assert!(between.is_empty(), "{between:?}");
    assert_eq!(paused.data["reason"], "idle");
    until(async || sandbox.record().await["state"] == "paused").await;
}

#[tokio::test]
async fn events_are_kept_for_thirty_days() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "always_on": true })).await;
    let events = async || sandbox.client.get("/platform-events").await.data(200);
    assert_eq!(events().await.as_array().unwrap().len(), 3);
    sandbox.client.advance(retention::LASTING_SECONDS as u64 - 3600).await;
    retention::sweep(&emulator.app).await.map_err(|error| error.log).unwrap();
    assert_eq!(events().await.as_array().unwrap().len(), 3);
    sandbox.client.advance(7200).await;
    retention::sweep(&emulator.app).await.map_err(|error| error.log).unwrap();
    assert_eq!(events().await, json!([]));
    let outbox = sandbox.client.get("/platform-events/outbox").await.data(200);
    assert_eq!(outbox["max_age_seconds"], retention::LASTING_SECONDS);
}
