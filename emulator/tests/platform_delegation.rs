//! Keys that others are given: presets, delegation, service accounts, limits of a key, and the login of a program.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::{Client, Emulator};
use serde_json::{Value, json};

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

async fn mint(client: &Client, body: Value) -> Value {
    client.post("/api-keys", body).await.data(201)
}

fn as_key(emulator: &Emulator, key: &Value) -> Client {
    emulator.client(key["key"].as_str().unwrap())
}

#[tokio::test]
async fn a_saved_preset_stands_beside_the_built_in_ones_and_makes_keys() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "look", "scopes": ["projects:read", "sandboxes:read"], "description": "d" });
    let made = client.post("/api-keys/presets", body.clone()).await.data(201);
    assert_eq!((&made["name"], &made["built_in"]), (&json!("look"), &json!(false)));
    let listed = client.get("/api-keys/presets").await.json();
    let names: Vec<_> =
        listed["presets"].as_array().unwrap().iter().map(|preset| &preset["name"]).collect();
    assert_eq!(names, ["read-only", "ci", "agent", "cli", "look"]);
    let key = mint(&client, json!({ "name": "k", "preset": "look" })).await;
    assert_eq!(key["scopes"], body["scopes"]);
    // Removed presets leave their keys as they are.
    assert_eq!(client.delete("/api-keys/presets/look").await.status, 204);
    client.delete("/api-keys/presets/look").await.refused(404, "NOT_FOUND");
    as_key(&emulator, &key).get("/workspaces").await.data(200);
    let gone = json!({ "name": "k", "preset": "look" });
    client.post("/api-keys", gone).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn built_in_presets_are_reserved_and_a_name_is_saved_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let preset = |name: &str| json!({ "name": name, "scopes": ["projects:read"] });
    client.post("/api-keys/presets", preset("ci")).await.refused(409, "NAME_TAKEN");
    client.delete("/api-keys/presets/ci").await.refused(409, "RESOURCE_STATE");
    client.post("/api-keys/presets", preset("mine")).await.data(201);
    client.post("/api-keys/presets", preset("mine")).await.refused(409, "NAME_TAKEN");
    emulator.client("msk_test_b").post("/api-keys/presets", preset("mine")).await.data(201);
    for bad in [
        json!({ "name": "a b", "scopes": ["projects:read"] }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["nothing"] }),
        json!({ "name": "x" }),
    ] {
        client.post("/api-keys/presets", bad).await.refused(422, "VALIDATION_FAILED");
    }
    let user = mint(&client, json!({ "name": "u" })).await;
    let user = as_key(&emulator, &user);
    user.post("/api-keys/presets", preset("x")).await.refused(403, "FORBIDDEN");
    user.delete("/api-keys/presets/mine").await.refused(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_delegation_key_acts_for_one_user_in_one_workspace_and_makes_no_keys() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    client.post("/workspaces", json!({ "name": "w" })).await.data(201);
    let body = json!({
        "external_user_id": "u1", "scopes": ["projects:read"], "workspace_id": "w", "label": "l",
    });
    let made = client.post("/api-keys/scoped", body.clone()).await.data(201);
    assert_eq!((&made["name"], &made["external_user_id"]), (&json!("l"), &json!("u1")));
    assert_eq!(made["token"], made["key"]);
    let key = as_key(&emulator, &made);
    assert_eq!(key.get("/workspaces").await.json()["page"]["total"], 1);
    assert_eq!(key.get("/whoami").await.data(200)["user"]["external_user_id"], "u1");
    key.post("/api-keys", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    key.post("/api-keys/scoped", body).await.refused(403, "FORBIDDEN");
    key.post("/tokens/scoped", json!({ "user_id": "u2" })).await.refused(403, "FORBIDDEN");
    let read = client.get(&format!("/api-keys/{}", id(&made))).await.data(200);
    assert_eq!(read["end_user"]["external_user_id"], "u1");
    assert_eq!(read["end_user"]["scopes"], json!(["projects:read"]));
    // Without a workspace it is bound to the caller's.
    let plain = json!({ "external_user_id": "u2", "scopes": ["projects:read"] });
    let plain = client.post("/api-keys/scoped", plain).await.data(201);
    assert_eq!(plain["name"], "u2");
    assert!(plain["workspace_id"].is_string());
    for bad in [
        json!({ "scopes": ["projects:read"] }),
        json!({ "external_user_id": "u" }),
        json!({ "external_user_id": "u", "scopes": [] }),
        json!({ "external_user_id": "u", "scopes": ["projects:read"], "label": "a", "name": "b" }),
    ] {
        client.post("/api-keys/scoped", bad).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_key_is_switched_off_and_on_and_narrowed_but_never_widened() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let made = mint(&client, json!({ "name": "k" })).await;
    let (path, key) = (format!("/api-keys/{}", id(&made)), as_key(&emulator, &made));
    key.get("/whoami").await.data(200);
    let off = client.patch(&path, json!({ "status": "inactive" })).await.data(200);
    assert_eq!(off["status"], "inactive");
    key.get("/whoami").await.refused(401, "TOKEN_INACTIVE");
    client.patch(&path, json!({ "status": "active" })).await.data(200);
    key.get("/whoami").await.data(200);
    client.patch(&path, json!({ "scopes": ["projects:read"] })).await.data(200);
    key.post("/workspaces", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    let wider = json!({ "scopes": ["projects:read", "projects:write"] });
    let error = key.patch(&path, wider).await.refused(403, "FORBIDDEN");
    assert_eq!(error["invalid_scopes"], json!(["projects:write"]));
    // What was not named stays.
    let named = client.patch(&path, json!({ "name": "new" })).await.data(200);
    assert_eq!((&named["name"], &named["scopes"]), (&json!("new"), &json!(["projects:read"])));
    client.patch(&path, json!({ "status": "gone" })).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn a_key_passes_as_often_and_from_where_its_record_says() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let slow = mint(&client, json!({ "name": "slow", "rate_limit_rpm": 2 })).await;
    let key = as_key(&emulator, &slow);
    assert_eq!(key.get("/whoami").await.header("x-ratelimit-remaining"), "1");
    key.get("/whoami").await.data(200);
    let refused = key.get("/whoami").await;
    refused.refused(429, "RATE_LIMITED");
    assert_eq!(refused.header("x-ratelimit-limit"), "2");
    client.get("/whoami").await.data(200);
    client.advance(60).await;
    key.get("/whoami").await.data(200);
    let near = mint(&client, json!({ "name": "n", "allowed_ips": ["127.0.0.0/8", "::1"] })).await;
    assert_eq!(near["allowed_ips"], json!(["127.0.0.0/8", "::1"]));
    as_key(&emulator, &near).get("/whoami").await.data(200);
    let far = mint(&client, json!({ "name": "f", "allowed_ips": ["10.1.2.3"] })).await;
    as_key(&emulator, &far).get("/whoami").await.refused(403, "FORBIDDEN");
    let path = format!("/api-keys/{}", id(&far));
    client.patch(&path, json!({ "allowed_ips": [] })).await.data(200);
    as_key(&emulator, &far).get("/whoami").await.data(200);
    for bad in [json!({ "allowed_ips": ["here"] }), json!({ "rate_limit_rpm": 0 })] {
        let mut body = json!({ "name": "b" });
        body.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        client.post("/api-keys", body).await.refused(422, "VALIDATION_FAILED");
    }
}

#[tokio::test]
async fn a_service_account_takes_its_keys_along() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "pipeline", "description": "d" });
    let account = client.post("/service-accounts", body).await.data(201);
    let path = format!("/service-accounts/{}", id(&account));
    let keys = format!("{path}/keys");
    let wanted = json!({ "name": "build", "scopes": ["projects:read"], "expires_in_days": 30 });
    let made = client.post(&keys, wanted).await.data(201);
    assert_eq!(made["service_account_id"], account["id"]);
    let key = as_key(&emulator, &made);
    key.get("/workspaces").await.data(200);
    key.post("/service-accounts", json!({ "name": "x" })).await.refused(403, "FORBIDDEN");
    let listed = client.get("/service-accounts").await.json();
    assert_eq!(listed["service_accounts"][0]["active_key_count"], 1);
    let listed = client.get(&keys).await;
    assert_eq!(listed.json()["data"][0]["id"], made["id"]);
    assert!(!String::from_utf8_lossy(&listed.body).contains(made["key"].as_str().unwrap()));
    let cleared = client.patch(&path, json!({ "description": null })).await.data(200);
    assert_eq!((&cleared["description"], &cleared["name"]), (&Value::Null, &json!("pipeline")));
    emulator.client("msk_test_b").get(&keys).await.refused(404, "service_account_not_found");
    assert_eq!(client.delete(&path).await.status, 204);
    key.get("/whoami").await.refused(401, "TOKEN_REVOKED");
    client.get(&keys).await.refused(404, "service_account_not_found");
}

