//! The account-wide side of snapshots through real HTTP: history, dependents, names, files, forks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use harness::{Client, Reply};
use hosted::{Sandbox, start, start_on, until};
use http::Method;
use serde_json::{Value, json};

async fn keep(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/snapshots"), body).await.data(201)
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

fn ids(reply: &Reply) -> Vec<String> {
    reply.data(200).as_array().unwrap().iter().map(|item| id(item).to_owned()).collect()
}

async fn restore(sandbox: &Sandbox, snapshot: &Value) {
    let path = sandbox.at(&format!("/restore/{}", id(snapshot)));
    sandbox.client.post(&path, json!({})).await.data(200);
}

async fn text(client: &Client, sandbox: &Value, path: &str) -> Option<String> {
    let path = format!("/sandboxes/{}/fs/read?path={path}", id(sandbox));
    let reply = client.get(&path).await;
    (reply.status != 404).then(|| reply.data(200)["content"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_history_is_searched_by_machine_and_grouped_by_it() {
    let emulator = start().await;
    let one = Sandbox::with(&emulator, json!({ "name": "Marketing Page" })).await;
    let other = Sandbox::new(&emulator).await;
    let client = &one.client;
    let first = keep(&one, json!({})).await;
    let second = keep(&other, json!({ "comment": "of the other" })).await;
    let third = keep(&one, json!({})).await;
    assert_eq!(ids(&client.get("/snapshots").await), [id(&third), id(&second), id(&first)]);
    for (search, found) in
        [("marketing", vec![id(&third), id(&first)]), (other.id.as_str(), vec![id(&second)])]
    {
        assert_eq!(ids(&client.get(&format!("/snapshots?q={search}")).await), found, "{search}");
    }
    let rest = client.get("/snapshots?limit=1&offset=2").await;
    assert_eq!(
        (ids(&rest), &rest.json()["page"]["total"]),
        (vec![id(&first).to_owned()], &json!(3))
    );
    assert_eq!(client.get("/snapshots").await.json()["page"]["page_size"], 50);
    client.get("/snapshots?limit=200").await.data(200);
    client.get("/snapshots?limit=201").await.refused(400, "INVALID_PARAMETER");

    let groups = client.get("/snapshots/groups").await;
    let shown: Vec<(Value, Value, Value)> = groups
        .data(200)
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (
                group["resource"]["id"].clone(),
                group["snapshot_count"].clone(),
                group["latest_snapshot"]["id"].clone(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (json!(one.id), json!(2), third["id"].clone()),
            (json!(other.id), json!(1), second["id"].clone()),
        ]
    );
    assert_eq!(groups.data(200)[0]["resource"]["name"], "Marketing Page");
    let part = client.get("/snapshots/groups?limit=1&offset=1").await;
    assert_eq!(part.data(200)[0]["resource"]["id"], other.id);
    assert_eq!(part.json()["page"]["total"], 2);
    let stranger = emulator.client("msk_test_other");
    assert_eq!(stranger.get("/snapshots/groups").await.data(200), json!([]));
}

#[tokio::test]
async fn what_another_snapshot_stands_on_cannot_be_deleted() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = &sandbox.client;
    let base = keep(&sandbox, json!({})).await;
    restore(&sandbox, &base).await;
    let child = keep(&sandbox, json!({ "comment": "on top" })).await;
    assert_eq!(child["parent_snapshot_id"], base["id"]);
    let dependents = json!([{ "type": "child_snapshot", "id": child["id"], "label": "on top" }]);
    let flat = client.get(&format!("/snapshots/{}", id(&base))).await;
    assert_eq!((&flat.data(200)["id"], &flat.json()["dependents"]), (&base["id"], &dependents));
    for path in
        [format!("/snapshots/{}", id(&base)), sandbox.at(&format!("/snapshots/{}", id(&base)))]
    {
        let error = client.delete(&path).await.refused(409, "SNAPSHOT_IN_USE");
        assert_eq!(
            (&error["details"]["dependents"], &error["retryable"]),
            (&dependents, &json!(false))
        );
    }
    client.get(&format!("/snapshots/{}", id(&base))).await.data(200);
    // Alone it is blocked, and the answer tells what became of it all the same.
    let blocked = client.post("/snapshots/delete", json!({ "ids": [base["id"]] })).await;
    let error = blocked.refused(409, "SNAPSHOT_IN_USE");
    assert_eq!(blocked.json()["blocked"][0]["dependents"], dependents);
    assert_eq!(
        (&blocked.json()["deleted"], &error["details"]["deleted"]),
        (&json!([]), &json!([]))
    );
    // Together with what blocks it, both go, in whatever order they are named.
    let body = json!({ "ids": [base["id"], child["id"], "no-id"] });
    let gone = client.post("/snapshots/delete", body).await;
    let mut deleted: Vec<Value> = gone.data(200)["deleted"].as_array().unwrap().clone();
    deleted.sort_by_key(ToString::to_string);
    let mut both = vec![base["id"].clone(), child["id"].clone()];
    both.sort_by_key(ToString::to_string);
    assert_eq!((deleted, &gone.json()["not_found"]), (both, &json!(["no-id"])));
    until(async || emulator.app.machines.list_snapshots().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_whole_history_goes_only_when_it_is_named_twice() {
    let emulator = start().await;
    let (sandbox, other) = (Sandbox::new(&emulator).await, Sandbox::new(&emulator).await);
    let client = &sandbox.client;
    keep(&sandbox, json!({})).await;
    let kept = keep(&sandbox, json!({})).await;
    let others = keep(&other, json!({})).await;
    client
        .post("/named-snapshots", json!({ "name": "kept", "snapshot_id": kept["id"] }))
        .await
        .data(201);
    for (body, field) in [
        (json!({ "resource_id": sandbox.id, "all": true }), "confirm"),
        (json!({ "resource_id": sandbox.id, "all": true, "confirm": other.id }), "confirm"),
        (json!({ "resource_id": sandbox.id, "confirm": sandbox.id }), "all"),
        (json!({ "ids": ["a"], "resource_id": sandbox.id }), "ids"),
        (json!({}), "ids"),
    ] {
        let error =
            client.post("/snapshots/delete", body.clone()).await.refused(422, "VALIDATION_FAILED");
        assert_eq!(error["details"][0]["field"], field, "{body}");
    }
    let body = json!({ "resource_id": sandbox.id, "all": true, "confirm": sandbox.id });
    let request = || {
        client.request(Method::POST, "/snapshots/delete").header("idempotency-key", "k").json(&body)
    };
    let gone = request().send().await;
    assert_eq!(gone.data(200)["deleted_count"], 1);
    assert_eq!(request().send().await.data(200), gone.data(200));
    assert_eq!(ids(&client.get("/snapshots").await), [id(&others)]);
    client.get(&format!("/snapshots/{}", id(&kept))).await.data(200);
}

#[tokio::test]
async fn a_name_keeps_one_snapshot_out_of_the_history_and_from_its_end() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "always_on": true })).await;
    let client = &sandbox.client;
    let made = keep(&sandbox, json!({ "retention_seconds": 60 })).await;
    let body = json!({ "name": "golden", "snapshot_id": made["id"] });
    let named = client.post("/named-snapshots", body.clone()).await;
    assert_eq!(
        (&named.data(201)["snapshot_id"], &named.json()["name"]),
        (&made["id"], &json!("golden"))
    );
    client.post("/named-snapshots", body).await.refused(409, "SNAPSHOT_ALREADY_NAMED");
    let second = keep(&sandbox, json!({ "keep": true })).await;
    let taken = json!({ "name": "golden", "snapshot_id": second["id"] });
    client.post("/named-snapshots", taken).await.refused(409, "NAME_TAKEN");
    let taken = json!({ "name": "golden", "sandbox_id": sandbox.id });
    client.post("/named-snapshots", taken).await.refused(409, "NAME_TAKEN");
    assert_eq!(ids(&client.get("/snapshots").await), [id(&second)]);
    let flat = client.get(&format!("/snapshots/{}", id(&made))).await;
    assert_eq!(flat.json()["dependents"][0]["type"], "named_snapshot");
    assert_eq!(flat.json()["dependents"][0]["label"], "golden");
    client.delete(&format!("/snapshots/{}", id(&made))).await.refused(409, "SNAPSHOT_IN_USE");
    client.advance(3600).await;
    let read = client.get("/named-snapshots/golden").await;
    assert_eq!(
        (&read.data(200)["snapshot"]["id"], &read.json()["dependents"]),
        (&made["id"], &json!([]))
    );
    assert_eq!(ids(&client.get("/named-snapshots").await), [id(&named.json())]);
    let gone = client.delete("/named-snapshots/golden").await;
    assert_eq!(gone.data(200)["outcome"], "released");
    client.get("/named-snapshots/golden").await.refused(404, "named_snapshot_not_found");
    // Back in the history, its time begins anew.
    assert_eq!(ids(&client.get("/snapshots").await), [id(&second), id(&made)]);
    client.advance(61).await;
    until(async || ids(&client.get("/snapshots").await) == [id(&second)]).await;
}

#[tokio::test]
async fn a_snapshot_that_was_taken_for_a_name_goes_with_it_unless_others_stand_on_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = &sandbox.client;
    sandbox.write("a", "golden").await;
    for (outcome, name) in [("deleted", "one"), ("kept", "two")] {
        let body = json!({ "name": name, "sandbox_id": sandbox.id });
        let named = client.post("/named-snapshots", body).await.data(201);
        assert_eq!(named["snapshot"]["status"], "ready");
        let snapshot = json!({ "id": named["snapshot_id"] });
        if outcome == "kept" {
            restore(&sandbox, &snapshot).await;
            keep(&sandbox, json!({})).await;
        }
        let gone = client.delete(&format!("/named-snapshots/{name}")).await;
        assert_eq!(gone.data(200)["outcome"], outcome);
        let status = client.get(&format!("/snapshots/{}", id(&snapshot))).await.status;
        assert_eq!(status, if outcome == "kept" { 200 } else { 404 });
    }
    for body in [
        json!({ "name": "x" }),
        json!({ "name": "a/b", "sandbox_id": sandbox.id }),
        json!({ "name": "", "sandbox_id": sandbox.id }),
    ] {
        client.post("/named-snapshots", body).await.refused(422, "VALIDATION_FAILED");
    }
    let computer = json!({ "name": "x", "computer_id": "c" });
    client.post("/named-snapshots", computer).await.refused(501, "not_emulated");
}

