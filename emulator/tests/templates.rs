//! Templates through real HTTP: made, refused, built, started from, promoted, removed. The eleven scenarios of MIOSA's own
//! fake (miosa-cli) are here as far as a server of today can answer them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use harness::{Client, Emulator};
use hosted::{KEY, start, start_on, until};
use http::Method;
use http_body_util::BodyExt as _;
use miosa_emulator::api::compute::templates::Build;
use miosa_emulator::api::compute::templates::builds::State;
use miosa_emulator::http::ApiResult;
use serde_json::{Value, json};
use uuid::Uuid;

/// A spec with these steps on a base that every host of machines has.
fn spec(steps: &[&str]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|run| json!({ "run": run })).collect();
    json!({ "from": "blank", "steps": steps })
}

async fn template(client: &Client, name: &str, spec: Value) -> Value {
    client.post("/sandbox-templates", json!({ "name": name, "build_spec": spec })).await.data(201)
}

fn at(template: &Value, rest: &str) -> String {
    format!("/sandbox-templates/{}{rest}", template["id"].as_str().unwrap())
}

/// Asks for a build and waits for its end.
async fn built(client: &Client, template: &Value, body: Value) -> Value {
    let asked = client.post(&at(template, "/builds"), body).await.data(201);
    assert_eq!(asked["state"], "queued");
    ended(client, &asked).await
}

async fn ended(client: &Client, build: &Value) -> Value {
    let path = format!("/sandbox-template-builds/{}", build["id"].as_str().unwrap());
    until(async || {
        let state = client.get(&path).await.data(200)["state"].clone();
        ["ready", "failed", "cancelled"].contains(&state.as_str().unwrap())
    })
    .await;
    client.get(&path).await.data(200)
}

/// A template whose only build is ready.
async fn ready(client: &Client, name: &str, spec: Value) -> Value {
    let made = template(client, name, spec).await;
    let build = built(client, &made, json!({})).await;
    assert_eq!(build["state"], "ready", "{build}");
    client.get(&at(&made, "")).await.data(200)
}

async fn sandbox(client: &Client, body: Value) -> Value {
    client.post("/sandboxes", body).await.data(201)
}

async fn said(client: &Client, sandbox: &Value, line: &str) -> String {
    let path = format!("/sandboxes/{}/exec", sandbox["id"].as_str().unwrap());
    let done = client.post(&path, json!({ "command": line })).await.data(200);
    assert_eq!(done["exit_code"], 0, "{done}");
    done["stdout"].as_str().unwrap().trim().to_owned()
}

async fn log(client: &Client, build: &Value) -> Vec<String> {
    let path = format!("/sandbox-template-builds/{}/logs", build["id"].as_str().unwrap());
    let log = client.get(&path).await;
    assert_eq!(log.json()["lines"], log.json()["data"]["lines"]);
    serde_json::from_value(log.data(200)["lines"].clone()).unwrap()
}

async fn machines(emulator: &Emulator) -> usize {
    emulator.app.machines.list().await.unwrap().len()
}

#[tokio::test]
async fn happy_a_template_is_a_draft_that_no_sandbox_can_start_from() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let body = json!({
        "name": "Acme Scanner", "build_spec": spec(&["npm ci"]), "description": "d",
        "metadata": { "team": "a" },
    });
    let made = client.post("/sandbox-templates", body).await;
    let record = made.data(201);
    let id = record["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/api/v1/sandbox-templates/{id}"));
    for (field, value) in [
        ("name", json!("Acme Scanner")),
        ("slug", json!("acme-scanner")),
        ("status", json!("draft")),
        ("category", json!("custom")),
        ("image_id", Value::Null),
        ("current_build_id", Value::Null),
        ("built_in", json!(false)),
        ("default", json!(false)),
        ("public", json!(false)),
        ("cpu_count", json!(2)),
        ("memory_mb", json!(4096)),
        ("disk_mb", json!(10240)),
        ("workdir", json!("/workspace")),
        ("metadata", json!({ "team": "a" })),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    assert_eq!(record["build_spec"]["memoryMib"], 4096);
    // By id and by slug, bare and under `data`.
    for name in [id, "acme-scanner"] {
        let read = client.get(&format!("/sandbox-templates/{name}")).await;
        assert_eq!(read.data(200)["id"], id);
        assert_eq!(read.json()["id"], id);
    }
    let refused = client.post("/sandboxes", json!({ "template_id": "acme-scanner" })).await;
    refused.refused(409, "TEMPLATE_NOT_READY");
}

