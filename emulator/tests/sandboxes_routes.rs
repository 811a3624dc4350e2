//! The routes of the sandboxes and of the templates, over real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot;
mod harness;

use boot::{create, events, id, path, row, said, start};
use http::Method;
use serde_json::{Value, json};

const KEY: &str = "msk_test_sandboxes";

#[tokio::test]
async fn a_create_answers_running_with_every_documented_field() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let reply = client
        .post(
            "/sandboxes",
            json!({
                "template_id": "blank", "name": "first", "env": { "COLOUR": "blue" }, "tags": ["a", "b"],
                "metadata": { "n": 5 }, "external_user_id": "u-1", "region": "fra", "timeout_sec": 600,
            }),
        )
        .await;
    let sandbox = reply.data(201);
    assert_eq!(reply.header("location"), format!("/api/v1{}", path(&sandbox)));
    // Top level and `data` are the same record.
    let mut whole = reply.json();
    whole.as_object_mut().unwrap().remove("data");
    assert_eq!(whole, sandbox);
    for (field, value) in [
        ("state", json!("running")),
        ("status", json!("running")),
        ("ready", json!(true)),
        ("slug", json!(id(&sandbox)[..8])),
        ("size", json!("small")),
        ("cpu_count", json!(2)),
        ("memory_mb", json!(4096)),
        ("disk_size_mb", json!(10_240)),
        ("timeout_sec", json!(600)),
        ("idle_timeout_sec", json!(0)),
        ("persistent", json!(true)),
        ("always_on", json!(false)),
        ("total_runtime_sec", Value::Null),
        ("destroyed_at", Value::Null),
        ("tags", json!(["a", "b"])),
        ("metadata", json!({ "n": 5 })),
        ("external_user_id", json!("u-1")),
        ("region", json!("fra")),
        ("checkpoint_pending", json!(false)),
        ("template_id", json!("blank")),
        ("template_type", json!("blank")),
        ("boot_path", json!("cold")),
    ] {
        assert_eq!(sandbox[field], value, "{field}");
    }
    assert_eq!(sandbox["resource_contract"]["id"], "sandbox/small@v1");
    assert_eq!(sandbox["resource_contract"]["nominal"]["vcpus"], 2);
    assert_eq!(sandbox["enforced"]["by"], "host");
    let remaining = sandbox["timeout_remaining_ms"].as_i64().unwrap();
    assert!((590_000..=600_000).contains(&remaining), "{remaining}");
    assert!(sandbox["boot_ms"].is_u64() && sandbox["workspace_id"].is_string());
    assert_eq!(said(&emulator, &sandbox, "printf $COLOUR").await, "blue");
    assert_eq!(
        events(&emulator, &sandbox).await,
        ["sandbox.created", "sandbox.started", "sandbox.ready"]
    );
    assert_eq!(client.get(&path(&sandbox)).await.data(200)["id"], sandbox["id"]);
}

#[tokio::test]
async fn a_create_that_cannot_be_honoured_is_refused_and_leaves_nothing() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let post = |body| client.post("/sandboxes", body);
    post(json!({ "template_id": "nope" })).await.refused(404, "TEMPLATE_NOT_FOUND");
    let error = post(json!({ "database": true })).await.refused(501, "not_emulated");
    assert_eq!(error["details"][0]["field"], "database");
    post(json!({ "size": "huge" })).await.refused(422, "VALIDATION_FAILED");
    post(json!({ "timeout_sec": -1 })).await.refused(422, "VALIDATION_FAILED");
    post(json!({ "template_id": "blank", "snapshot_id": "x" }))
        .await
        .refused(404, "snapshot_not_found");
    client
        .post("/sandboxes?wait=soon", json!({ "template_id": "blank" }))
        .await
        .refused(400, "INVALID_PARAMETER");
    let waiting =
        client.post("/sandboxes?wait=true", json!({ "template_id": "blank" })).await.data(201);
    client.delete(&path(&waiting)).await.data(200);
    assert_eq!(client.get("/sandboxes").await.json()["total"], 0);
    assert!(emulator.app.machines.list().await.unwrap().is_empty());

    let none = harness::Emulator::start().await;
    let client = none.client(KEY);
    client.post("/sandboxes", json!({ "name": "a" })).await.refused(503, "NO_MACHINES");
    assert_eq!(client.get("/sandboxes?include_errored=true").await.json()["total"], 0);
    client.get("/sandboxes/by-name/a").await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn numbers_without_a_size_are_filled_from_small_and_echoed() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let medium =
        create(&client, json!({ "cpu_count": 4, "memory_mb": 8192, "disk_mb": 20_480 })).await;
    assert_eq!(medium["size"], "medium");
    let custom = create(&client, json!({ "cpu_count": 3 })).await;
    assert_eq!(
        (&custom["size"], &custom["cpu_count"], &custom["memory_mb"]),
        (&json!("custom"), &json!(3), &json!(4096))
    );
    assert_eq!(custom["resource_contract"]["id"], "sandbox/custom-3x4096x10240@v1");
}

