//! The nine selectors, asked as a create asks them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod harness;

use harness::Emulator;
use miosa_emulator::api::platform::ownership;
use miosa_emulator::http::ownership::{Owner, Selectors};
use miosa_emulator::http::presented::Context;
use miosa_emulator::http::{ApiError, Caller};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

async fn caller(emulator: &Emulator, key: &str, workspace: Option<&str>) -> Caller {
    let context = Context { tenant: None, workspace: workspace.map(str::to_owned) };
    emulator.app.identities.identify(&emulator.app, key, &context).await.unwrap()
}

async fn resolve(emulator: &Emulator, caller: &Caller, said: Value) -> Result<Owner, ApiError> {
    let selectors: Selectors = serde_json::from_value(said).unwrap();
    let (app, caller) = (emulator.app.clone(), caller.clone());
    emulator.app.store.write(move |tx| ownership::resolve(tx, &app, &caller, &selectors)).await
}

async fn refusal(emulator: &Emulator, caller: &Caller, said: Value) -> &'static str {
    let error = resolve(emulator, caller, said.clone()).await.expect_err(&said.to_string());
    assert!(matches!(error.code.status, 422 | 403), "{error:?}");
    error.code.name
}

#[tokio::test]
async fn nothing_said_means_the_default_workspace_and_project() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let owner = resolve(&emulator, &me, json!({})).await.unwrap();
    assert_eq!(owner.workspace_id, me.workspace);
    let projects = emulator.client("msk_test_a").get("/projects").await.json();
    assert_eq!(projects["data"][0]["id"], json!(owner.project_id));
    assert_eq!(
        resolve(&emulator, &me, json!({ "external_user_id": "u" })).await.unwrap().workspace_id,
        me.workspace
    );
}

#[tokio::test]
async fn an_unknown_slug_or_external_id_is_made_once() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let said = json!({
        "workspace_slug": "dr-smith-clinic", "workspace_name": "Dr. Smith",
        "project_slug": "lead-magnet", "external_workspace_id": "clinic_123",
        "external_user_id": "dr-smith-456", "external_project_id": "project_789",
    });
    let owner = resolve(&emulator, &me, said.clone()).await.unwrap();
    assert_eq!(resolve(&emulator, &me, said).await.unwrap(), owner);
    assert_eq!(owner.external_user_id.as_deref(), Some("dr-smith-456"));
    for said in [
        json!({ "external_workspace_id": "clinic_123", "external_project_id": "project_789" }),
        json!({ "workspace_id": owner.workspace_id.to_string(), "project_slug": "lead-magnet" }),
        json!({ "workspace_slug": "dr-smith-clinic", "project_id": owner.project_id }),
        json!({ "project_id": owner.project_id }),
        json!({ "workspace_id": "dr-smith-clinic", "project_name": "Lead Magnet" }),
    ] {
        let again = resolve(&emulator, &me, said.clone()).await.unwrap();
        assert_eq!(
            (again.workspace_id, again.project_id),
            (owner.workspace_id, owner.project_id),
            "{said}"
        );
        assert_eq!(again.external_workspace_id.as_deref(), Some("clinic_123"));
        assert_eq!(again.external_project_id.as_deref(), Some("project_789"));
    }
    let client = emulator.client("msk_test_a");
    let made = client.get("/workspaces/dr-smith-clinic").await.data(200);
    assert_eq!((&made["name"], &made["id"]), (&json!("Dr. Smith"), &json!(owner.workspace_id)));
    assert_eq!(client.get("/workspaces").await.json()["page"]["total"], 2);
}

#[tokio::test]
async fn a_name_alone_finds_or_makes_by_the_slug_it_suggests() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let mut seen = Vec::new();
    for name in ["Acme Inc", "acme-inc", "日本", "中国", "日本"] {
        let owner = resolve(&emulator, &me, json!({ "workspace_name": name })).await.unwrap();
        seen.push(owner.workspace_id);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[2], seen[4]);
    assert_ne!(seen[2], seen[3]);
}