#[tokio::test]
async fn a_program_logs_in_when_a_person_approves_its_code() {
    let emulator = Emulator::start().await;
    let anyone = emulator.anonymous();
    let began = anyone.post("/auth/cli/start", json!({})).await.json();
    assert_eq!((&began["expires_in"], &began["interval"]), (&json!(600), &json!(1)));
    let complete = began["verification_uri_complete"].as_str().unwrap();
    let origin = format!("http://{}", emulator.address);
    assert_eq!(
        complete,
        format!("{origin}/_emulator/device?user_code={}", began["user_code"].as_str().unwrap())
    );
    let page = anyone.get(complete.strip_prefix(&origin).unwrap()).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let ask = json!({ "device_code": began["device_code"] });
    for _ in 0..30 {
        let pending = anyone.post("/auth/cli/token", ask.clone()).await;
        assert_eq!(
            (pending.status, &pending.json()["error"]),
            (428, &json!("authorization_pending"))
        );
    }
    // Typed in small letters, for an organization of its own.
    let typed = began["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let owner = emulator.client("msk_test_a");
    let decided = owner.post("/_emulator/device", json!({ "user_code": typed })).await.data(200);
    assert_eq!(decided["state"], "approved");
    owner
        .post("/_emulator/device", json!({ "user_code": typed, "approve": false }))
        .await
        .refused(409, "RESOURCE_STATE");
    let got = anyone.post("/auth/cli/token", ask.clone()).await;
    assert_eq!(got.status, 200, "{got:?}");
    let got = got.json();
    assert!(got["api_key"].as_str().unwrap().starts_with("msk_u_"));
    let me = emulator.client(got["api_key"].as_str().unwrap()).get("/whoami").await.data(200);
    assert_eq!(
        me["organization"]["id"],
        owner.get("/whoami").await.data(200)["organization"]["id"]
    );
    assert_eq!(
        (&me["organization"]["id"], &me["auth"]["key"]["id"]),
        (&got["tenant"]["id"], &got["key"]["id"])
    );
    let again = anyone.post("/auth/cli/token", ask).await;
    assert_eq!((again.status, &again.json()["error"]), (409, &json!("already_consumed")));
}

#[tokio::test]
async fn a_login_that_is_denied_expired_or_unknown_gets_no_key() {
    let emulator = Emulator::start().await;
    let anyone = emulator.anonymous();
    let start = async || anyone.post("/auth/cli/start", json!({})).await.json();
    let ask = async |began: &Value| {
        let reply =
            anyone.post("/auth/cli/token", json!({ "device_code": began["device_code"] })).await;
        (reply.status, reply.json()["error"].clone())
    };
    let denied = start().await;
    let no = json!({ "user_code": denied["user_code"], "approve": false });
    anyone.post("/_emulator/device", no).await.data(200);
    assert_eq!(ask(&denied).await, (403, json!("access_denied")));
    let late = start().await;
    anyone.advance(600).await;
    assert_eq!(ask(&late).await, (410, json!("expired_token")));
    let approve = json!({ "user_code": late["user_code"] });
    anyone.post("/_emulator/device", approve).await.refused(404, "NOT_FOUND");
    assert_eq!(ask(&json!({ "device_code": "x" })).await, (400, json!("invalid_grant")));
    anyone.post("/auth/cli/token", json!({})).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn the_trail_of_a_key_says_what_was_done_with_it_and_to_it() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let made = mint(&client, json!({ "name": "k", "scopes": ["projects:write"] })).await;
    let path = format!("/api-keys/{}", id(&made));
    let key = as_key(&emulator, &made);
    key.post("/workspaces", json!({ "name": "w" })).await.data(201);
    client.post("/workspaces", json!({ "name": "elsewhere" })).await.data(201);
    client.patch(&path, json!({ "name": "new" })).await.data(200);
    let trail = client.get(&format!("{path}/events")).await;
    assert!(!String::from_utf8_lossy(&trail.body).contains(made["key"].as_str().unwrap()));
    let trail = trail.json();
    let types: Vec<_> =
        trail["data"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["api_key.update", "workspace.create", "api_key.create"]);
    assert_eq!(trail["data"][1]["actor"]["id"], made["id"]);
    assert_eq!(trail["data"][1]["ip_address"], "127.0.0.1");
    let some = client.get(&format!("{path}/events?type=workspace.*&limit=1")).await.json();
    assert_eq!((&some["total"], &some["data"][0]["type"]), (&json!(1), &json!("workspace.create")));
    emulator
        .client("msk_test_b")
        .get(&format!("{path}/events"))
        .await
        .refused(404, "api_key_not_found");
}
