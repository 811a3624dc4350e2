//! Limits over HTTP: settings, policies and quotas refuse what would break them, to the last piece.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use futures_util::future::join_all;
use harness::{Client, Reply};
use serde_json::{Value, json};

/// A key with an organization of its own.
const KEY: &str = "msk_test_limits";

async fn create(client: &Client, body: Value) -> Reply {
    let mut whole = json!({ "template_id": "blank" });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    client.post("/sandboxes", whole).await
}

fn id(reply: &Reply) -> String {
    reply.data(201)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn twenty_creates_at_once_against_a_limit_of_five_make_exactly_five() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    client.put("/quotas/external/alice", json!({ "max_sandboxes": 5 })).await.data(200);
    let racing = (0..20).map(|_| create(&client, json!({ "external_user_id": "alice" })));
    let replies = join_all(racing).await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 5, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        let error = reply.refused(422, "PLAN_CAP_EXCEEDED");
        assert_eq!(
            (&error["details"]["limit"], &error["details"]["value"]),
            (&json!("max_sandboxes"), &json!(5))
        );
        assert_eq!(error["details"]["whose"], json!({ "type": "external_user", "id": "alice" }));
        assert_eq!(error["details"]["source"], "user");
    }
    let quota = client.get("/quotas/external/alice").await.data(200);
    assert_eq!(quota["usage"]["total_sandboxes"], 5);
    // Others are not bounded by it.
    id(&create(&client, json!({ "external_user_id": "bob" })).await);
    id(&create(&client, json!({})).await);
    assert_eq!(client.delete("/quotas/external/alice").await.status, 204);
    id(&create(&client, json!({ "external_user_id": "alice" })).await);
}

#[tokio::test]
async fn a_pause_makes_room_for_one_that_runs_and_a_resume_takes_it() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let limits = json!({ "max_concurrent": 1 });
    client.put("/workspaces/default/settings", limits).await.data(200);
    let first = format!("/sandboxes/{}", id(&create(&client, json!({})).await));
    let refused = create(&client, json!({})).await;
    let error = refused.refused(429, "MEMBER_LIMIT_REACHED");
    assert_eq!(
        (&error["details"]["source"], &error["retryable"]),
        (&json!("settings"), &json!(true))
    );
    assert_eq!(refused.header("retry-after"), "1");
    let blocked = client.get("/limits").await.data(200);
    assert_eq!(
        (&blocked["can_start"], &blocked["blocked_reasons"]),
        (&json!(false), &json!(["concurrency_limit_reached"]))
    );
    assert_eq!(blocked["concurrency"], json!({ "limit": 1, "running": 1, "remaining": 0 }));
    client.post(&format!("{first}/pause"), json!({})).await.data(200);
    let second = format!("/sandboxes/{}", id(&create(&client, json!({})).await));
    client.post(&format!("{first}/resume"), json!({})).await.refused(429, "MEMBER_LIMIT_REACHED");
    assert_eq!(client.get(&first).await.data(200)["state"], "paused");
    // A command would wake it.
    let woken = client.post(&format!("{first}/exec"), json!({ "command": "true" })).await;
    woken.refused(429, "MEMBER_LIMIT_REACHED");
    client.post(&format!("{second}/pause"), json!({})).await.data(200);
    client.post(&format!("{first}/resume"), json!({})).await.data(200);
    let forked = client.post(&format!("{first}/fork"), json!({})).await;
    forked.refused(429, "MEMBER_LIMIT_REACHED");
}

#[tokio::test]
async fn many_resumes_at_once_never_exceed_what_may_run() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let mut paused = Vec::new();
    for _ in 0..6 {
        let path = format!("/sandboxes/{}", id(&create(&client, json!({})).await));
        client.post(&format!("{path}/pause"), json!({})).await.data(200);
        paused.push(path);
    }
    client.put("/tenant/policy", json!({ "quotas": { "max_concurrent": 2 } })).await;
    let racing =
        paused.iter().map(async |path| client.post(&format!("{path}/resume"), json!({})).await);
    let statuses: Vec<u16> = join_all(racing).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 4, "{statuses:?}");
    let running = client.get("/sandboxes?state=running").await.json();
    assert_eq!(running["total"], 2);
}