#[tokio::test]
async fn ready_a_build_runs_its_steps_and_sandboxes_start_from_what_it_made() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let mut spec = spec(&["echo built > made.txt", "echo $COLOUR >> made.txt; echo on stderr >&2"]);
    spec["env"] = json!({ "COLOUR": "blue", "SIZE": "big" });
    spec["vcpu"] = json!(1);
    spec["memoryMib"] = json!(512);
    spec["previewPort"] = json!(8081);
    spec["artifactPaths"] = json!(["/workspace/made.txt", "/workspace/later.txt"]);
    let made = ready(&client, "scanner", spec).await;
    assert_eq!((&made["status"], &made["readiness"]), (&json!("ready"), &json!("fast_ready")));
    assert_eq!(made["image_id"], "sbxtpl-scanner-01");
    let builds = client.get(&at(&made, "/builds")).await;
    let build = builds.data(200)[0].clone();
    assert_eq!(builds.json()["builds"][0]["id"], build["id"]);
    assert_eq!(made["current_build_id"], build["id"]);
    for (field, value) in [
        ("sandbox_template_id", &made["id"]),
        ("template_id", &made["id"]),
        ("source_type", &json!("build_spec")),
        ("state", &json!("ready")),
        ("status", &json!("ready")),
        ("image_id", &json!("sbxtpl-scanner-01")),
        ("error_code", &Value::Null),
        ("build_spec", &made["build_spec"]),
    ] {
        assert_eq!(build[field], *value, "{field}");
    }
    assert!(build["duration_ms"].is_u64() && build["finished_at"].is_string());
    assert_eq!(build["certification"]["status"], "passed");
    let passed: Vec<_> =
        build["metadata"]["events"].as_array().unwrap().iter().map(|e| &e["event"]).collect();
    assert_eq!(passed, ["queued", "building", "certifying", "snapshotting", "ready"]);
    let lines = log(&client, &build).await;
    for line in ["[1/2] echo built > made.txt", "on stderr", "step 2 exited 0"] {
        assert!(lines.iter().any(|said| said == line), "{line}: {lines:?}");
    }
    // The build's machine is gone, and its image is nobody's snapshot.
    assert_eq!(machines(&emulator).await, 0);
    assert_eq!(client.get("/snapshots").await.data(200), json!([]));
    let images = emulator.app.machines.list_snapshots().await.unwrap();
    assert_eq!(images.len(), 1);
    client.delete(&format!("/snapshots/{}", images[0])).await.refused(404, "snapshot_not_found");

    for name in [made["id"].as_str().unwrap(), "scanner"] {
        let env = json!({ "SIZE": "small" });
        let sandbox = sandbox(&client, json!({ "template_id": name, "env": env })).await;
        assert_eq!(sandbox["template_id"], name);
        assert_eq!((&sandbox["cpu_count"], &sandbox["memory_mb"]), (&json!(1), &json!(512)));
        assert_eq!(
            said(&client, &sandbox, "cat made.txt; echo $COLOUR $SIZE").await,
            "built\nblue\nblue small"
        );
        let exposed = format!("/sandboxes/{}/expose", sandbox["id"].as_str().unwrap());
        assert_eq!(client.post(&exposed, json!({})).await.json()["port"], 8081);
        let made = format!("/sandboxes/{}/artifacts", sandbox["id"].as_str().unwrap());
        let made = client.get(&made).await.data(200)["artifacts"].clone();
        assert_eq!(made["declared"], json!(["/workspace/made.txt", "/workspace/later.txt"]));
        assert_eq!(made["files"].as_array().unwrap().len(), 1, "{made}");
        assert_eq!(made["files"][0]["path"], "/workspace/made.txt");
    }
}