#[tokio::test]
async fn what_derives_its_slug_steps_aside_from_a_taken_one() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    resolve(&emulator, &me, json!({ "workspace_slug": "clinic-1" })).await.unwrap();
    let owner =
        resolve(&emulator, &me, json!({ "external_workspace_id": "Clinic 1" })).await.unwrap();
    let client = emulator.client("msk_test_a");
    let made = client.get(&format!("/workspaces/{}", owner.workspace_id)).await.data(200);
    assert_eq!(made["slug"], "clinic-1-2");
}

#[tokio::test]
async fn contradictions_are_refused_and_leave_nothing_behind() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let a = resolve(&emulator, &me, json!({ "workspace_slug": "a", "external_workspace_id": "ext-a", "project_slug": "p", "external_project_id": "ext-p" })).await.unwrap();
    let b = resolve(&emulator, &me, json!({ "workspace_slug": "b", "project_slug": "q" }))
        .await
        .unwrap();
    let client = emulator.client("msk_test_a");
    let before = client.get("/workspaces").await.json();
    for said in [
        json!({ "workspace_id": a.workspace_id, "workspace_slug": "b" }),
        json!({ "workspace_id": a.workspace_id, "workspace_slug": "new" }),
        json!({ "workspace_id": b.workspace_id, "external_workspace_id": "ext-a" }),
        json!({ "workspace_slug": "b", "external_workspace_id": "ext-a" }),
        json!({ "workspace_slug": "new", "external_workspace_id": "ext-a" }),
        json!({ "workspace_slug": "a", "external_workspace_id": "ext-other" }),
        json!({ "workspace_slug": "b", "project_id": a.project_id }),
        json!({ "project_id": a.project_id, "project_slug": "q" }),
        json!({ "workspace_slug": "a", "project_slug": "new", "external_project_id": "ext-p" }),
    ] {
        assert_eq!(refusal(&emulator, &me, said.clone()).await, "OWNERSHIP_CONFLICT", "{said}");
    }
    let other = caller(&emulator, "msk_test_b", None).await;
    for (who, said, code) in [
        (&me, json!({ "workspace_id": Uuid::new_v4() }), "WORKSPACE_NOT_FOUND"),
        (&me, json!({ "workspace_id": "no-such" }), "WORKSPACE_NOT_FOUND"),
        (&other, json!({ "workspace_id": a.workspace_id }), "WORKSPACE_NOT_FOUND"),
        (&me, json!({ "project_id": Uuid::new_v4() }), "PROJECT_NOT_FOUND"),
        (&other, json!({ "project_id": a.project_id }), "PROJECT_NOT_FOUND"),
        (&me, json!({ "workspace_slug": "Not A Slug" }), "VALIDATION_FAILED"),
        (&me, json!({ "workspace_name": "" }), "VALIDATION_FAILED"),
    ] {
        assert_eq!(refusal(&emulator, who, said.clone()).await, code, "{said}");
    }
    let after = client.get("/workspaces").await.json();
    assert_eq!(before["data"], after["data"]);
}

#[tokio::test]
async fn the_header_chooses_where_nothing_is_said_and_contradicts_a_project_elsewhere() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let a = resolve(&emulator, &me, json!({ "workspace_slug": "a" })).await.unwrap();
    let b = resolve(&emulator, &me, json!({ "workspace_slug": "b" })).await.unwrap();
    let in_a = caller(&emulator, "msk_test_a", Some("a")).await;
    assert_eq!(resolve(&emulator, &in_a, json!({})).await.unwrap(), a);
    let said = json!({ "project_id": b.project_id });
    assert_eq!(refusal(&emulator, &in_a, said).await, "OWNERSHIP_CONFLICT");
    // A selector is nearer to the resource than the header.
    assert_eq!(resolve(&emulator, &in_a, json!({ "workspace_slug": "b" })).await.unwrap(), b);
}

