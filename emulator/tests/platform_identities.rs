//! Who a credential is, and where it acts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::Emulator;
use miosa_emulator::http::auth::AuthMode;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn a_request_without_or_with_an_unreadable_credential_is_401_with_its_own_code() {
    let emulator = Emulator::start().await;
    emulator.anonymous().get("/workspaces").await.refused(401, "MISSING_TOKEN");
    for key in ["msk_", "sk_live_x", "mki_x", "abc", "a.b.c", "eyJ.eyJ.x", "msk_a b"] {
        emulator.client(key).get("/workspaces").await.refused(401, "INVALID_TOKEN");
    }
    let basic = emulator.anonymous().with("authorization", "Basic eDp5");
    basic.get("/workspaces").await.refused(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn any_well_formed_key_acts_in_the_default_organization() {
    let emulator = Emulator::start().await;
    let mut organizations = Vec::new();
    for key in ["msk_live_x", "msk_u_1", "msk_x"] {
        let me = emulator.client(key).get("/whoami").await.data(200);
        assert_eq!(me["auth"]["unrestricted"], true);
        organizations.push(me["organization"]["id"].clone());
    }
    organizations.dedup();
    assert_eq!(organizations.len(), 1);
}

#[tokio::test]
async fn test_keys_have_organizations_of_their_own_and_see_nothing_of_each_other() {
    let emulator = Emulator::start().await;
    let (a, b) = (emulator.client("msk_test_a"), emulator.client("msk_test_b"));
    let made = a.post("/workspaces", json!({ "name": "Mine" })).await.data(201);
    let path = format!("/workspaces/{}", made["id"].as_str().unwrap());
    a.get(&path).await.data(200);
    for stranger in [&b, &emulator.client("msk_live_x")] {
        stranger.get(&path).await.refused(404, "workspace_not_found");
        stranger.get("/workspaces/mine").await.refused(404, "workspace_not_found");
        stranger.patch(&path, json!({ "name": "x" })).await.refused(404, "workspace_not_found");
        stranger.delete(&path).await.refused(404, "workspace_not_found");
        let names = stranger.get("/workspaces").await.json();
        assert_eq!(names["page"]["total"], 1, "{names}");
        // The same name is free there.
    }
    b.post("/workspaces", json!({ "name": "Mine" })).await.data(201);
}

#[tokio::test]
async fn headers_choose_tenant_and_workspace_and_reach_no_further() {
    let emulator = Emulator::start().await;
    let (a, b) = (emulator.client("msk_test_a"), emulator.client("msk_test_b"));
    let me = a.get("/whoami").await.data(200);
    let other = b.get("/whoami").await.data(200);
    let made = a.post("/workspaces", json!({ "name": "Chosen" })).await.data(201);
    for (id, slug) in [(&me["organization"]["id"], &me["organization"]["slug"])] {
        for tenant in [id, slug] {
            a.clone()
                .with("x-miosa-tenant", tenant.as_str().unwrap())
                .get("/whoami")
                .await
                .data(200);
        }
    }
    for named in [made["id"].as_str().unwrap(), "chosen"] {
        let chosen = a.clone().with("x-miosa-workspace", named).get("/whoami").await.data(200);
        assert_eq!(chosen["workspace"]["id"], made["id"]);
    }
    let foreign = [
        ("x-miosa-tenant", other["organization"]["id"].as_str().unwrap()),
        ("x-miosa-org", other["organization"]["slug"].as_str().unwrap()),
        ("x-miosa-tenant", "nobody"),
        ("x-miosa-workspace", other["workspace"]["id"].as_str().unwrap()),
        ("x-miosa-workspace", "nobody"),
    ];
    for (header, value) in foreign {
        let reply = a.clone().with(header, value).get("/whoami").await;
        reply.refused(403, "INVALID_TENANT_CONTEXT");
    }
}

#[tokio::test]
async fn a_renamed_workspace_is_not_found_by_its_old_slug_any_more() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    client.post("/workspaces", json!({ "name": "Before" })).await.data(201);
    let chosen = client.clone().with("x-miosa-workspace", "before");
    chosen.get("/whoami").await.data(200);
    client.patch("/workspaces/before", json!({ "slug": "after" })).await.data(200);
    chosen.get("/whoami").await.refused(403, "INVALID_TENANT_CONTEXT");
}

#[tokio::test]
async fn with_adopt_unknown_tenants_and_workspaces_are_made_as_they_are_asked_for() {
    let emulator = Emulator::with(|config| config.adopt = true).await;
    let (tenant, workspace) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let client = emulator
        .client("msk_live_x")
        .with("x-miosa-tenant", &tenant)
        .with("x-miosa-workspace", &workspace);
    for _ in 0..2 {
        let me = client.get("/whoami").await.data(200);
        assert_eq!(
            (&me["organization"]["id"], &me["workspace"]["id"]),
            (&json!(tenant), &json!(workspace))
        );
    }
    let named = emulator
        .client("msk_live_y")
        .with("x-miosa-tenant", "acme")
        .with("x-miosa-workspace", "clinic")
        .get("/whoami")
        .await
        .data(200);
    assert_eq!(
        (&named["organization"]["slug"], &named["workspace"]["slug"]),
        (&json!("acme"), &json!("clinic"))
    );
    // Another tenant cannot take over the same workspace id.
    let thief = emulator.client("msk_live_x").with("x-miosa-workspace", &workspace);
    thief.get("/whoami").await.refused(403, "INVALID_TENANT_CONTEXT");
    // A minted key stays where it was minted.
    let minted =
        emulator.client("msk_live_x").post("/api-keys", json!({ "name": "k" })).await.data(201);
    let minted = emulator.client(minted["key"].as_str().unwrap());
    minted
        .with("x-miosa-tenant", "acme")
        .get("/whoami")
        .await
        .refused(403, "INVALID_TENANT_CONTEXT");
}

#[tokio::test]
async fn strict_takes_minted_keys_only_and_audit_says_what_strict_would_refuse() {
    let emulator = Emulator::start().await;
    let minted = emulator.client("msk_live_x").post("/api-keys", json!({ "name": "k" })).await;
    let minted = minted.data(201)["key"].as_str().unwrap().to_owned();
    let data = emulator.stop().await;
    let none = |_: &std::path::Path| miosa_emulator::machines::Machines::none("a test".to_owned());
    let strict = Emulator::boot(data, none, |config| config.auth = AuthMode::Strict).await;
    let refused = strict.client("msk_live_x").get("/whoami").await.refused(401, "INVALID_TOKEN");
    assert!(refused["message"].as_str().unwrap().contains("POST /api/v1/api-keys"), "{refused}");
    let me = strict.client(&minted).get("/whoami").await.data(200);
    assert_eq!(me["auth"]["minted"], true);
    // A reset leaves a way in.
    strict.client(&minted).post("/_emulator/reset", json!({})).await.data(200);
    strict.client(&minted).get("/whoami").await.data(200);

    let fresh = Emulator::with(|config| {
        config.auth = AuthMode::Strict;
        config.root_key = Some(miosa_emulator::ids::fingerprint("msk_root"));
    })
    .await;
    fresh.client("msk_live_x").get("/whoami").await.refused(401, "INVALID_TOKEN");
    let first = fresh.client("msk_root").post("/api-keys", json!({ "name": "first" })).await;
    let first = first.data(201)["key"].as_str().unwrap().to_owned();
    fresh.client(&first).get("/whoami").await.data(200);

    let audit = Emulator::with(|config| config.auth = AuthMode::Audit).await;
    let client = audit.client("msk_live_x");
    client.get("/whoami").await.data(200);
    let journal = client.get("/_emulator/requests").await.json();
    assert!(journal.to_string().contains("would_refuse:key_not_minted"), "{journal}");
}

#[tokio::test]
async fn organizations_clocks_and_keys_outlive_a_restart() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let before = client.get("/whoami").await.data(200);
    let key = client.post("/api-keys", json!({ "name": "k" })).await.data(201)["key"].clone();
    client.advance(7 * 86_400).await;
    let org = Uuid::parse_str(before["organization"]["id"].as_str().unwrap()).unwrap();
    let offset = emulator.app.clock.offset_ms(org);
    assert_eq!(offset, 7 * 86_400_000);
    let data = emulator.stop().await;
    let none = |_: &std::path::Path| miosa_emulator::machines::Machines::none("a test".to_owned());
    let again = Emulator::boot(data, none, |_| {}).await;
    assert_eq!(again.app.clock.offset_ms(org), offset);
    let after = again.client("msk_test_a").get("/whoami").await.data(200);
    assert_eq!(before, after);
    let minted = again.client(key.as_str().unwrap()).get("/whoami").await.data(200);
    assert_eq!(minted["organization"], before["organization"]);
}

#[tokio::test]
async fn a_reset_empties_one_organization_and_leaves_the_other() {
    let emulator = Emulator::start().await;
    let (a, b) = (emulator.client("msk_test_a"), emulator.client("msk_test_b"));
    for client in [&a, &b] {
        client.post("/workspaces", json!({ "name": "Kept?" })).await.data(201);
    }
    let before = a.get("/whoami").await.data(200);
    let key = a.post("/api-keys", json!({ "name": "k" })).await.data(201)["key"].clone();
    let minted = emulator.client(key.as_str().unwrap());
    minted.get("/whoami").await.data(200);
    a.post("/_emulator/reset", json!({})).await.data(200);
    assert_eq!(a.get("/workspaces").await.json()["page"]["total"], 1);
    assert_eq!(b.get("/workspaces").await.json()["page"]["total"], 2);
    assert_eq!(a.get("/whoami").await.data(200), before);
    assert_eq!(a.get("/projects").await.json()["page"]["total"], 1);
    assert_eq!(a.get("/api-keys").await.json()["page"]["total"], 0);
    // The key of the emptied organization is a key that nobody minted again.
    assert_eq!(minted.get("/whoami").await.data(200)["auth"]["minted"], false);
}