#[tokio::test]
async fn collision_a_name_that_is_taken_is_told_by_field() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    template(&client, "scanner", spec(&[])).await;
    for (name, slug) in
        [("scanner", None), ("Scanner", None), ("other", Some("scanner")), ("Node", None)]
    {
        let body = json!({ "name": name, "slug": slug, "build_spec": spec(&[]) });
        let refused = client.post("/sandbox-templates", body).await;
        refused.refused(422, "VALIDATION_FAILED");
        let errors = json!({ "slug": ["a template with this name already exists"] });
        assert_eq!(refused.json()["errors"], errors, "{name}");
    }
    // Another organization has names of its own.
    template(&emulator.client("msk_test_other"), "scanner", spec(&[])).await;
}

#[tokio::test]
async fn changeset_multi_everything_that_is_wrong_is_told_at_once() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let body = json!({ "name": " ", "description": "x".repeat(1001), "build_spec": {} });
    let refused = client.post("/sandbox-templates", body).await;
    refused.refused(422, "VALIDATION_FAILED");
    let errors = json!({
        "name": ["can't be blank"],
        "description": ["should be at most 1000 character(s)"],
    });
    assert_eq!(refused.json()["errors"], errors);
    let refused =
        client.post("/sandbox-templates", json!({ "name": "a", "slug": "No Slug" })).await;
    refused.refused(422, "VALIDATION_FAILED");
    let errors = refused.json()["errors"].clone();
    assert_eq!(errors["build_spec"], json!(["can't be blank"]));
    assert!(errors["slug"].is_array());
    let dockerfile = json!({ "name": "a", "dockerfile": "FROM debian" });
    client.post("/sandbox-templates", dockerfile).await.refused(501, "not_emulated");
}

#[tokio::test]
async fn buildspec_invalid_is_a_list_of_what_is_wrong() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let spec = json!({ "previewPort": 70_000 });
    let faults = json!([
        { "code": "REQUIRED", "field": "from", "message": "is required" },
        { "code": "INVALID_PORT", "field": "previewPort", "message": "must be between 1 and 65535" },
    ]);
    let refused =
        client.post("/sandbox-templates", json!({ "name": "a", "build_spec": spec })).await;
    refused.refused(422, "INVALID_BUILDSPEC");
    assert_eq!(refused.json()["errors"], faults);
    let validate = async |client: &Client, spec: &Value| {
        client.post("/sandbox-templates/validate", json!({ "build_spec": spec })).await
    };
    let verdict = validate(&client, &spec).await;
    assert_eq!(verdict.status, 200);
    assert_eq!((&verdict.json()["valid"], &verdict.json()["errors"]), (&json!(false), &faults));
    assert_eq!(verdict.json()["build_spec"], spec);
    // miosa-go 2.0 decodes strings and nothing else.
    let go = client.clone().with("user-agent", "miosa-go/2.0.2");
    assert_eq!(validate(&go, &spec).await.json()["errors"][0], "from: is required");
    let whole = validate(&client, &json!({ "from": "blank" })).await.json();
    assert_eq!((&whole["valid"], &whole["errors"]), (&json!(true), &json!([])));
    assert_eq!(whole["build_spec"]["workdir"], "/workspace");
    let made = template(&client, "a", json!({ "from": "blank" })).await;
    let refused = client.post(&at(&made, "/builds"), json!({ "build_spec": spec })).await;
    refused.refused(422, "INVALID_BUILDSPEC");
    let schema = client.get("/sandbox-templates/build-spec").await.data(200);
    assert_eq!(schema["version"], "2026-05-13");
    assert_eq!(schema["fields"]["previewPort"]["maximum"], 65_535);
}