#[tokio::test]
async fn the_nearest_policy_decides_and_settings_hold_for_all() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    client.put("/tenant/policy", json!({ "quotas": { "max_sandboxes": 1 } })).await;
    id(&create(&client, json!({})).await);
    let error = create(&client, json!({})).await.refused(422, "PLAN_CAP_EXCEEDED");
    assert_eq!(
        (&error["details"]["source"], &error["details"]["whose"]["type"]),
        (&json!("tenant"), &json!("tenant"))
    );
    // The workspace says otherwise of itself, and the user of themselves.
    client
        .put("/workspaces/default/policy", json!({ "quotas": { "max_sandboxes": 2 } }))
        .await
        .data(200);
    id(&create(&client, json!({})).await);
    let error = create(&client, json!({})).await.refused(422, "PLAN_CAP_EXCEEDED");
    assert_eq!(error["details"]["source"], "workspace");
    client
        .put("/external-users/vip/policy", json!({ "quotas": { "max_sandboxes": 9 } }))
        .await
        .data(200);
    id(&create(&client, json!({ "external_user_id": "vip" })).await);
    // Nobody lifts what the settings say.
    client.put("/workspaces/default/settings", json!({ "max_sandboxes": 3 })).await.data(200);
    let error = create(&client, json!({ "external_user_id": "vip" }))
        .await
        .refused(422, "PLAN_CAP_EXCEEDED");
    assert_eq!(error["details"]["source"], "settings");
}

#[tokio::test]
async fn what_a_policy_switches_off_is_403_and_says_which() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let sandbox =
        format!("/sandboxes/{}", id(&create(&client, json!({ "external_user_id": "u" })).await));
    let off = json!({
        "permissions": { "can_create_sandbox": false },
        "features": { "snapshot_enabled": false, "port_forwarding_enabled": false },
    });
    client.put("/external-users/u/policy", off).await.data(200);
    for (path, body, field) in [
        (
            "/sandboxes".to_owned(),
            json!({ "external_user_id": "u" }),
            "permissions.can_create_sandbox",
        ),
        (format!("{sandbox}/fork"), json!({}), "permissions.can_create_sandbox"),
        (format!("{sandbox}/snapshots"), json!({}), "features.snapshot_enabled"),
        (
            format!("{sandbox}/previews"),
            json!({ "port": 3000 }),
            "features.port_forwarding_enabled",
        ),
        (format!("{sandbox}/expose"), json!({}), "features.port_forwarding_enabled"),
    ] {
        let error = client.post(&path, body).await.refused(403, "FORBIDDEN");
        assert_eq!(
            (&error["details"]["policy"], &error["details"]["source"]),
            (&json!(field), &json!("user")),
            "{path}"
        );
    }
    assert_eq!(client.get(&sandbox).await.data(200)["state"], "running");
    assert_eq!(client.delete("/external-users/u/policy").await.status, 204);
    client.post(&format!("{sandbox}/snapshots"), json!({})).await.data(201);
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_is_not_kept_and_its_sandbox_goes_on() {
    let emulator = hosted::start().await;
    let client = emulator.client(KEY);
    let sandbox =
        format!("/sandboxes/{}", id(&create(&client, json!({ "external_user_id": "u" })).await));
    client.put("/quotas/external/u", json!({ "max_storage_gb": 0 })).await.data(200);
    let refused = client.post(&format!("{sandbox}/snapshots"), json!({})).await;
    let error = refused.refused(422, "PLAN_CAP_EXCEEDED");
    assert_eq!(error["details"]["limit"], "max_storage_gb");
    assert_eq!(client.get(&sandbox).await.data(200)["state"], "running");
    client.put("/quotas/external/u", json!({ "max_storage_gb": 1 })).await.data(200);
    client.post(&format!("{sandbox}/snapshots"), json!({})).await.data(201);
    let quota = client.get("/quotas/external/u").await.data(200);
    assert!(quota["usage"]["storage_bytes"].as_u64().is_some(), "{quota}");
}

