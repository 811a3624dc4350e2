//! Keys and tokens: what they may do, until when, and what is told of their secrets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::{Client, Emulator};
use serde_json::{Value, json};

async fn mint(client: &Client, body: Value) -> Value {
    client.post("/api-keys", body).await.data(201)
}

fn secret(key: &Value) -> &str {
    key["key"].as_str().unwrap()
}

#[tokio::test]
async fn a_secret_is_told_once_and_kept_as_a_fingerprint() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    for (key_type, prefix) in [("user", "msk_u_"), ("admin", "msk_a_"), ("platform", "msk_p_")] {
        let key = mint(&client, json!({ "name": key_type, "key_type": key_type })).await;
        assert!(secret(&key).starts_with(prefix), "{key}");
        assert_eq!(key["key"], key["token"]);
        assert_eq!(key["key_prefix"], secret(&key)[..12]);
        assert_eq!(key["last_four"], secret(&key)[secret(&key).len() - 4..]);
        let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
        for shown in [client.get(&path).await, client.get("/api-keys").await] {
            assert!(!String::from_utf8_lossy(&shown.body).contains(secret(&key)));
        }
    }
    let key = mint(&client, json!({ "name": "x" })).await;
    let data = emulator.stop().await;
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        let found = bytes.windows(secret(&key).len()).any(|part| part == secret(&key).as_bytes());
        assert!(!found, "a secret is stored");
    }
}

#[tokio::test]
async fn a_key_works_until_it_expires_and_says_so_then() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let key = mint(&client, json!({ "name": "k", "expires_in_days": 30 })).await;
    let minted = emulator.client(secret(&key));
    let me = minted.get("/whoami").await.data(200);
    assert_eq!(me["auth"]["key"]["id"], key["id"]);
    client.advance(30 * 86_400 - 60).await;
    minted.get("/whoami").await.data(200);
    client.advance(60).await;
    minted.get("/whoami").await.refused(401, "TOKEN_EXPIRED");
    let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.data(200)["status"], "expired");
    for bad in [
        json!({ "name": "k", "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "name": "k", "expires_at": "tomorrow" }),
        json!({ "name": "k", "expires_in_days": 0 }),
        json!({ "name": "k", "expires_in_days": 30, "expires_at": "2101-01-01T00:00:00Z" }),
    ] {
        client.post("/api-keys", bad).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn revoking_and_rotating_take_effect_at_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let key = mint(&client, json!({ "name": "k" })).await;
    let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
    let old = emulator.client(secret(&key));
    old.get("/whoami").await.data(200);
    let rotated = client.post(&format!("{path}/rotate"), json!({})).await.data(200);
    assert_eq!(rotated["id"], key["id"]);
    assert_ne!(secret(&rotated), secret(&key));
    old.get("/whoami").await.refused(401, "TOKEN_REVOKED");
    let new = emulator.client(secret(&rotated));
    new.get("/whoami").await.data(200);
    assert_eq!(client.delete(&path).await.status, 204);
    new.get("/whoami").await.refused(401, "TOKEN_REVOKED");
    old.get("/whoami").await.refused(401, "TOKEN_REVOKED");
    client.get(&path).await.refused(404, "api_key_not_found");
    assert_eq!(client.get("/api-keys").await.json()["page"]["total"], 0);
}

#[tokio::test]
async fn scopes_are_enforced_and_never_widened() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let reader = mint(&client, json!({ "name": "r", "scopes": ["projects:read"] })).await;
    let reader = emulator.client(secret(&reader));
    reader.get("/workspaces").await.data(200);
    let error = reader.post("/workspaces", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    assert!(error["message"].as_str().unwrap().contains("projects:write"));
    let wider = json!({ "name": "w", "scopes": ["projects:read", "projects:write"] });
    let error = reader.post("/api-keys", wider).await.refused(403, "FORBIDDEN");
    assert_eq!(error["invalid_scopes"], json!(["projects:write"]));
    // Without a wish a key holds what its maker holds.
    let inherited = mint(&reader, json!({ "name": "i" })).await;
    assert_eq!(inherited["scopes"], json!(["projects:read"]));
    // A key that may do more cannot be turned into one's own.
    let owner = mint(&client, json!({ "name": "o" })).await;
    let path = format!("/api-keys/{}", owner["id"].as_str().unwrap());
    reader.post(&format!("{path}/rotate"), json!({})).await.refused(403, "FORBIDDEN");
    reader.delete(&path).await.refused(403, "FORBIDDEN");
    emulator.client(secret(&owner)).get("/whoami").await.data(200);
    // A user key makes user keys only.
    let admin = json!({ "name": "a", "key_type": "admin" });
    emulator.client(secret(&owner)).post("/api-keys", admin).await.refused(403, "FORBIDDEN");
    for bad in [json!(["sandbox:read"]), json!([]), json!(["projects"]), json!("projects:read")] {
        let body = json!({ "name": "b", "scopes": bad });
        client.post("/api-keys", body).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn presets_are_listed_and_spelled_out() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let presets = client.get("/api-keys/presets").await.json();
    let names: Vec<_> =
        presets["data"].as_array().unwrap().iter().map(|preset| preset["name"].clone()).collect();
    assert_eq!(names, ["read-only", "ci", "agent", "cli"]);
    let ci = mint(&client, json!({ "name": "ci", "preset": "ci" })).await;
    assert_eq!(ci["scopes"], presets["data"][1]["scopes"]);
}

#[tokio::test]
async fn a_bound_key_sees_and_makes_within_its_workspace_only() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    for name in ["a", "b"] {
        client.post("/workspaces", json!({ "name": name })).await.data(201);
    }
    let key = mint(&client, json!({ "name": "k", "workspace_id": "a" })).await;
    let bound = emulator.client(secret(&key));
    let seen = bound.get("/workspaces").await.json();
    assert_eq!((&seen["page"]["total"], &seen["data"][0]["slug"]), (&json!(1), &json!("a")));
    bound.get("/workspaces/b").await.refused(404, "workspace_not_found");
    bound.post("/workspaces", json!({ "name": "c" })).await.refused(403, "FORBIDDEN");
    bound
        .clone()
        .with("x-miosa-workspace", "b")
        .get("/whoami")
        .await
        .refused(403, "INVALID_TENANT_CONTEXT");
    bound.clone().with("x-miosa-workspace", "a").get("/whoami").await.data(200);
    assert_eq!(mint(&bound, json!({ "name": "child" })).await["workspace_id"], key["workspace_id"]);
    let outside = json!({ "name": "x", "workspace_id": "b" });
    bound.post("/api-keys", outside).await.refused(403, "FORBIDDEN");
    let nowhere = json!({ "name": "x", "workspace_id": "nope" });
    bound.post("/api-keys", nowhere.clone()).await.refused(403, "FORBIDDEN");
    client.post("/api-keys", nowhere).await.refused(422, "WORKSPACE_NOT_FOUND");
    let project = bound.post("/projects", json!({ "name": "p" })).await.data(201);
    assert_eq!(project["workspace_id"], key["workspace_id"]);
}

#[tokio::test]
async fn the_use_of_a_key_is_noted() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let key = mint(&client, json!({ "name": "k" })).await;
    let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.data(200)["last_used_at"], Value::Null);
    emulator.client(secret(&key)).get("/whoami").await.data(200);
    let began = std::time::Instant::now();
    while client.get(&path).await.data(200)["last_used_at"].is_null() {
        assert!(began.elapsed() < harness::BOUND, "its use was never noted");
    }
    let changed =
        client.patch(&path, json!({ "name": "new", "rate_limit_rpm": 10 })).await.data(200);
    assert_eq!((&changed["name"], &changed["rate_limit_rpm"]), (&json!("new"), &json!(10)));
    assert!(changed["last_used_at"].is_string());
}