#[tokio::test]
async fn build_failed_says_which_step_and_why_and_leaves_no_machine() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let steps = ["true", "echo working; echo no lock file >&2; exit 3", "touch never"];
    let made = template(&client, "broken", spec(&steps)).await;
    let build = built(&client, &made, json!({})).await;
    assert_eq!(
        (&build["state"], &build["error_code"]),
        (&json!("failed"), &json!("BUILD_STEP_FAILED"))
    );
    assert_eq!(
        build["error_message"],
        "step 2 `echo working; echo no lock file >&2; exit 3` exited 3: no lock file"
    );
    assert_eq!((&build["error"], &build["image_id"]), (&build["error_message"], &Value::Null));
    let lines = log(&client, &build).await;
    assert!(lines.last().unwrap().starts_with("failed: BUILD_STEP_FAILED"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("touch never")));
    let record = client.get(&at(&made, "")).await.data(200);
    assert_eq!((&record["status"], &record["current_build_id"]), (&json!("failed"), &build["id"]));
    assert_eq!(machines(&emulator).await, 0);
    assert!(emulator.app.machines.list_snapshots().await.unwrap().is_empty());
    client
        .post("/sandboxes", json!({ "template_id": "broken" }))
        .await
        .refused(409, "TEMPLATE_NOT_READY");
    client.post(&at(&made, "/promote"), json!({})).await.refused(409, "TEMPLATE_NOT_READY");
    // A later build mends it; a failure after that changes nothing for sandboxes.
    let mended = built(&client, &made, json!({ "build_spec": spec(&["true"]) })).await;
    assert_eq!(mended["state"], "ready", "{mended}");
    let failed = built(&client, &made, json!({ "build_spec": spec(&["false"]) })).await;
    assert_eq!(failed["state"], "failed");
    let record = client.get(&at(&made, "")).await.data(200);
    assert_eq!((&record["status"], &record["current_build_id"]), (&json!("ready"), &mended["id"]));
    assert_eq!(record["build_spec"], mended["build_spec"]);
}

#[tokio::test]
async fn builds_disabled_a_template_stays_a_draft_where_there_are_no_machines() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    let made = template(&client, "a", spec(&[])).await;
    let build = built(&client, &made, json!({})).await;
    assert_eq!(
        (&build["state"], &build["error_code"]),
        (&json!("failed"), &json!("BUILDS_TEMPORARILY_UNAVAILABLE"))
    );
    let record = client.get(&at(&made, "")).await.data(200);
    assert_eq!((&record["status"], &record["current_build_id"]), (&json!("draft"), &build["id"]));
}

#[tokio::test]
async fn delete_in_use_is_refused_with_what_depends_on_it() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let made = ready(&client, "used", spec(&["echo kept > f"])).await;
    let one = sandbox(&client, json!({ "template_id": "used" })).await;
    let one_path = format!("/sandboxes/{}", one["id"].as_str().unwrap());
    let copy = client.post(&format!("{one_path}/fork"), json!({})).await.data(201);
    let refused = client.delete(&at(&made, "")).await.refused(409, "TEMPLATE_IN_USE");
    assert_eq!((&refused["sandboxes"], &refused["builds"]), (&json!(2), &json!(0)));
    for sandbox in [&one, &copy] {
        client.delete(&format!("/sandboxes/{}", sandbox["id"].as_str().unwrap())).await;
    }
    let waits = client
        .post(
            &at(&made, "/builds"),
            json!({ "build_spec": spec(&["while [ ! -e go ]; do sleep 0.02; done"]) }),
        )
        .await
        .data(201);
    let refused = client.delete(&at(&made, "")).await.refused(409, "TEMPLATE_IN_USE");
    assert_eq!((&refused["sandboxes"], &refused["builds"]), (&json!(0), &json!(1)));
    let id: Uuid = waits["id"].as_str().unwrap().parse().unwrap();
    until(async || emulator.app.machines.agent(id).is_ok()).await;
    emulator.app.machines.remove(id).await.unwrap();
    let lost = ended(&client, &waits).await;
    assert_eq!(lost["state"], "failed", "{lost}");
    assert_eq!(client.delete(&at(&made, "")).await.status, 204);
    client.get(&at(&made, "")).await.refused(404, "TEMPLATE_NOT_FOUND");
    client.get(&format!("/sandbox-template-builds/{id}")).await.refused(404, "NOT_FOUND");
    assert!(emulator.app.machines.list_snapshots().await.unwrap().is_empty());
    client.delete("/sandbox-templates/miosa-sandbox").await.refused(403, "FORBIDDEN");
    client.post("/sandbox-templates/node/builds", json!({})).await.refused(403, "FORBIDDEN");
    assert_eq!(client.get("/sandbox-templates/node/builds").await.data(200), json!([]));
}