#[tokio::test]
async fn policies_and_quotas_are_one_truth_in_every_clients_shape() {
    let emulator = harness::Emulator::start().await;
    let client = emulator.client(KEY);
    let quota = client
        .put("/quotas/external/dr-smith", json!({ "max_sandboxes": 5, "max_credit_cents": 1000 }))
        .await;
    let quota = quota.data(200);
    // miosa-go 2.0 reads `limits`, older clients the flat fields; null is none.
    assert_eq!(
        quota["limits"],
        json!({ "max_sandboxes": 5, "max_concurrent": null, "max_storage_gb": null, "max_credit_cents": 1000 })
    );
    assert_eq!((&quota["max_sandboxes"], &quota["current_sandboxes"]), (&json!(5), &json!(0)));
    assert_eq!(
        quota["usage"],
        json!({ "sandboxes": 0, "total_sandboxes": 0, "concurrent": 0, "storage_bytes": 0, "credit_cents": null })
    );
    assert_eq!(quota["enforcement"]["max_credit_cents"], "not_metered");
    let policy = client.get("/external-users/dr-smith/policy").await;
    assert_eq!(policy.data(200)["quotas"], json!({ "max_sandboxes": 5, "max_credit_cents": 1000 }));
    assert_eq!(policy.json()["quotas"], policy.json()["data"]["quotas"]);
    client
        .put("/workspaces/default/policy", json!({ "quotas": { "max_concurrent": 3 } }))
        .await
        .data(200);
    let tenant =
        client.put("/tenant/policy", json!({ "billing": { "enforce_credit_limit": true } })).await;
    // The organization's policy has no envelope.
    assert_eq!((tenant.status, tenant.json().get("data")), (200, None));
    assert_eq!(tenant.json()["billing"], json!({ "enforce_credit_limit": true }));
    let effective = |reply: Reply| reply.data(200);
    let without = effective(client.get("/external-users/dr-smith/effective-policy").await);
    assert_eq!(without["quotas"]["max_concurrent"], json!({ "value": null, "source": "platform" }));
    let path = "/external-users/dr-smith/effective-policy?workspace_id=default";
    let with = effective(client.get(path).await);
    // miosa-python 2.19 reads each field, miosa-go 2.0 each section.
    assert_eq!(with["quotas"]["max_concurrent"], json!({ "value": 3, "source": "workspace" }));
    assert_eq!(with["quotas"]["max_sandboxes"], json!({ "value": 5, "source": "user" }));
    assert_eq!(with["quotas"]["value"]["max_concurrent"], 3);
    assert_eq!(with["quotas"]["source"], "user");
    assert_eq!(
        (&with["billing"]["source"], &with["permissions"]["source"]),
        (&json!("tenant"), &json!("platform"))
    );
    client
        .get("/external-users/x/effective-policy?workspace_id=nope")
        .await
        .refused(404, "workspace_not_found");
    for path in ["/quotas/external/dr-smith", "/tenant/policy", "/workspaces/default/policy"] {
        assert_eq!(client.delete(path).await.status, 204, "{path}");
    }
    assert_eq!(client.get("/external-users/dr-smith/policy").await.data(200)["quotas"], json!({}));
    assert_eq!(client.get("/tenant/policy").await.json()["billing"], json!({}));
}

#[tokio::test]
async fn what_nothing_enforces_is_refused_and_not_kept() {
    let emulator = harness::Emulator::start().await;
    let client = emulator.client(KEY);
    for (path, body, field) in [
        ("/tenant/policy", json!({ "lifecycle": { "default_timeout_sec": 60 } }), "lifecycle"),
        ("/workspaces/default/policy", json!({ "quotas": { "max_cpus": 1 } }), "quotas.max_cpus"),
        ("/quotas/external/u", json!({ "max_gpus": 1 }), "quotas.max_gpus"),
        ("/quotas/external/u", json!({ "max_sandboxes": -1 }), "quotas.max_sandboxes"),
        ("/workspaces/default/settings", json!({ "max_cpus": 1 }), "max_cpus"),
        ("/workspaces/default/settings", json!({ "max_sandboxes": "many" }), "max_sandboxes"),
    ] {
        let error = client.put(path, body).await.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field, "{path}");
    }
    assert_eq!(
        client.get("/workspaces/default").await.data(200)["settings"],
        json!({ "max_sandboxes": null, "max_concurrent": null, "max_storage_gb": null })
    );
}