#[tokio::test]
async fn another_sandbox_is_made_from_a_snapshot_whose_own_is_gone() {
    let emulator = start().await;
    let body = json!({ "name": "first", "env": { "COLOR": "blue" }, "size": "xs", "metadata": { "k": "v" } });
    let sandbox = Sandbox::with(&emulator, body).await;
    let client = &sandbox.client;
    sandbox.write("a", "kept").await;
    let made = keep(&sandbox, json!({})).await;
    client
        .post("/named-snapshots", json!({ "name": "golden", "snapshot_id": made["id"] }))
        .await
        .data(201);
    client.delete(&sandbox.path).await.data(200);
    let paths = [
        format!("/snapshots/{}/fork", id(&made)),
        format!("/snapshots/{}/restore", id(&made)),
        "/named-snapshots/golden/deploy".to_owned(),
    ];
    for path in paths {
        let request = || {
            client.request(Method::POST, &path).header("idempotency-key", &path).json(&json!({}))
        };
        let reply = request().send().await;
        let other = reply.data(201);
        assert_eq!(reply.header("location"), format!("/api/v1/sandboxes/{}", id(&other)));
        // miosa-go 2.0 reads a computer's words off it.
        assert_eq!(
            (&other["status"], &other["template_type"]),
            (&json!("running"), &other["template_id"])
        );
        assert_eq!(
            (&other["size"], &other["metadata"], &other["name"]),
            (&json!("xs"), &json!({ "k": "v" }), &Value::Null)
        );
        assert_eq!(text(client, &other, "a").await.unwrap(), "kept");
        let echo = json!({ "command": "echo $COLOR" });
        let said = client.post(&format!("/sandboxes/{}/exec", id(&other)), echo).await.data(200);
        assert_eq!(said["stdout"], "blue\n");
        assert_eq!(request().send().await.data(201)["id"], other["id"]);
    }
    let refused = client
        .post(&format!("/snapshots/{}/fork", id(&made)), json!({ "environment": "prod" }))
        .await;
    refused.refused(501, "not_emulated");
    let stranger = emulator.client("msk_test_other");
    let path = format!("/snapshots/{}/fork", id(&made));
    stranger.post(&path, json!({})).await.refused(404, "snapshot_not_found");
    stranger
        .post("/named-snapshots/golden/deploy", json!({}))
        .await
        .refused(404, "named_snapshot_not_found");
}