#[tokio::test]
async fn no_custom_and_update_ready_the_list_and_the_catalogue_tell_what_is_there() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let ids = async |client: &Client| -> Vec<String> {
        let list = client.get("/sandbox-templates").await.data(200);
        list.as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&client).await, ["miosa-sandbox", "blank", "python", "node"]);
    let made = ready(&client, "mine", spec(&["true"])).await;
    let draft = template(&client, "draft", spec(&["true"])).await;
    let again = json!({ "name": "mine", "build_spec": spec(&[]) });
    client.post("/sandbox-templates", again).await.refused(422, "VALIDATION_FAILED");
    let list = client.get("/sandbox-templates").await;
    let rows = list.json()["data"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 6);
    assert_eq!(list.json()["default_template_id"], "miosa-sandbox");
    let mine = rows.iter().find(|row| row["id"] == made["id"]).unwrap();
    for (field, value) in [
        ("categories", json!(["custom"])),
        ("default_cpu", json!(2)),
        ("default_memory_mb", json!(4096)),
        ("status", json!("ready")),
        ("public", json!(false)),
        ("tags", json!([])),
    ] {
        assert_eq!(mine[field], value, "{field}");
    }
    let page = client.get("/sandbox-templates?page=2&page_size=4").await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["page"]["total"]), (2, &json!(6)));
    assert_eq!(ids(&emulator.client("msk_test_other")).await.len(), 4);

    // An object at top level and under `data` (miosa-go 2.0, miosa-elixir), never a list under `data`.
    let catalogue = client.get("/templates").await.json();
    assert_eq!(catalogue["data"]["templates"], catalogue["templates"]);
    let find = |id: &Value| {
        catalogue["templates"].as_array().unwrap().iter().find(|t| t["id"] == *id).unwrap().clone()
    };
    let (mine, draft) = (find(&made["id"]), find(&draft["id"]));
    assert_eq!((&mine["readiness"], &mine["product"]), (&json!("fast_ready"), &json!("sandbox")));
    assert!(mine["sizes"].as_array().unwrap().iter().all(|size| size["state"] == "fast_ready"));
    assert_eq!(mine["sizes"][1]["resource_contract"]["memory_mb"], 4096);
    assert_eq!(
        (&draft["readiness"], &draft["readiness_reason"]),
        (&json!("missing"), &json!("no build of it is ready"))
    );
    // Measured, not assumed: the image is taken away.
    let images = emulator.app.machines.list_snapshots().await.unwrap();
    emulator.app.machines.remove_snapshot(images[0]).await.unwrap();
    let gone = client.get(&at(&made, "")).await.data(200);
    assert_eq!((&gone["readiness"], &gone["status"]), (&json!("missing"), &json!("ready")));
}

#[tokio::test]
async fn a_newer_build_is_live_at_once_and_the_one_before_can_be_returned_to() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let made = ready(&client, "app", spec(&["echo one > v"])).await;
    client.post(&at(&made, "/rollback"), json!({})).await.refused(409, "RESOURCE_STATE");
    built(&client, &made, json!({ "build_spec": spec(&["echo two > v"]) })).await;
    let first = client.get(&at(&made, "/builds")).await.data(200)[1]["id"].clone();
    let version = async |expected: &str| {
        let sandbox = sandbox(&client, json!({ "template_id": "app" })).await;
        assert_eq!(said(&client, &sandbox, "cat v").await, expected);
        client.delete(&format!("/sandboxes/{}", sandbox["id"].as_str().unwrap())).await;
    };
    version("two").await;
    let back = client.request(Method::POST, &at(&made, "/rollback")).send().await.data(200);
    assert_eq!((&back["current_build_id"], &back["version"]), (&first, &json!(1)));
    version("one").await;
    let on = client.request(Method::POST, &at(&made, "/promote")).send().await.data(200);
    assert_eq!((&on["version"], &on["image_id"]), (&json!(2), &json!("sbxtpl-app-02")));
    version("two").await;
    let chosen = client.post(&at(&made, "/promote"), json!({ "build_id": first })).await.data(200);
    assert_eq!(chosen["version"], 1);
    let unknown = json!({ "build_id": Uuid::new_v4() });
    client.post(&at(&made, "/promote"), unknown).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn a_template_starts_from_another_of_the_organization() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    ready(&client, "below", spec(&["echo below > a"])).await;
    let mut above = spec(&["cat a > b"]);
    above["from"] = json!("below");
    let made = ready(&client, "above", above.clone()).await;
    let sandbox = sandbox(&client, json!({ "template_id": made["id"] })).await;
    assert_eq!(said(&client, &sandbox, "cat b").await, "below");
    // Another organization's is not there; only an engine could know an image of that name.
    let other = emulator.client("msk_test_other");
    let verdict = other.post("/sandbox-templates/validate", json!({ "build_spec": above })).await;
    if std::env::var("MIOSA_TEST_MACHINES").as_deref() != Ok("docker") {
        assert_eq!(verdict.json()["errors"][0]["code"], "BASE_UNAVAILABLE");
    }
    other.get(&at(&made, "")).await.refused(404, "TEMPLATE_NOT_FOUND");
    other
        .post("/sandboxes", json!({ "template_id": made["id"] }))
        .await
        .refused(404, "TEMPLATE_NOT_FOUND");
}

