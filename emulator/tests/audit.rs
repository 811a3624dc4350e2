//! The audit log: what was asked for, by whom, from where, and how it ended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use harness::{Client, Emulator};
use hosted::{KEY, Sandbox};
use serde_json::{Value, json};

async fn log(client: &Client, query: &str) -> Vec<Value> {
    client.get(&format!("/audit-log?{query}")).await.data(200).as_array().unwrap().clone()
}

#[tokio::test]
async fn every_change_is_in_the_log_with_who_where_and_how_it_ended() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let made =
        client.post("/workspaces", json!({ "name": "Acme", "description": "hunter2" })).await;
    let id = made.data(201)["id"].as_str().unwrap().to_owned();
    client
        .patch(&format!("/workspaces/{id}"), json!({ "name": "" }))
        .await
        .refused(422, "VALIDATION_FAILED");
    client.delete(&format!("/workspaces/{id}")).await;
    let deeds = log(&client, "").await;
    let told: Vec<_> = deeds
        .iter()
        .map(|deed| (deed["type"].as_str().unwrap(), deed["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("workspace.delete", "success"),
            ("workspace.update", "failure"),
            ("workspace.create", "success")
        ]
    );
    for deed in &deeds {
        assert_eq!(deed["resource"], json!({ "type": "workspace", "id": id }), "{deed}");
        assert_eq!(deed["workspace_id"], id.as_str());
        assert_eq!(deed["ip_address"], "127.0.0.1");
        assert_eq!(deed["actor"]["type"], "api_key");
        assert!(deed["actor"]["id"].is_string() && deed["ts"].is_string());
    }
    assert_eq!(deeds[2]["metadata"]["request_id"], made.header("x-request-id"));
    assert_eq!(deeds[1]["metadata"]["code"], "VALIDATION_FAILED");
    // Neither what was sent nor the credential.
    let text = String::from_utf8(client.get("/audit-log").await.body.to_vec()).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(KEY), "{text}");
    // Reading is no deed; another organization sees nothing.
    assert_eq!(log(&client, "").await.len(), 3);
    assert!(log(&emulator.client("msk_test_other"), "").await.is_empty());
}

#[tokio::test]
async fn what_a_transaction_does_not_end_in_is_recorded_too() {
    let emulator = hosted::start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("true").await;
    sandbox.write("/workspace/a.txt", "a").await;
    let deeds = log(&sandbox.client, &format!("resource_id={}", sandbox.id)).await;
    let types: Vec<_> = deeds.iter().map(|deed| deed["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["sandbox.fs.write", "sandbox.exec", "sandbox.create"]);
    assert_eq!(deeds[0]["resource_type"], "sandbox");
}

#[tokio::test]
async fn a_replay_and_a_stranger_leave_nothing_and_a_denied_key_does() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let once = client.clone().with("idempotency-key", "once");
    for _ in 0..3 {
        once.post("/workspaces", json!({ "name": "Acme" })).await.data(201);
    }
    emulator
        .anonymous()
        .post("/workspaces", json!({ "name": "x" }))
        .await
        .refused(401, "MISSING_TOKEN");
    let body = json!({ "name": "reader", "scopes": ["read-only"] });
    let key = client.post("/api-keys", body).await.data(201);
    let reader = emulator.client(key["key"].as_str().unwrap());
    reader.post("/workspaces", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    let deeds = log(&reader, "").await;
    let told: Vec<_> = deeds.iter().map(|deed| (&deed["type"], &deed["status"])).collect();
    assert_eq!(
        told,
        [
            (&json!("workspace.create"), &json!("denied")),
            (&json!("api_key.create"), &json!("success")),
            (&json!("workspace.create"), &json!("success")),
        ]
    );
    assert_eq!(deeds[0]["actor"]["id"], key["id"]);
    // Without what was refused.
    assert_eq!(client.get("/activity").await.data(200).as_array().unwrap().len(), 2);
    let body = json!({ "name": "narrow", "scopes": ["sandboxes:read"] });
    let key = client.post("/api-keys", body).await.data(201)["key"].clone();
    emulator.client(key.as_str().unwrap()).get("/audit-log").await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn the_log_is_filtered_and_read_in_parts() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let mut ids = Vec::new();
    for n in 0..5 {
        let made = client.post("/workspaces", json!({ "name": format!("w{n}") })).await.data(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    client.delete(&format!("/workspaces/{}", ids[4])).await;
    let actor = log(&client, "").await[0]["actor"]["id"].as_str().unwrap().to_owned();
    for (query, many) in [
        ("type=workspace.create", 5),
        ("type=workspace.*", 6),
        ("action=workspace.delete", 1),
        ("type=sandbox.*", 0),
        ("resource_type=workspace", 6),
        ("resource=sandbox", 0),
        (&format!("resource_id={}", ids[4]), 2),
        (&format!("workspace_id={}", ids[0]), 1),
        (&format!("actor_id={actor}"), 6),
        ("actor_id=nobody", 0),
        ("since=2100-01-01T00:00:00Z", 0),
        ("after=2000-01-01T00:00:00Z", 6),
        ("before=2000-01-01T00:00:00Z", 0),
        ("until=2100-01-01T00:00:00Z", 6),
    ] {
        assert_eq!(log(&client, query).await.len(), many, "{query}");
    }
    let first = client.get("/audit-log?limit=4").await.json();
    assert_eq!((&first["page"]["total"], first["data"].as_array().unwrap().len()), (&json!(6), 4));
    let rest = log(&client, &format!("after={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(rest.len(), 2);
    assert_eq!(log(&client, "page=2&per_page=4").await, rest);
    // A last part that is full is the last all the same.
    let last = client.get("/audit-log?page=2&page_size=3").await.json();
    assert_eq!((last["data"].as_array().unwrap().len(), &last["next_cursor"]), (3, &Value::Null));
    client.get("/audit-log?since=yesterday").await.refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_key_that_is_bound_to_a_workspace_sees_its_deeds_alone() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let here = client.post("/workspaces", json!({ "name": "here" })).await.data(201)["id"].clone();
    client.post("/workspaces", json!({ "name": "there" })).await.data(201);
    let body = json!({ "name": "bound", "workspace_id": here });
    let key = client.post("/api-keys", body).await.data(201)["key"].clone();
    let bound = emulator.client(key.as_str().unwrap());
    let deeds = log(&bound, "").await;
    assert!(deeds.iter().all(|deed| deed["workspace_id"] == here), "{deeds:?}");
    assert!(!deeds.is_empty());
    let there = log(&client, "type=workspace.create").await[0]["workspace_id"].clone();
    assert_ne!(there, here);
    assert!(log(&bound, &format!("workspace_id={}", there.as_str().unwrap())).await.is_empty());
}

#[tokio::test]
async fn the_go_sdk_reads_a_resource_as_text_and_everybody_else_as_an_object() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let id = client.post("/workspaces", json!({ "name": "Acme" })).await.data(201)["id"].clone();
    let go = client.clone().with("user-agent", "miosa-go/2.0.2");
    let item = log(&go, "").await[0].clone();
    for field in [
        "id",
        "tenant_id",
        "actor_id",
        "actor_type",
        "action",
        "resource",
        "resource_id",
        "ip_address",
        "created_at",
    ] {
        assert!(item[field].is_string(), "{field}: {item}");
    }
    assert_eq!(item["resource_id"], id);
    for agent in ["miosa-go/0.2.0", "Go-http-client/1.1", "miosa-python/2.19.2"] {
        let other = client.clone().with("user-agent", agent);
        assert_eq!(log(&other, "").await[0]["resource"]["id"], id, "{agent}");
    }
}