#[tokio::test]
async fn who_is_bounded_does_not_move_the_bound() {
    let emulator = harness::Emulator::start().await;
    let client = emulator.client(KEY);
    let body = json!({ "user_id": "alice", "workspace_id": "default", "scopes": ["*"] });
    let token = client.post("/tokens/scoped", body).await;
    let alice = emulator.client(token.data(201)["token"].as_str().unwrap());
    for path in [
        "/quotas/external/alice",
        "/external-users/alice/policy",
        "/workspaces/default/policy",
        "/tenant/policy",
    ] {
        alice.put(path, json!({})).await.refused(403, "FORBIDDEN");
        alice.delete(path).await.refused(403, "FORBIDDEN");
    }
    alice.put("/workspaces/default/settings", json!({})).await.refused(403, "FORBIDDEN");
    alice.get("/quotas/external/alice").await.data(200);
    alice.get("/external-users/alice/effective-policy").await.data(200);
    alice.get("/quotas/external/bob").await.refused(403, "FORBIDDEN");
    // Another organization's are its own.
    client.put("/quotas/external/alice", json!({ "max_sandboxes": 1 })).await.data(200);
    let other = emulator.client("msk_test_other").get("/quotas/external/alice").await.data(200);
    assert_eq!(other["limits"]["max_sandboxes"], Value::Null);
}

#[tokio::test]
async fn limits_say_what_is_known_and_null_for_the_rest() {
    let emulator = harness::Emulator::start().await;
    let client = emulator.client(KEY);
    let limits = client.get("/limits").await.data(200);
    assert_eq!((&limits["can_start"], &limits["source"]), (&json!(true), &json!("credential")));
    assert_eq!(limits["concurrency"], json!({ "limit": null, "running": 0, "remaining": null }));
    assert_eq!(limits["credits"]["available_cents"], Value::Null);
    let slug = limits["organization"]["slug"].as_str().unwrap().to_owned();
    let own = client.clone().with("x-miosa-bill-to", &slug).get("/limits").await.data(200);
    assert_eq!(own["source"], "request");
    let other = client.clone().with("x-miosa-bill-to", "acme").get("/limits").await;
    other.refused(404, "ORG_NOT_FOUND");
}

#[tokio::test]
async fn one_change_reaches_many_policies_or_none() {
    let emulator = harness::Emulator::start().await;
    let client = emulator.client(KEY);
    for name in ["a", "b"] {
        client.post("/workspaces", json!({ "name": name })).await.data(201);
    }
    let apply = async |tier: &str, ids: Value, most: u32| {
        let policy = json!({ "quotas": { "max_sandboxes": most } });
        let body = json!({ "tier": tier, "ids": ids, "policy": policy });
        client.post("/bulk/policy/apply", body).await
    };
    let most =
        async |path: &str| client.get(path).await.data(200)["quotas"]["max_sandboxes"].clone();
    assert_eq!(apply("workspace", json!(["a", "b"]), 5).await.data(200)["applied"], 2);
    assert_eq!(apply("external_user", json!(["alice", "bob"]), 3).await.data(200)["applied"], 2);
    assert_eq!(most("/workspaces/b/policy").await, 5);
    assert_eq!(most("/external-users/bob/policy").await, 3);
    apply("workspace", json!(["a", "nowhere"]), 9).await.refused(404, "workspace_not_found");
    assert_eq!(most("/workspaces/a/policy").await, 5);
    apply("workspace", json!([]), 9).await.refused(422, "VALIDATION_FAILED");
    apply("planet", json!(["a"]), 9).await.refused(422, "VALIDATION_FAILED");
    let filtered = json!({ "tier": "workspace", "filter": {}, "policy": {} });
    client.post("/bulk/policy/apply", filtered).await.refused(501, "not_emulated");
}
