//! Environments, shared variables and templates of projects over HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use harness::{Client, Emulator};
use serde_json::{Value, json};

const KEY: &str = "msk_test_projects";

async fn project(client: &Client) -> String {
    let body = json!({ "name": "Site", "workspace_slug": "default" });
    let made = client.post("/projects", body).await.data(201);
    format!("/projects/{}", made["id"].as_str().unwrap())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_first_look_makes_production_and_it_stays() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let project = project(&client).await;
    let environments = format!("{project}/environments");
    for _ in 0..2 {
        let listed = client.get(&environments).await.json();
        assert_eq!((&listed["total"], &listed["data"]), (&json!(1), &listed["environments"]));
        let first = &listed["data"][0];
        assert_eq!((&first["slug"], &first["is_default"]), (&json!("production"), &json!(true)));
    }
    client.delete(&format!("{environments}/production")).await.refused(409, "RESOURCE_STATE");
    let made = client.post(&environments, json!({ "name": "Staging 1", "kind": "staging" })).await;
    let staging = made.data(201);
    assert_eq!((&staging["slug"], &staging["kind"]), (&json!("staging-1"), &json!("staging")));
    let path = format!("{environments}/{}", staging["id"].as_str().unwrap());
    assert_eq!(made.header("location"), format!("/api/v1{path}"));
    client.post(&environments, json!({ "name": "staging 1" })).await.refused(409, "NAME_TAKEN");
    let renamed = client.patch(&path, json!({ "name": "Test", "slug": "test" })).await.data(200);
    assert_eq!((&renamed["name"], &renamed["slug"]), (&json!("Test"), &json!("test")));
    client.patch(&path, json!({ "slug": "production" })).await.refused(409, "NAME_TAKEN");
    for body in [
        json!({}),
        json!({ "name": " " }),
        json!({ "name": "x", "slug": "No" }),
        json!({ "name": "x", "kind": "A b" }),
    ] {
        client.post(&environments, body).await.refused(422, "VALIDATION_FAILED");
    }
    assert_eq!(client.delete(&path).await.status, 204);
    client.patch(&path, json!({ "name": "x" })).await.refused(404, "NOT_FOUND");
    assert_eq!(client.get(&environments).await.json()["total"], 1);
    emulator.client("msk_test_else").get(&environments).await.refused(404, "project_not_found");
    assert_eq!(client.delete(&project).await.status, 204);
}