#[tokio::test]
async fn lists_filter_search_sort_and_count() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let b = create(&client, json!({ "name": "beta", "tags": ["x", "team=red"] })).await;
    let a =
        create(&client, json!({ "name": "alpha", "tags": ["x"], "external_user_id": "u" })).await;
    client.post(&format!("{}/pause", path(&b)), json!({})).await.data(200);
    let names = |query: &str| {
        let (client, query) = (client.clone(), query.to_owned());
        async move {
            let reply = client.get(&format!("/sandboxes{query}")).await;
            let items = reply.data(200);
            items.as_array().unwrap().iter().map(|item| item["name"].clone()).collect::<Vec<_>>()
        }
    };
    for (query, expected) in [
        ("", json!(["alpha", "beta"])),
        ("?sort=created-desc", json!(["alpha", "beta"])),
        ("?sort=name-asc", json!(["alpha", "beta"])),
        ("?state=paused", json!(["beta"])),
        ("?state=stopped", json!(["beta"])),
        ("?state=running,paused", json!(["alpha", "beta"])),
        ("?state=destroyed", json!([])),
        ("?tags=x", json!(["alpha", "beta"])),
        ("?tags=x,team%3Dred", json!(["beta"])),
        ("?tags%5Bteam%5D=red", json!(["beta"])),
        ("?external_user_id=u", json!(["alpha"])),
        ("?template_id=blank&search=ALP", json!(["alpha"])),
        ("?workspace_id=nope", json!([])),
        ("?limit=1&page=2", json!(["beta"])),
    ] {
        assert_eq!(json!(names(query).await), expected, "{query}");
    }
    let by_id = format!("?search={}", id(&a));
    assert_eq!(names(&by_id).await, ["alpha"]);
    let by_workspace = format!("?workspace_id={}", a["workspace_id"].as_str().unwrap());
    assert_eq!(names(&by_workspace).await.len(), 2);
    let reply = client.get("/sandboxes").await.json();
    assert_eq!(reply["meta"]["state_counts"], json!({ "running": 1, "paused": 1 }));
    assert_eq!(reply["sandboxes"], reply["data"]);
    for bad in ["?state=asleep", "?sort=size", "?include_errored=maybe"] {
        client.get(&format!("/sandboxes{bad}")).await.refused(400, "INVALID_PARAMETER");
    }
    // Another organization sees none of it.
    let other = emulator.client("msk_test_other");
    assert_eq!(other.get("/sandboxes").await.json()["total"], 0);
    other.get(&path(&a)).await.refused(404, "sandbox_not_found");
    other.delete(&path(&a)).await.refused(404, "sandbox_not_found");
}