#[tokio::test]
async fn a_template_is_certified_and_its_start_command_runs_in_its_sandboxes() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let mut spec = spec(&[]);
    spec["startCmd"] = json!("echo up > up; sleep 300");
    spec["readyCmd"] = json!("test -e up");
    let made = ready(&client, "served", spec.clone()).await;
    let build = client.get(&at(&made, "/builds")).await.data(200)[0].clone();
    assert_eq!(build["certification"]["check"], "ready_command");
    assert_eq!(made["start_command"], "echo up > up; sleep 300");
    let sandbox = sandbox(&client, json!({ "template_id": "served" })).await;
    let path = format!("/sandboxes/{}", sandbox["id"].as_str().unwrap());
    let up = async || {
        let found = client.post(&format!("{path}/exec"), json!({ "command": "rm up" })).await;
        found.data(200)["exit_code"] == 0
    };
    until(up).await;
    // Its processes end with a stop; what starts anew starts the command anew.
    client.post(&format!("{path}/stop"), json!({})).await.data(200);
    client.post(&format!("{path}/resume"), json!({})).await.data(200);
    until(up).await;

    spec["startCmd"] = json!("echo no port >&2; exit 4");
    let failed = built(&client, &made, json!({ "build_spec": spec })).await;
    assert_eq!(failed["error_code"], "CERTIFICATION_FAILED");
    assert_eq!(failed["error_message"], "startCmd exited 4: no port");
}

#[tokio::test]
async fn steps_and_sandboxes_run_as_the_user_and_in_the_directory_of_the_spec() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let mut spec = spec(&["pwd > where; id -u > who"]);
    spec["workdir"] = json!("/workspace/app");
    let own = std::env::var("MIOSA_TEST_MACHINES").is_ok();
    if own {
        spec["user"] = json!("4711:4712");
    } else {
        let mut wrong = spec.clone();
        wrong["user"] = json!("nobody");
        wrong["workdir"] = json!("/srv");
        let verdict =
            client.post("/sandbox-templates/validate", json!({ "build_spec": wrong })).await;
        let errors = verdict.json()["errors"].clone();
        assert_eq!((&errors[0]["field"], &errors[1]["field"]), (&json!("workdir"), &json!("user")));
    }
    let made = template(&client, "placed", spec).await;
    let build = built(&client, &made, json!({})).await;
    assert_eq!(build["state"], "ready", "{build}");
    let sandbox = sandbox(&client, json!({ "template_id": "placed" })).await;
    let place = said(&client, &sandbox, "pwd; cat where").await;
    assert!(place.lines().all(|line| line.ends_with("/app")), "{place}");
    assert_eq!(place.lines().count(), 2);
    if own {
        assert_eq!(
            said(&client, &sandbox, "cat who; id -u; id -g; id -G").await,
            "4711\n4711\n4712\n4712"
        );
    }
}