#[tokio::test]
async fn shared_variables_are_masked_and_belong_to_their_environment() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let project = project(&client).await;
    let variables = format!("{project}/shared-variables");
    client.post(&format!("{project}/environments"), json!({ "name": "Staging" })).await.data(201);
    let body = json!({ "variables": { "API_BASE": "https://api.acme.dev", "PIN": "1234" } });
    let set = client.put(&variables, body).await;
    assert_eq!(names(&set.data(200)), ["API_BASE", "PIN"]);
    assert_eq!(
        (&set.json()["data"][0]["preview"], &set.json()["data"][1]["preview"]),
        (&json!("htt...dev"), &json!("***"))
    );
    let body = json!({ "variables": [{ "key": "PIN", "value": "9" }, { "name": "DEBUG", "value": "1" }], "env": "staging" });
    assert_eq!(names(&client.put(&variables, body).await.data(200)), ["DEBUG", "PIN"]);
    let production = client.get(&variables).await;
    assert_eq!(names(&production.data(200)), ["API_BASE", "PIN"]);
    let all = String::from_utf8_lossy(&production.body).into_owned();
    assert!(!all.contains("acme.dev") && !all.contains("1234"), "{all}");
    assert_eq!(
        names(&client.get(&format!("{variables}?env=staging")).await.data(200)),
        ["DEBUG", "PIN"]
    );
    client.get(&format!("{variables}?env=nope")).await.refused(404, "NOT_FOUND");
    for body in [
        json!({}),
        json!({ "variables": 3 }),
        json!({ "variables": { "A-B": "x" } }),
        json!({ "variables": { "A": 1 } }),
    ] {
        client.put(&variables, body).await.refused(422, "VALIDATION_FAILED");
    }
    assert_eq!(client.delete(&format!("{variables}/PIN?env=staging")).await.status, 204);
    client.delete(&format!("{variables}/PIN?env=staging")).await.refused(404, "NOT_FOUND");
    assert_eq!(names(&client.get(&variables).await.data(200)), ["API_BASE", "PIN"]);
    let summary = client.get(&format!("{project}/summary")).await.data(200);
    assert_eq!(
        (&summary["shared_variables"], &summary["sandboxes"]["total"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(summary["environments"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_sync_shows_what_differs_writes_only_when_asked_and_removes_nothing() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let project = project(&client).await;
    let (variables, environments) =
        (format!("{project}/shared-variables"), format!("{project}/environments"));
    client.post(&environments, json!({ "name": "Staging" })).await.data(201);
    client
        .put(&variables, json!({ "variables": { "A": "1", "B": "2", "C": "3" } }))
        .await
        .data(200);
    let body = json!({ "variables": { "B": "other", "C": "3", "D": "4" }, "env": "staging" });
    client.put(&variables, body).await.data(200);
    let sync = format!("{environments}/staging/sync");
    let look = client.post(&sync, json!({ "from_environment_id": "production" })).await.data(200);
    assert_eq!((&look["added"], &look["changed"]), (&json!(["A"]), &json!(["B"])));
    assert_eq!(
        (&look["unchanged"], &look["only_here"], &look["applied"]),
        (&json!(["C"]), &json!(["D"]), &json!(false))
    );
    let at_staging = format!("{variables}?env=staging");
    assert_eq!(names(&client.get(&at_staging).await.data(200)), ["B", "C", "D"]);
    let apply = json!({ "from_environment_id": "production", "apply": true });
    assert_eq!(client.post(&sync, apply.clone()).await.data(200)["applied"], true);
    assert_eq!(names(&client.get(&at_staging).await.data(200)), ["A", "B", "C", "D"]);
    let again = client.post(&sync, apply).await.data(200);
    assert_eq!((&again["applied"], &again["unchanged"]), (&json!(false), &json!(["A", "B", "C"])));
    client.post(&sync, json!({ "from_environment_id": "nope" })).await.refused(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_template_is_applied_for_real_or_refused_whole() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let project = project(&client).await;
    let can = client.get("/project-capabilities").await.data(200);
    assert_eq!((&can["services_api"], &can["template_apply"]), (&json!(false), &json!(true)));
    let catalogue = client.get("/project-templates").await.data(200);
    let available: Vec<&Value> = catalogue
        .as_array()
        .unwrap()
        .iter()
        .filter(|template| template["available"] == true)
        .collect();
    assert!(
        !available.is_empty() && available.iter().all(|template| template["services"] == json!([]))
    );
    assert_eq!(client.get("/project-templates/web-secrets").await.data(200)["slug"], "web-secrets");
    client.get("/project-templates/nope").await.refused(404, "TEMPLATE_NOT_FOUND");
    let apply = |slug: &str| format!("{project}/templates/{slug}/apply");
    let applied = client.post(&apply("web-secrets"), json!({})).await.data(200);
    assert_eq!(applied["added"], json!(["SECRET_KEY", "SESSION_SECRET", "ENCRYPTION_KEY"]));
    assert_eq!(
        (&applied["applied"], &applied["environment"]["slug"]),
        (&json!(true), &json!("production"))
    );
    let variables = client.get(&format!("{project}/shared-variables")).await.data(200);
    assert!(variables.as_array().unwrap().iter().all(|variable| variable["generated"] == true));
    // What is set stays.
    assert_eq!(client.post(&apply("web-secrets"), json!({})).await.data(200)["added"], json!([]));
    let refused =
        client.post(&apply("nextjs-postgres"), json!({})).await.refused(501, "not_emulated");
    assert!(refused["message"].as_str().unwrap().contains("postgres"), "{refused}");
    client
        .post(&format!("{}?env=nope", apply("web-secrets")), json!({}))
        .await
        .refused(404, "NOT_FOUND");
    // A copy of the environment has secrets of its own: the masks differ.
    let copy = format!("{project}/environments/production/duplicate");
    let copy = client.post(&copy, json!({ "name": "Copy" })).await.data(201);
    assert_eq!(
        (&copy["slug"], &copy["is_default"], &copy["variable_count"]),
        (&json!("copy"), &json!(false), &json!(3))
    );
    let copied = client.get(&format!("{project}/shared-variables?env=copy")).await.data(200);
    assert_ne!(copied[0]["preview"], variables[0]["preview"]);
    let previews = format!("{project}/previews");
    client.put(&previews, json!({ "repository": "acme/site" })).await.refused(501, "not_emulated");
}