#[tokio::test]
async fn a_fork_of_what_outlived_its_workspace_stands_where_it_can_be_found() {
    let emulator = start().await;
    let client = emulator.client("msk_test_outlived");
    let workspace = client.post("/workspaces", json!({ "name": "Brief" })).await.data(201);
    let place = json!({ "workspace_id": workspace["id"] });
    let sandbox = client.post("/sandboxes", place).await.data(201);
    let path = format!("/sandboxes/{}", id(&sandbox));
    let kept = client.post(&format!("{path}/snapshots"), json!({})).await.data(201);
    client.delete(&path).await.data(200);
    client.delete(&format!("/workspaces/{}", id(&workspace))).await;
    let fork = client.post(&format!("/snapshots/{}/fork", id(&kept)), json!({})).await.data(201);
    let field = |name: &str| fork[name].as_str().unwrap().to_owned();
    let stands = client.get(&format!("/workspaces/{}", field("workspace_id"))).await.data(200);
    assert_eq!(stands["is_default"], true);
    let project = client.get(&format!("/projects/{}", field("project_id"))).await.data(200);
    assert_eq!(project["workspace_id"], stands["id"]);
}

#[tokio::test]
async fn a_snapshots_files_are_read_without_a_machine() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = sandbox.client.clone();
    let said = sandbox
        .exec("mkdir -p dir/deep && printf hello > dir/file && chmod 640 dir/file && printf '\\377\\000x' > dir/deep/bin \\
               && ln -s file dir/link && ln -s ../../../../../../../etc dir/out && ln dir/file dir/twin && rm -rf gone")
        .await;
    assert_eq!(said["exit_code"], 0, "{said}");
    let made = keep(&sandbox, json!({})).await;
    client.delete(&sandbox.path).await.data(200);
    let at = |kind: &str, path: &str| format!("/snapshots/{}/{kind}?path={path}", id(&made));

    let tree = client.get(&at("tree", "/workspace/dir")).await;
    let entries: BTreeMap<String, Value> = tree.data(200)["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry.clone()))
        .collect();
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["deep", "file", "link", "out", "twin"]);
    let file = &entries["file"];
    assert_eq!(
        (&file["type"], &file["size"], &file["mode"]),
        (&json!("file"), &json!(5), &json!("0640"))
    );
    assert_eq!(file["path"], "/workspace/dir/file");
    assert_eq!(
        (&entries["deep"]["type"], &entries["link"]["symlink_target"]),
        (&json!("directory"), &json!("file"))
    );
    assert_eq!(tree.json()["path"], "/workspace/dir");
    let top = client.get(&format!("/snapshots/{}/tree", id(&made))).await.data(200);
    assert!(
        top["entries"].as_array().unwrap().iter().any(|entry| entry["path"] == "/workspace"),
        "{top}"
    );

    for (path, bytes) in
        [("dir/file", &b"hello"[..]), ("dir/deep/bin", b"\xff\0x"), ("dir/link", b"hello")]
    {
        let reply = client.get(&at("files", &format!("/workspace/{path}"))).await;
        assert_eq!((reply.status, &reply.body[..]), (200, bytes), "{path}");
        assert_eq!(reply.header("content-type"), "application/octet-stream");
        assert_eq!(reply.header("content-length"), bytes.len().to_string());
    }
    let folder = client.get(&at("files", "/workspace/dir")).await;
    assert_eq!((folder.status, folder.header("content-type")), (200, "application/x-tar"));
    assert!(folder.header("content-disposition").contains("dir.tar"));
    let mut archive = tar::Archive::new(&folder.body[..]);
    let mut files = BTreeMap::new();
    for member in archive.entries().unwrap() {
        let mut member = member.unwrap();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        let name = member.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        files.insert(name, content);
    }
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(
        names,
        ["dir", "dir/deep", "dir/deep/bin", "dir/file", "dir/link", "dir/out", "dir/twin"]
    );
    assert_eq!(files["dir/deep/bin"], b"\xff\0x");

    client.get(&at("tree", "/workspace/nothing")).await.refused(404, "file_not_found");
    client.get(&at("files", "/workspace/nothing")).await.refused(404, "file_not_found");
    client.get(&at("tree", "/workspace/dir/file")).await.refused(409, "CONFLICT");
    client.get(&at("files", "/workspace/../etc/passwd")).await.refused(400, "INVALID_PATH");
    let host = std::fs::read("/etc/shadow").unwrap_or_else(|_| b"unreadable".to_vec());
    let outside = client.get(&at("files", "/workspace/dir/out/shadow")).await;
    assert!(outside.body != host, "a link led out of the snapshot");
    let stranger = emulator.client("msk_test_other");
    stranger.get(&at("tree", "/")).await.refused(404, "snapshot_not_found");
    stranger.get(&at("files", "/")).await.refused(404, "snapshot_not_found");
}