#[tokio::test]
async fn a_bound_credential_reaches_its_workspace_only_and_learns_nothing_of_others() {
    let emulator = Emulator::start().await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let a = resolve(&emulator, &me, json!({ "workspace_slug": "a" })).await.unwrap();
    let b = resolve(&emulator, &me, json!({ "workspace_slug": "b" })).await.unwrap();
    let key = json!({ "name": "bound", "workspace_id": a.workspace_id });
    let key = emulator.client("msk_test_a").post("/api-keys", key).await.data(201);
    let bound = caller(&emulator, key["key"].as_str().unwrap(), None).await;
    for said in
        [json!({}), json!({ "workspace_slug": "a" }), json!({ "workspace_id": a.workspace_id })]
    {
        assert_eq!(resolve(&emulator, &bound, said).await.unwrap(), a);
    }
    for said in [
        json!({ "workspace_slug": "b" }),
        json!({ "workspace_slug": "new" }),
        json!({ "workspace_id": b.workspace_id }),
        json!({ "workspace_id": Uuid::new_v4() }),
        json!({ "external_workspace_id": "new" }),
        json!({ "workspace_name": "B" }),
    ] {
        assert_eq!(refusal(&emulator, &bound, said.clone()).await, "FORBIDDEN", "{said}");
    }
    for project in [b.project_id.unwrap(), Uuid::new_v4()] {
        let said = json!({ "project_id": project });
        assert_eq!(refusal(&emulator, &bound, said).await, "PROJECT_NOT_FOUND");
    }
}

#[tokio::test]
async fn with_adopt_unknown_ids_are_made_as_asked_but_never_another_organizations() {
    let emulator = Emulator::with(|config| config.adopt = true).await;
    let me = caller(&emulator, "msk_test_a", None).await;
    let (workspace, project) = (Uuid::new_v4(), Uuid::new_v4());
    let said =
        json!({ "workspace_id": workspace, "project_id": project, "workspace_name": "Taken over" });
    let owner = resolve(&emulator, &me, said.clone()).await.unwrap();
    assert_eq!((owner.workspace_id, owner.project_id), (workspace, Some(project)));
    assert_eq!(resolve(&emulator, &me, said).await.unwrap(), owner);
    let other = caller(&emulator, "msk_test_b", None).await;
    let said = json!({ "workspace_id": workspace });
    assert_eq!(refusal(&emulator, &other, said).await, "WORKSPACE_NOT_FOUND");
    let said = json!({ "project_id": project });
    assert_eq!(refusal(&emulator, &other, said).await, "PROJECT_NOT_FOUND");
}

fn word() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        4 => Just(None),
        6 => prop::sample::select(vec!["a", "b", "c", "a-2"]).prop_map(|word| Some(word.to_owned())),
        1 => prop::sample::select(vec!["A B", "日本", "é", "-"]).prop_map(|word| Some(word.to_owned())),
    ]
}

prop_compose! {
    fn selectors()(
        workspace_id in word(), workspace_slug in word(), workspace_name in word(),
        project_id in word(), project_slug in word(), project_name in word(),
        external_workspace_id in word(), external_project_id in word(),
    ) -> Value {
        json!({
            "workspace_id": workspace_id, "workspace_slug": workspace_slug, "workspace_name": workspace_name,
            "project_id": project_id, "project_slug": project_slug, "project_name": project_name,
            "external_workspace_id": external_workspace_id, "external_project_id": external_project_id,
        })
    }
}

/// Saying the same twice means the same, whatever was said before; a refusal is never ours to blame.
#[test]
fn the_same_selectors_mean_the_same_the_second_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let emulator = runtime.block_on(Emulator::start());
    let mut config = ProptestConfig::with_cases(60);
    config.failure_persistence = None;
    proptest!(config, |(said in prop::collection::vec(selectors(), 1..12), seed in any::<u64>())| {
        runtime.block_on(async {
            let me = caller(&emulator, &format!("msk_test_{seed}"), None).await;
            for said in said {
                let first = resolve(&emulator, &me, said.clone()).await;
                let second = resolve(&emulator, &me, said.clone()).await;
                match (first, second) {
                    (Ok(first), Ok(second)) => assert_eq!(first, second, "{said}"),
                    (Err(first), Err(second)) => {
                        assert_eq!(first.code, second.code, "{said}");
                        assert_eq!(first.code.status, 422, "{said}: {first:?}");
                    }
                    other => panic!("{said}: {other:?}"),
                }
            }
        });
    });
}