#[tokio::test]
async fn a_scoped_token_acts_for_one_user_in_one_workspace_for_a_while() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    client.post("/workspaces", json!({ "name": "w" })).await.data(201);
    let body = json!({ "user_id": "u1", "workspace_id": "w", "scopes": ["projects:read"], "expires_in_seconds": 600 });
    let reply = client.post("/tokens/scoped", body.clone()).await;
    let made = reply.data(201);
    assert_eq!(reply.json()["token"], made["token"]);
    assert!(made["token"].as_str().unwrap().starts_with("eyJ"));
    let token = emulator.client(made["token"].as_str().unwrap());
    let me = token.get("/whoami").await.data(200);
    assert_eq!((&me["auth"]["method"], &me["workspace"]["slug"]), (&json!("scoped"), &json!("w")));
    assert_eq!(me["user"]["external_user_id"], "u1");
    assert_eq!(token.get("/workspaces").await.json()["page"]["total"], 1);
    token.patch("/workspaces/w", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    token.post("/api-keys", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    token.post("/tokens/scoped", body.clone()).await.refused(403, "FORBIDDEN");
    client.advance(600).await;
    token.get("/whoami").await.refused(401, "TOKEN_EXPIRED");

    let made = client.post("/tokens/scoped", body).await.data(201);
    let token = emulator.client(made["token"].as_str().unwrap());
    token.get("/whoami").await.data(200);
    assert_eq!(client.get("/tokens/scoped").await.json()["page"]["total"], 2);
    let path = format!("/tokens/scoped/{}", made["id"].as_str().unwrap());
    assert_eq!(client.delete(&path).await.json()["revoked"], true);
    token.get("/whoami").await.refused(401, "TOKEN_REVOKED");
    // A token of one emulator is nothing to another.
    let other = Emulator::start().await;
    other
        .client(made["token"].as_str().unwrap())
        .get("/whoami")
        .await
        .refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn a_token_never_reaches_further_than_its_maker() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let key = mint(
        &client,
        json!({ "name": "k", "scopes": ["sandboxes:write"], "workspace_id": "default" }),
    )
    .await;
    let maker = emulator.client(secret(&key));
    let wider = json!({ "user_id": "u", "workspace_id": "default", "scopes": ["sandboxes:exec", "sandboxes:read"] });
    let error = maker.post("/tokens/scoped", wider).await.refused(403, "FORBIDDEN");
    assert_eq!(error["invalid_scopes"], json!(["sandboxes:read"]));
    let inherited = json!({ "user_id": "u", "workspace_id": "default" });
    let made = maker.post("/tokens/scoped", inherited).await.data(201);
    assert_eq!(made["scopes"], json!(["sandboxes:write"]));
    for bad in [
        json!({ "workspace_id": "default" }),
        json!({ "user_id": "u", "expires_in_seconds": 0 }),
        json!({ "user_id": "u", "expires_in_seconds": 86_401 }),
        json!({ "user_id": "u", "scopes": ["x"] }),
    ] {
        client.post("/tokens/scoped", bad).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn the_account_says_who_is_asking_and_health_asks_nobody() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_live_x");
    let tenant = client.get("/platform/tenants/current").await;
    let me = client.get("/whoami").await.data(200);
    assert_eq!(tenant.data(200)["id"], me["organization"]["id"]);
    assert_eq!(tenant.json()["slug"], "default");
    let health = emulator.anonymous().get("/health").await;
    assert_eq!((health.status, health.json()), (200, json!({ "status": "ok" })));
}