#[tokio::test]
async fn a_sandbox_is_found_by_id_slug_or_name() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    client.get("/sandboxes/by-name/my%20box").await.refused(404, "sandbox_not_found");
    let sandbox = create(&client, json!({ "name": "my box", "slug": "box" })).await;
    for path in ["/sandboxes/by-name/my%20box", "/sandboxes/my%20box", "/sandboxes/box"] {
        assert_eq!(client.get(path).await.data(200)["id"], sandbox["id"], "{path}");
    }
    client
        .post("/sandboxes", json!({ "template_id": "blank", "name": "my box" }))
        .await
        .refused(409, "CONFLICT");
    client
        .post("/sandboxes", json!({ "template_id": "blank", "slug": "box" }))
        .await
        .refused(409, "CONFLICT");
    assert_eq!(emulator.app.machines.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_leaves_the_rest() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let other = create(&client, json!({ "name": "taken" })).await;
    let sandbox =
        create(&client, json!({ "name": "one", "tags": ["t"], "metadata": { "k": 1 } })).await;
    let patched = client.patch(&path(&sandbox), json!({ "timeout_sec": 60 })).await.data(200);
    assert_eq!((&patched["name"], &patched["tags"]), (&json!("one"), &json!(["t"])));
    assert_eq!((&patched["metadata"], &patched["timeout_sec"]), (&json!({ "k": 1 }), &json!(60)));
    assert!(patched["timeout_remaining_ms"].as_i64().unwrap() <= 60_000);
    let patch = |body| client.patch("/sandboxes/one", body);
    patch(json!({ "name": "taken" })).await.refused(409, "CONFLICT");
    patch(json!({ "timeout_sec": 0 })).await.refused(422, "VALIDATION_FAILED");
    patch(json!({ "slug": "Not A Slug" })).await.refused(422, "VALIDATION_FAILED");
    let always = patch(json!({ "always_on": true })).await.data(200);
    assert_eq!(always["timeout_remaining_ms"], Value::Null);
    let unnamed =
        patch(json!({ "name": null, "tags": [], "metadata": { "z": true } })).await.data(200);
    assert_eq!((&unnamed["name"], &unnamed["tags"]), (&Value::Null, &json!([])));
    assert_eq!(unnamed["metadata"], json!({ "z": true }));
    assert_eq!(other["name"], "taken");
}

#[tokio::test]
async fn a_deleted_sandbox_is_404_and_its_machine_is_gone() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "name": "gone" })).await;
    let deleted = client.delete(&path(&sandbox)).await.data(200);
    assert_eq!((&deleted["id"], &deleted["state"]), (&sandbox["id"], &json!("destroyed")));
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
    for (method, below) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::PATCH, ""),
        (Method::POST, "/pause"),
        (Method::POST, "/stop"),
        (Method::POST, "/resume"),
        (Method::POST, "/extend"),
        (Method::POST, "/fork"),
        (Method::GET, "/usage"),
        (Method::GET, "/readiness"),
        (Method::GET, "/readiness/stream"),
    ] {
        let path = format!("{}{below}", path(&sandbox));
        client.request(method, &path).send().await.refused(404, "sandbox_not_found");
    }
    assert_eq!(events(&emulator, &sandbox).await.last().unwrap(), "sandbox.destroyed");
    // Its name is free again.
    create(&client, json!({ "name": "gone" })).await;
}

#[tokio::test]
async fn usage_is_measured_or_null_with_its_reason() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    said(&emulator, &sandbox, "for i in $(seq 20000); do :; done").await;
    let path = format!("{}/usage", path(&sandbox));
    let usage = client.get(&path).await.data(200);
    assert_eq!(usage["sandbox_id"], sandbox["id"]);
    assert_eq!(usage["measurement_status"]["active_cpu"], "measured");
    assert!(usage["active_cpu_ms"].is_u64(), "{usage}");
    assert_eq!(usage["estimated_cost_cents"], Value::Null);
    assert_eq!(usage["measurement_status"]["estimated_cost"], "not_metered");
    boot::advance(&emulator, &sandbox, 47).await;
    let usage = client.get(&path).await.data(200);
    assert_eq!(usage["runtime_sec"], 47);
    let vcpu_ms = usage["provisioned_vcpu_ms"].as_u64().unwrap();
    assert!((94_000..96_000).contains(&vcpu_ms), "{vcpu_ms}");
    client.post(&format!("{}/stop", boot::path(&sandbox)), json!({})).await.data(200);
    let usage = client.get(&path).await.data(200);
    assert_eq!(usage["active_cpu_ms"], Value::Null);
    assert_eq!(usage["measurement_status"]["active_cpu"], "unavailable");
    assert_eq!(usage["runtime_sec"], 47);
}

