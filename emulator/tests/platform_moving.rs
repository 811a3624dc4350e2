//! What is in a workspace: seen as a whole, moved to another, and cleaned up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use harness::Client;
use serde_json::{Value, json};

const KEY: &str = "msk_test_moving";

async fn sandbox(client: &Client, body: Value) -> Value {
    let mut whole = json!({ "template_id": "blank" });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    client.post("/sandboxes", whole).await.data(201)
}

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_project_moves_with_everything_in_it_where_there_is_room() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let body = json!({ "name": "There", "external_workspace_id": "ext" });
    let there = client.post("/workspaces", body).await.data(201);
    let made = sandbox(&client, json!({ "workspace_slug": "here", "project_slug": "site" })).await;
    let path = format!("/sandboxes/{}", id(&made));
    let snapshot = client.post(&format!("{path}/snapshots"), json!({})).await.data(201);
    let preview = client.post(&format!("{path}/previews"), json!({ "port": 3000 })).await.data(201);
    let project = format!("/projects/{}", made["project_id"].as_str().unwrap());
    client
        .put(&format!("{project}/shared-variables"), json!({ "variables": { "A": "1" } }))
        .await
        .data(200);
    let to = json!({ "target_workspace_id": id(&there) });
    let full = json!({ "max_sandboxes": 0 });
    client.put("/workspaces/there/settings", full).await.data(200);
    let refused = client.post(&format!("{project}/move"), to.clone()).await;
    refused.refused(422, "PLAN_CAP_EXCEEDED");
    client.put("/workspaces/there/settings", json!({})).await.data(200);
    let moved = client.post(&format!("{project}/move"), to).await.data(200);
    assert_eq!(
        (&moved["workspace_id"], &moved["external_workspace_id"]),
        (&there["id"], &json!("ext"))
    );
    let after = client.get(&path).await.data(200);
    assert_eq!((&after["workspace_id"], &after["project_id"]), (&there["id"], &made["project_id"]));
    assert_eq!(
        (&after["external_workspace_id"], &after["state"]),
        (&json!("ext"), &json!("running"))
    );
    let kept = client.get(&format!("{path}/snapshots/{}", id(&snapshot))).await.data(200);
    assert_eq!(kept["workspace_id"], there["id"]);
    client.get(&format!("{path}/previews/{}", id(&preview))).await.data(200);
    for (workspace, n) in [("here", 0), ("there", 1)] {
        let stats = client.get(&format!("/workspaces/{workspace}/stats")).await.data(200);
        for what in ["sandboxes", "snapshots"] {
            assert_eq!(stats[what]["total"], n, "{workspace} {what}");
        }
        assert_eq!(
            (&stats["previews"], &stats["environments"]),
            (&json!(n), &json!(n)),
            "{workspace}"
        );
        let listed = client.get(&format!("/workspaces/{workspace}/sandboxes")).await.json();
        assert_eq!(
            (&listed["total"], listed["sandboxes"].as_array().unwrap().len()),
            (&json!(n), n)
        );
    }
    // It still works there.
    let ran =
        client.post(&format!("{path}/exec"), json!({ "command": "echo moved" })).await.data(200);
    assert_eq!(ran["stdout"], "moved\n");
    client
        .post(&format!("{project}/move"), json!({ "target_workspace_id": "nope" }))
        .await
        .refused(422, "WORKSPACE_NOT_FOUND");
    let default = client.get("/projects?search=default").await.json();
    let default = format!("/projects/{}/move", id(&default["data"][0]));
    client
        .post(&default, json!({ "target_workspace_id": id(&there) }))
        .await
        .refused(409, "RESOURCE_STATE");
}