#[tokio::test]
async fn a_sandbox_keeps_as_many_as_its_metadata_says_and_as_long() {
    let emulator = start().await;
    let metadata = json!({ "keep_last_snapshots": 2, "snapshot_expiration_sec": 600 });
    let sandbox =
        Sandbox::with(&emulator, json!({ "metadata": metadata, "always_on": true })).await;
    let client = &sandbox.client;
    let kept = keep(&sandbox, json!({ "keep": true })).await;
    let named = keep(&sandbox, json!({})).await;
    client
        .post("/named-snapshots", json!({ "name": "n", "snapshot_id": named["id"] }))
        .await
        .data(201);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(keep(&sandbox, json!({})).await);
    }
    assert_eq!((&made[0]["retention_seconds"], &kept["expires_at"]), (&json!(600), &Value::Null));
    let left = ids(&client.get(&sandbox.at("/snapshots")).await);
    assert_eq!(left, [id(&made[2]), id(&made[1]), id(&named), id(&kept)]);
    client.advance(601).await;
    until(async || ids(&client.get("/snapshots").await) == [id(&kept)]).await;
    until(async || emulator.app.machines.list_snapshots().await.unwrap().len() == 2).await;
}

#[tokio::test]
async fn names_and_what_they_keep_outlive_the_emulator() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.write("a", "golden").await;
    let body = json!({ "name": "golden", "sandbox_id": sandbox.id });
    sandbox.client.post("/named-snapshots", body).await.data(201);
    let emulator = start_on(emulator.stop().await).await;
    let client = emulator.client(hosted::KEY);
    let other = client.post("/named-snapshots/golden/deploy", json!({})).await.data(201);
    assert_eq!(text(&client, &other, "a").await.unwrap(), "golden");
    tokio::time::timeout(Duration::from_secs(30), emulator.app.machines.settle()).await.unwrap();
}

