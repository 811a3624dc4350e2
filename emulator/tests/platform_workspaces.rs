//! Workspaces and projects over HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::Emulator;
use serde_json::{Value, json};

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_workspace_lives_from_create_to_delete() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "Dr. Smith", "description": "d", "metadata": { "plan": "pro" }, "external_user_id": "u" });
    let reply = client.post("/workspaces", body).await;
    let made = reply.data(201);
    assert_eq!(reply.header("location"), format!("/api/v1/workspaces/{}", id(&made)));
    assert_eq!((&made["slug"], &made["metadata"]["plan"]), (&json!("dr-smith"), &json!("pro")));
    for path in [id(&made), "dr-smith"] {
        assert_eq!(client.get(&format!("/workspaces/{path}")).await.data(200), made);
    }
    let change = json!({ "name": "Dr. Jones", "description": null, "metadata": {} });
    let changed = client.patch("/workspaces/dr-smith", change).await.data(200);
    assert_eq!((&changed["name"], &changed["slug"]), (&json!("Dr. Jones"), &json!("dr-smith")));
    assert_eq!((&changed["description"], &changed["metadata"]), (&Value::Null, &json!({})));
    client
        .patch("/workspaces/dr-smith", json!({ "slug": "No Slug" }))
        .await
        .refused(422, "VALIDATION_FAILED");
    let deleted = client.delete("/workspaces/dr-smith").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    client.get("/workspaces/dr-smith").await.refused(404, "workspace_not_found");
    client.delete(&format!("/workspaces/{}", id(&made))).await.refused(404, "workspace_not_found");
}

#[tokio::test]
async fn a_taken_name_is_409_with_the_existing_workspace_and_a_known_external_id_is_reused() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "Clinic", "external_workspace_id": "c1" });
    let made = client.post("/workspaces", body.clone()).await.data(201);
    let again = client.post("/workspaces", body).await;
    assert_eq!((again.data(200), &again.json()["reused"]), (made.clone(), &json!(true)));
    assert_eq!(again.json()["data"].get("reused"), None);
    for body in [json!({ "name": "Clinic" }), json!({ "name": "Other", "slug": "clinic" })] {
        let error = client.post("/workspaces", body).await.refused(409, "WORKSPACE_NAME_EXISTS");
        assert_eq!(error["existing"], made);
        assert_eq!(error["details"]["existing"], made);
    }
    let twin = json!({ "name": "Clinic", "allow_duplicate_name": true });
    assert_eq!(client.post("/workspaces", twin).await.data(201)["slug"], "clinic-2");
    let near = client.post("/workspaces", json!({ "name": "clinic!" })).await.data(201);
    assert_eq!(near["slug"], "clinic-3");
    let rename = client.patch("/workspaces/clinic-3", json!({ "name": "Clinic" })).await;
    rename.refused(409, "WORKSPACE_NAME_EXISTS");
    let rename =
        client.patch("/workspaces/clinic-3", json!({ "external_workspace_id": "c1" })).await;
    rename.refused(409, "NAME_TAKEN");
}

#[tokio::test]
async fn many_creates_of_one_name_at_once_make_one() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let racing = (0..12).map(|_| client.post("/workspaces", json!({ "name": "Race" })));
    let statuses: Vec<u16> =
        futures_util::future::join_all(racing).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 11, "{statuses:?}");
}