#[tokio::test]
async fn a_build_whose_base_cannot_be_had_says_so() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let spec = json!({ "from": "no-such-registry.invalid/image:1", "steps": [] });
    let verdict = client.post("/sandbox-templates/validate", json!({ "build_spec": spec })).await;
    if std::env::var("MIOSA_TEST_MACHINES").as_deref() != Ok("docker") {
        assert_eq!(verdict.json()["errors"][0]["code"], "BASE_UNAVAILABLE");
        return;
    }
    // Only trying to pull it can tell.
    assert_eq!(verdict.json()["valid"], true);
    let made = template(&client, "pulled", spec).await;
    let build = built(&client, &made, json!({})).await;
    assert_eq!(build["error_code"], "BASE_UNAVAILABLE", "{build}");
    // One that the engine has can be started from, whatever is in it; a sandbox's snapshot cannot.
    let image = "miosa-emulator/sandbox:1";
    let made =
        ready(&client, "imaged", json!({ "from": image, "steps": [{ "run": "touch f" }] })).await;
    let sandbox = sandbox(&client, json!({ "template_id": made["id"] })).await;
    said(&client, &sandbox, "test -e f").await;
}

#[tokio::test]
async fn a_log_is_followed_while_it_grows_and_from_where_one_left_off() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let step = "echo first; while [ ! -e go ]; do sleep 0.02; done; echo last";
    let made = template(&client, "told", spec(&[step])).await;
    let build = client.post(&at(&made, "/builds"), json!({})).await.data(201);
    let id = build["id"].as_str().unwrap();
    let path = format!("/sandbox-template-builds/{id}/logs/stream");
    let mut body = client.request(Method::GET, &path).open().await.into_body();
    let mut text = String::new();
    while !text.contains("\"line\":\"first\"") {
        let frame =
            tokio::time::timeout(harness::BOUND, body.frame()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(!text.contains("\"line\":\"last\""));
    let machine: Uuid = id.parse().unwrap();
    let agent = emulator.app.machines.agent(machine).unwrap();
    agent.write("/workspace/go", None, bytes::Bytes::new()).await.unwrap();
    while let Some(frame) = tokio::time::timeout(harness::BOUND, body.frame()).await.unwrap() {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    let events = events(&text);
    let named: Vec<_> = events.iter().map(|(_, event)| event["event"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        [
            "queued",
            "building",
            "step_started",
            "output",
            "output",
            "step_finished",
            "certifying",
            "certified",
            "snapshotting",
            "ready"
        ]
    );
    assert!(events.is_sorted_by_key(|(id, _)| id.clone()), "{text}");
    assert!(
        events.iter().all(|(_, event)| event["type"] == "build_event" && event["build_id"] == id)
    );
    // Behind an event that was seen; by a ticket, too.
    let resumed =
        client.request(Method::GET, &path).header("last-event-id", &events[6].0).send().await;
    assert_eq!(self::events(std::str::from_utf8(&resumed.body).unwrap()), events[7..]);
    let ticket = client.post("/auth/sse-ticket", json!({})).await.data(200)["ticket"].clone();
    let path = format!("{path}?ticket={}", ticket.as_str().unwrap());
    let opened = emulator.anonymous().request(Method::GET, &path).send().await;
    assert_eq!(self::events(std::str::from_utf8(&opened.body).unwrap()), events);
    assert_eq!(log(&client, &build).await.len(), events.len());
    let tail = format!("/sandbox-template-builds/{id}/logs?tail=1");
    assert_eq!(client.get(&tail).await.data(200)["lines"], json!(["ready: sbxtpl-told-01"]));
}

/// Id and data of each event.
fn events(text: &str) -> Vec<(String, Value)> {
    let frames = text.split("\n\n").filter(|frame| frame.starts_with("id: "));
    frames
        .map(|frame| {
            let [id, name, data] = frame.lines().collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(name, "event: build_event");
            let data = data.strip_prefix("data: ").unwrap();
            (id["id: ".len()..].to_owned(), serde_json::from_str(data).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_build_that_says_too_much_is_cut_and_goes_on() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let made = template(
        &client,
        "loud",
        spec(&["i=0; while [ $i -lt 10050 ]; do echo $i; i=$((i+1)); done"]),
    )
    .await;
    let build = built(&client, &made, json!({})).await;
    assert_eq!(build["state"], "ready", "{build}");
    let lines = log(&client, &build).await;
    assert!(lines.iter().any(|line| line == "9999") && !lines.iter().any(|line| line == "10001"));
    assert!(lines.iter().any(|line| line.contains("more output is not kept")));
}

#[tokio::test]
async fn what_waits_and_what_ran_are_told_apart_after_a_stop() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let made = template(&client, "long", spec(&["while [ ! -e go ]; do sleep 0.02; done"])).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(client.post(&at(&made, "/builds"), json!({})).await.data(201));
    }
    let state = async |client: &Client, build: &Value| {
        let path = format!("/sandbox-template-builds/{}", build["id"].as_str().unwrap());
        client.get(&path).await.data(200)["state"].as_str().unwrap().to_owned()
    };
    // Two at once; the third waits.
    until(async || state(&client, &asked[1]).await == "building").await;
    until(async || machines(&emulator).await == 2).await;
    assert_eq!(state(&client, &asked[2]).await, "queued");
    let emulator = start_on(emulator.stop().await).await;
    let client = emulator.client(KEY);
    for build in &asked[..2] {
        assert_eq!(state(&client, build).await, "cancelled");
    }
    until(async || state(&client, &asked[2]).await == "building").await;
    until(async || machines(&emulator).await == 1).await;
    let reset = client.post("/_emulator/reset", json!({})).await;
    assert_eq!(reset.status, 200);
    until(async || machines(&emulator).await == 0).await;
    client.get(&at(&made, "")).await.refused(404, "TEMPLATE_NOT_FOUND");
}

#[tokio::test]
async fn a_crash_in_the_middle_fails_the_build_and_keeps_what_was_ready() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let made = ready(&client, "kept", spec(&["echo kept > f"])).await;
    let id: Uuid = made["current_build_id"].as_str().unwrap().parse().unwrap();
    let torn = Uuid::new_v4();
    // As a crash leaves it: a row that says it runs, and a machine.
    let machine = emulator.app.store.write(move |tx| -> ApiResult<Build> {
        let ready = tx.get_any::<Build>(id)?.unwrap();
        let torn = Build { id: torn, number: 2, state: State::Snapshotting, image: None, ..ready };
        tx.insert(&torn)?;
        Ok(torn)
    });
    let torn = machine.await.map_err(|error| error.log).unwrap();
    let spec = miosa_emulator::machines::MachineSpec {
        id: torn.id,
        operation: torn.id,
        base: miosa_emulator::machines::Base::Template("blank".into()),
        shape: torn.spec.shape(),
        env: std::collections::BTreeMap::new(),
        hostname: "torn".into(),
    };
    emulator.app.machines.create(&spec).await.unwrap();
    // And a seal that no row names.
    emulator.app.machines.snapshot(torn.id, Uuid::new_v4()).await.unwrap();
    let emulator = start_on(emulator.stop().await).await;
    let client = emulator.client(KEY);
    let path = format!("/sandbox-template-builds/{}", torn.id);
    let build = client.get(&path).await.data(200);
    assert_eq!(
        (&build["state"], &build["error_code"]),
        (&json!("failed"), &json!("BUILD_INTERRUPTED"))
    );
    let followed = client.get(&format!("{path}/logs/stream")).await;
    assert!(String::from_utf8_lossy(&followed.body).contains("BUILD_INTERRUPTED"));
    assert_eq!(machines(&emulator).await, 0);
    assert_eq!(emulator.app.machines.list_snapshots().await.unwrap().len(), 1);
    let record = client.get(&at(&made, "")).await.data(200);
    assert_eq!((&record["status"], &record["readiness"]), (&json!("ready"), &json!("fast_ready")));
    let sandbox = sandbox(&client, json!({ "template_id": "kept" })).await;
    assert_eq!(said(&client, &sandbox, "cat f").await, "kept");
}

#[tokio::test]
async fn the_same_key_asks_for_one_template_and_one_build() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let ask = async |path: &str, key: &str, body: &Value| {
        let request = client.request(Method::POST, path).header("idempotency-key", key);
        request.json(body).send().await.data(201)
    };
    let body = json!({ "name": "once", "build_spec": spec(&["true"]) });
    let made = ask("/sandbox-templates", "t1", &body).await;
    assert_eq!(ask("/sandbox-templates", "t1", &body).await, made);
    let build = ask(&at(&made, "/builds"), "b1", &json!({})).await;
    assert_eq!(ask(&at(&made, "/builds"), "b1", &json!({})).await, build);
    assert_eq!(client.get(&at(&made, "/builds")).await.json()["total"], 1);
    assert_eq!(ended(&client, &build).await["state"], "ready");
}