#[tokio::test]
async fn a_transfer_takes_all_or_none() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    client.post("/workspaces", json!({ "name": "There" })).await.data(201);
    let one = sandbox(&client, json!({})).await;
    let two = sandbox(&client, json!({})).await;
    client.post(&format!("/sandboxes/{}/snapshots", id(&one)), json!({})).await.data(201);
    client.put("/workspaces/there/settings", json!({ "max_sandboxes": 1 })).await.data(200);
    let both = json!({ "resource_ids": [id(&one), id(&two)], "target_workspace_id": "there" });
    client
        .post("/workspaces/default/transfer", both.clone())
        .await
        .refused(422, "PLAN_CAP_EXCEEDED");
    assert_eq!(client.get("/workspaces/there/stats").await.data(200)["sandboxes"]["total"], 0);
    let foreign = json!({ "resource_ids": [id(&one), "nope"], "target_workspace_id": "there" });
    client.post("/workspaces/default/transfer", foreign).await.refused(422, "VALIDATION_FAILED");
    client.put("/workspaces/there/settings", json!({ "max_sandboxes": 2 })).await.data(200);
    let moved = client.post("/workspaces/default/transfer", both.clone()).await.data(200);
    assert_eq!(
        (&moved["transferred"], moved["resources"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    let stats = client.get("/workspaces/there/stats").await.data(200);
    assert_eq!(
        (&stats["sandboxes"]["by_state"], &stats["snapshots"]["total"]),
        (&json!({ "running": 2 }), &json!(1))
    );
    let after = client.get(&format!("/sandboxes/{}", id(&one))).await.data(200);
    let project = client.get(&format!("/projects/{}", after["project_id"].as_str().unwrap())).await;
    assert_eq!(project.data(200)["workspace_id"], after["workspace_id"]);
    // They are not there any more.
    client.post("/workspaces/default/transfer", both).await.refused(422, "VALIDATION_FAILED");
    for ids in [json!([]), json!(vec![id(&one); 101])] {
        let body = json!({ "resource_ids": ids, "target_workspace_id": "default" });
        client.post("/workspaces/there/transfer", body).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_cleanup_without_force_removes_nothing_and_with_it_what_passes() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let old = sandbox(&client, json!({ "name": "tmp-old", "tags": ["ci", "run=7"] })).await;
    client.advance(3000).await;
    let new = sandbox(&client, json!({ "name": "tmp-new", "tags": ["ci"] })).await;
    let kept = sandbox(&client, json!({ "name": "keep" })).await;
    let found = async |body: Value| {
        let answer = client.post("/workspaces/default/cleanup", body).await.data(200);
        let mut names: Vec<String> = answer["matched"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        assert_eq!((&answer["dry_run"], &answer["deleted"]), (&json!(true), &json!([])));
        names
    };
    assert_eq!(found(json!({})).await, ["keep", "tmp-new", "tmp-old"]);
    assert_eq!(
        found(json!({ "name_prefix": "tmp-", "force": true, "dry_run": true })).await,
        ["tmp-new", "tmp-old"]
    );
    assert_eq!(
        found(json!({ "older_than": "30m", "resource_type": "sandboxes" })).await,
        ["tmp-old"]
    );
    assert_eq!(found(json!({ "tag": "run=7" })).await, ["tmp-old"]);
    assert_eq!(found(json!({ "tag": "run" })).await, ["tmp-old"]);
    assert_eq!(found(json!({ "state": "paused" })).await, Vec::<String>::new());
    assert_eq!(found(json!({ "resource_type": "databases" })).await, Vec::<String>::new());
    for body in [
        json!({ "resource_type": "rockets" }),
        json!({ "older_than": "soon" }),
        json!({ "limit": 0 }),
    ] {
        client.post("/workspaces/default/cleanup", body).await.refused(422, "VALIDATION_FAILED");
    }
    let body = json!({ "name_prefix": "tmp-", "force": true });
    let gone = client.post("/workspaces/default/cleanup", body).await.data(200);
    assert_eq!((&gone["deleted_count"], &gone["failed"]), (&json!(2), &json!([])));
    for sandbox in [&old, &new] {
        client.get(&format!("/sandboxes/{}", id(sandbox))).await.refused(404, "sandbox_not_found");
    }
    client.get(&format!("/sandboxes/{}", id(&kept))).await.data(200);
}

#[tokio::test]
async fn a_workspace_is_seen_as_a_whole_and_nothing_is_made_up() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let made = sandbox(&client, json!({ "name": "one" })).await;
    let path = format!("/sandboxes/{}", id(&made));
    client.advance(100).await;
    client.post(&format!("{path}/pause"), json!({})).await.data(200);
    client.advance(1000).await;
    let usage = client.get("/workspaces/default/usage").await.data(200);
    let seconds = usage["sandbox_seconds"].as_i64().unwrap();
    assert!((100..160).contains(&seconds), "{usage}");
    assert_eq!((&usage["sandboxes_created"], &usage["credit_cents"]), (&json!(1), &Value::Null));
    // What is gone has run all the same.
    assert!(matches!(client.delete(&path).await.status, 200 | 204));
    let later = client.get("/workspaces/default/usage?period=7d").await.data(200);
    assert_eq!(later["sandbox_seconds"], usage["sandbox_seconds"]);
    let past = "start=2020-01-01T00:00:00Z&end=2020-02-01T00:00:00Z";
    let before = client.get(&format!("/workspaces/default/usage?{past}")).await.data(200);
    assert_eq!((&before["sandbox_seconds"], &before["sandboxes_created"]), (&json!(0), &json!(0)));
    client.get("/workspaces/default/usage?period=soon").await.refused(400, "INVALID_PARAMETER");
    let activity = client.get("/workspaces/default/activity").await.json();
    let types: Vec<&str> = activity["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(types[..3], ["sandbox.destroyed", "sandbox.paused", "sandbox.ready"]);
    assert_eq!(types.last(), Some(&"sandbox.created"));
    assert_eq!(
        (&activity["total"], &activity["page"]["total"]),
        (&json!(types.len()), &json!(types.len()))
    );
    let part = client.get("/workspaces/default/activity?limit=3").await.json();
    let cursor = part["next_cursor"].as_str().unwrap();
    let rest =
        client.get(&format!("/workspaces/default/activity?limit=3&cursor={cursor}")).await.json();
    assert_eq!((&rest["data"][0], &rest["next_cursor"]), (&activity["data"][3], &Value::Null));
    let second = client.get("/workspaces/default/activity?page=2&page_size=3").await.json();
    assert_eq!(second["data"], rest["data"]);
    let inventory = client.get("/workspaces/default/inventory").await.data(200);
    assert_eq!(
        (&inventory["totals"]["sandboxes"], &inventory["totals"]["projects"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(inventory["resources"]["projects"][0]["type"], "project");
    // Nothing makes a computer here, and no client is told otherwise.
    let computers = client.get("/workspaces/default/computers").await.json();
    assert_eq!(
        (&computers["computers"], &computers["data"], &computers["meta"]["total"]),
        (&json!([]), &json!([]), &json!(0))
    );
}