#[tokio::test]
async fn bad_bodies_are_422_and_name_the_field() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": 3 }), "name"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "  " }), "name"),
        (json!({ "name": "x".repeat(256) }), "name"),
        (json!({ "name": "x", "slug": "A" }), "slug"),
        (json!({ "name": "x", "metadata": [] }), "metadata"),
    ] {
        let error =
            client.post("/workspaces", body.clone()).await.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn the_default_workspace_stays_and_a_dry_run_removes_nothing() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    client.delete("/workspaces/default").await.refused(409, "RESOURCE_STATE");
    client.delete("/workspaces/default?force=true").await.refused(409, "RESOURCE_STATE");
    client.post("/workspaces", json!({ "name": "Gone" })).await.data(201);
    client.post("/projects", json!({ "name": "P", "workspace_slug": "gone" })).await.data(201);
    let key =
        client.post("/api-keys", json!({ "name": "k", "workspace_id": "gone" })).await.data(201);
    let dry = client.delete("/workspaces/gone?dry_run=true").await.data(200);
    assert_eq!(dry["would_delete"]["projects"], 1);
    assert_eq!((&dry["would_delete"]["api_keys"], &dry["blocked"]), (&json!(1), &json!(false)));
    client.get("/workspaces/gone").await.data(200);
    client.delete("/workspaces/gone?dry_run=maybe").await.refused(400, "INVALID_PARAMETER");
    let bound = emulator.client(key["key"].as_str().unwrap());
    assert_eq!(bound.get("/workspaces").await.json()["page"]["total"], 1);
    assert_eq!(client.delete("/workspaces/gone?force=true").await.status, 204);
    assert_eq!(client.get("/projects").await.json()["page"]["total"], 1);
    bound.get("/workspaces").await.refused(401, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_project_needs_a_workspace_that_is_there() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    client.post("/projects", json!({ "name": "P" })).await.refused(422, "VALIDATION_FAILED");
    let body = json!({ "name": "P", "workspace_slug": "nope" });
    client.post("/projects", body).await.refused(422, "WORKSPACE_NOT_FOUND");
    let workspace = client.post("/workspaces", json!({ "name": "W" })).await.data(201);
    let body = json!({ "name": "Lead Magnet", "workspace_id": id(&workspace), "external_project_id": "p1", "settings": { "a": 1 } });
    let made = client.post("/projects", body.clone()).await.data(201);
    assert_eq!((&made["slug"], &made["workspace_id"]), (&json!("lead-magnet"), &workspace["id"]));
    let again = client.post("/projects", body).await;
    assert_eq!((again.data(200), &again.json()["reused"]), (made.clone(), &json!(true)));
    let taken = json!({ "name": "x", "slug": "lead-magnet", "workspace_slug": "w" });
    client.post("/projects", taken).await.refused(409, "NAME_TAKEN");
    let elsewhere = json!({ "name": "x", "slug": "lead-magnet", "workspace_slug": "default" });
    client.post("/projects", elsewhere).await.data(201);
    let by_external = json!({ "name": "x", "external_workspace_id": "new-customer" });
    client.post("/projects", by_external).await.data(201);
    let chosen = client.clone().with("x-miosa-workspace", "w");
    let chosen = chosen.post("/projects", json!({ "name": "By header" })).await.data(201);
    assert_eq!(chosen["workspace_id"], workspace["id"]);
    let listed = client.get("/projects?workspace_id=w").await.json();
    assert_eq!((&listed["total"], &listed["page"]["total"]), (&json!(2), &json!(2)));
    assert_eq!(client.get("/workspaces/w/projects").await.json()["data"], listed["data"]);
    assert_eq!(client.get("/projects?workspace_id=nope").await.json()["page"]["total"], 0);
    let path = format!("/projects/{}", id(&made));
    let changed = client.patch(&path, json!({ "name": "New", "settings": {} })).await.data(200);
    assert_eq!((&changed["name"], &changed["settings"]), (&json!("New"), &json!({})));
    assert_eq!(client.get(&path).await.data(200), changed);
    let twin = client.patch(&path, json!({ "slug": "by-header" })).await;
    twin.refused(409, "NAME_TAKEN");
    emulator.client("msk_test_b").get(&path).await.refused(404, "project_not_found");
    assert_eq!(client.delete(&path).await.status, 204);
    client.get(&path).await.refused(404, "project_not_found");
    let default = client.get("/projects?workspace_id=default&search=default").await.json();
    let default = format!("/projects/{}", id(&default["data"][0]));
    client.delete(&default).await.refused(409, "RESOURCE_STATE");
}

#[tokio::test]
async fn workspaces_and_projects_look_like_this() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let redacted = |mut value: Value| {
        for field in ["id", "tenant_id", "workspace_id", "created_at", "updated_at"] {
            if value.get(field).is_some_and(Value::is_string) {
                value[field] = format!("[{field}]").into();
            }
        }
        value
    };
    let workspace =
        client.post("/workspaces", json!({ "name": "Clinic", "external_workspace_id": "c" })).await;
    insta::assert_json_snapshot!("workspace", redacted(workspace.data(201)));
    let project =
        client.post("/projects", json!({ "name": "Site", "workspace_slug": "clinic" })).await;
    insta::assert_json_snapshot!("project", redacted(project.data(201)));
    let mut error = client.post("/workspaces", json!({ "name": "" })).await.json();
    error["request_id"] = "[request_id]".into();
    error["error"]["request_id"] = "[request_id]".into();
    insta::assert_json_snapshot!("validation_error", error);
}