#[tokio::test]
async fn readiness_is_what_the_agent_says() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({})).await;
    let path = format!("{}/readiness", path(&sandbox));
    let ready = client.get(&path).await.data(200);
    assert_eq!((&ready["ready"], &ready["status"]), (&json!(true), &json!("ready")));
    assert_eq!(ready["readiness"]["components"]["command_agent"]["status"], "ready");
    let stream = client.get(&format!("{path}/stream")).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let text = String::from_utf8_lossy(&stream.body).into_owned();
    assert!(text.starts_with("event: ready\ndata: {\"ready_at\":\"20"), "{text}");
    assert!(text.ends_with("\n\n"));
    client.post(&format!("{}/stop", boot::path(&sandbox)), json!({})).await.data(200);
    let resting = client.get(&path).await.data(200);
    assert_eq!((&resting["ready"], &resting["state"]), (&json!(false), &json!("paused")));
}

#[tokio::test]
async fn a_fork_has_the_files_and_the_original_goes_on() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let body =
        json!({ "name": "source", "env": { "A": "1" }, "metadata": { "m": 1 }, "tags": ["t"] });
    let source = create(&client, body).await;
    said(&emulator, &source, "echo before > file").await;
    let fork = |body| client.post("/sandboxes/source/fork", body);
    let forked = fork(json!({})).await.data(201);
    assert_ne!(forked["id"], source["id"]);
    for field in ["size", "timeout_sec", "metadata", "tags", "workspace_id", "persistent"] {
        assert_eq!(forked[field], source[field], "{field}");
    }
    assert_eq!((&forked["name"], &forked["state"]), (&Value::Null, &json!("running")));
    assert_eq!(forked["boot_path"], "fork");
    assert_eq!(
        said(&emulator, &forked, "cat file; echo $A; echo after > file").await,
        "before\n1\n"
    );
    assert_eq!(said(&emulator, &source, "cat file").await, "before\n");
    assert_eq!(client.get(&path(&source)).await.data(200)["state"], "running");
    // The copy was for the fork alone.
    assert!(emulator.app.machines.list_snapshots().await.unwrap().is_empty());
    let other =
        fork(json!({ "name": "other", "env": { "A": "2" }, "metadata": {}, "timeout_sec": 60 }));
    let other = other.await.data(201);
    assert_eq!((&other["name"], &other["timeout_sec"]), (&json!("other"), &json!(60)));
    assert_eq!(said(&emulator, &other, "echo $A").await, "2\n");
    fork(json!({ "name": "other" })).await.refused(409, "CONFLICT");
    fork(json!({ "template_id": "node" })).await.refused(422, "VALIDATION_FAILED");
    fork(json!({ "environment": "prod" })).await.refused(501, "not_emulated");
    fork(json!({ "snapshot_id": id(&source) })).await.refused(404, "snapshot_not_found");
    assert_eq!(client.get(&path(&source)).await.data(200)["state"], "running");
    // A paused one can be forked, and stays paused.
    client.post("/sandboxes/source/pause", json!({})).await.data(200);
    let third = fork(json!({})).await.data(201);
    assert_eq!(said(&emulator, &third, "cat file").await, "before\n");
    assert_eq!(client.get(&path(&source)).await.data(200)["state"], "paused");
}

#[tokio::test]
async fn a_create_and_a_fork_can_start_from_a_snapshot() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let source = create(&client, json!({ "name": "source" })).await;
    said(&emulator, &source, "echo then > file").await;
    let snapshot = client.post("/sandboxes/source/snapshots", json!({})).await.data(201);
    said(&emulator, &source, "echo now > file").await;
    let body = json!({ "snapshot_id": snapshot["id"] });
    let created = create(&client, body.clone()).await;
    assert_eq!(created["boot_path"], "snapshot");
    let forked = client.post("/sandboxes/source/fork", body).await.data(201);
    for sandbox in [&created, &forked] {
        assert_eq!(said(&emulator, sandbox, "cat file").await, "then\n");
    }
    // The snapshot outlives its sandbox.
    client.delete(&path(&source)).await.data(200);
    let later = create(&client, json!({ "snapshot_id": snapshot["id"] })).await;
    assert_eq!(said(&emulator, &later, "cat file").await, "then\n");
}