/// What the Go SDK and command line, the Elixir SDK and the ComputeSDK provider read.
#[tokio::test]
async fn each_client_finds_a_snapshot_in_its_own_shape() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "name": "my-box" })).await;
    let client = &sandbox.client;
    // miosa-go 2.0: every spelling of retention, dates as RFC 3339.
    let body =
        json!({ "comment": "c", "keep": false, "expiration_days": 1, "retention_seconds": 86400 });
    let made = client.post(&sandbox.at("/snapshots"), body).await.data(201);
    assert_eq!(
        (&made["sandbox_id"], &made["retention_seconds"]),
        (&json!(sandbox.id), &json!(86400))
    );
    for field in ["created_at", "updated_at", "expires_at"] {
        let text = made[field].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(text).is_ok(), "{field}: {text}");
    }
    assert_eq!(made["last_used_at"], Value::Null);
    // The command line puts a name where the id goes, and reads a snapshot without its sandbox.
    let go = client.clone().with("user-agent", "miosa-go/0.2.0");
    let listed = go.get("/sandboxes/my-box/snapshots").await;
    assert_eq!(listed.data(200)[0]["id"], made["id"]);
    assert_eq!(go.get(&format!("/snapshots/{}", id(&made))).await.data(200)["comment"], "c");
    let restore = go.request(Method::POST, &format!("/sandboxes/my-box/restore/{}", id(&made)));
    let restored = restore.unchecked("it gets no tags").send().await;
    assert_eq!(restored.data(200)["metadata"], json!({}));
    assert_eq!(go.delete(&format!("/snapshots/{}", id(&made))).await.status, 204);
    // ComputeSDK: `data` or bare, whichever it looks at.
    let body = json!({ "comment": "provider" });
    let reply = client.post(&sandbox.at("/snapshots"), body).await;
    for field in ["id", "sandbox_id", "status", "comment", "created_at"] {
        assert_eq!(reply.json()[field], reply.json()["data"][field], "{field}");
    }
    // miosa-elixir 1.1 calls the comment a name.
    let reply = client.post(&sandbox.at("/snapshots"), json!({ "name": "n" })).await;
    assert_eq!(reply.data(201)["comment"], "n");
}