#[tokio::test]
async fn the_same_key_creates_once() {
    let emulator = start().await;
    let client = emulator.client(KEY).with("idempotency-key", "k-1");
    let body = json!({ "template_id": "blank" });
    let (first, second) =
        tokio::join!(client.post("/sandboxes", body.clone()), client.post("/sandboxes", body));
    assert_eq!(first.data(201)["id"], second.data(201)["id"]);
    assert_eq!(emulator.app.machines.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_go_command_line_gets_no_list_of_tags_and_texts_only() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let sandbox = create(&client, json!({ "tags": ["a"], "metadata": { "n": 5, "s": "x" } })).await;
    for agent in ["miosa-go/0.2.0", "Go-http-client/1.1"] {
        let cli = emulator.client(KEY).with("user-agent", agent).unchecked("it gets no tags");
        let read = cli.get(&path(&sandbox)).await.data(200);
        assert_eq!(
            (&read["tags"], &read["metadata"]),
            (&Value::Null, &json!({ "n": "5", "s": "x" }))
        );
    }
    let sdk = emulator.client(KEY).with("user-agent", "miosa-go/2.0.2");
    assert_eq!(sdk.get(&path(&sandbox)).await.data(200)["tags"], json!(["a"]));
}

#[tokio::test]
async fn the_catalogue_says_what_can_be_started_here() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let catalogue = client.get("/templates").await;
    let (whole, data) = (catalogue.json(), catalogue.data(200));
    assert!(data.is_object() && whole["templates"] == data["templates"]);
    let first = &data["templates"][0];
    assert_eq!((&first["id"], &first["default_size"]), (&json!("miosa-sandbox"), &json!("small")));
    assert_eq!(first["sizes"][1]["resource_contract"]["contract_id"], "sandbox/small@v1");
    let blank = data["templates"].as_array().unwrap().iter().find(|t| t["id"] == "blank").unwrap();
    assert_eq!(blank["readiness"], "fast_ready");
    assert_eq!(data["readiness_states"], json!(["fast_ready", "cold_boot_only", "missing"]));

    let list = client.get("/sandbox-templates").await;
    assert_eq!(list.json()["default_template_id"], "miosa-sandbox");
    let plain = list.data(200).as_array().unwrap().len();
    let aliased = client.get("/sandbox-templates?include_aliases=true").await.data(200);
    assert!(aliased.as_array().unwrap().iter().any(|t| t["id"] == "python-3.12"));
    assert!(aliased.as_array().unwrap().len() > plain);
    let odd = client.get("/sandbox-templates?include_aliases=null").await;
    odd.refused(400, "INVALID_PARAMETER");
    assert_eq!(client.get("/sandbox-templates/python-3.12").await.data(200)["id"], "python");
    client.get("/sandbox-templates/nope").await.refused(404, "TEMPLATE_NOT_FOUND");

    let none = harness::Emulator::start().await;
    let data = none.client(KEY).get("/templates").await.data(200);
    assert_eq!(data["templates"][0]["readiness"], "missing");
}

#[tokio::test]
async fn runtimes_are_a_route_and_no_name() {
    let emulator = start().await;
    let runtimes = emulator.client(KEY).get("/sandboxes/runtimes").await.data(200);
    let standard = &runtimes[0];
    assert_eq!((&standard["id"], &standard["available"]), (&json!("standard"), &json!(true)));
    assert!(runtimes.as_array().unwrap().iter().any(|item| item["available"] == false));
}

#[tokio::test]
async fn a_row_keeps_what_the_create_said() {
    let emulator = start().await;
    let sandbox = create(&emulator.client(KEY), json!({ "env": { "A": "b" } })).await;
    let row = row(&emulator, &sandbox).await;
    assert_eq!(row.env["A"], "b");
    assert!(row.alive && row.boot_ms.is_some());
}
