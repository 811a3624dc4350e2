//! What a sandbox does by itself once its machine runs, and how it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{KEY, Sandbox, start, until};
use miosa_emulator::api::compute::sandboxes::Sandbox as Row;
use miosa_emulator::api::compute::sandboxes::startup::setup_file::SetupFile;
use miosa_emulator::http::ApiError;
use serde_json::{Value, json};
use uuid::Uuid;

/// Waits until the setup has come to its end; answers the record.
async fn set_up(sandbox: &Sandbox) -> Value {
    until(async || {
        let status = sandbox.record().await["setup_status"].clone();
        assert!(!status.is_null());
        status == "done" || status == "failed"
    })
    .await;
    sandbox.record().await
}

#[tokio::test]
async fn a_setup_file_runs_once_behind_the_create() {
    let emulator = start().await;
    let script = "echo ran >> log; sleep 0.2; echo done >> log";
    let body = json!({ "setup_file": script, "env": { "COLOUR": "blue" } });
    let sandbox = Sandbox::with(&emulator, body).await;
    let made = sandbox.record().await;
    assert_eq!((&made["ready"], &made["setup_finished_at"]), (&json!(true), &Value::Null));
    let done = set_up(&sandbox).await;
    assert_eq!((&done["setup_status"], &done["setup_error"]), (&json!("done"), &Value::Null));
    assert_eq!(done["setup_file_status"], "done");
    assert!(done["setup_started_at"].is_string() && done["setup_finished_at"].is_string());
    for action in ["/stop", "/resume"] {
        sandbox.client.post(&sandbox.at(action), json!({})).await.data(200);
    }
    assert_eq!(sandbox.exec("cat log").await["stdout"], "ran\ndone\n");
}

#[tokio::test]
async fn a_setup_file_may_name_its_interpreter_and_a_failing_one_says_why() {
    let emulator = start().await;
    let python = "#!/usr/bin/env python3\nopen('made', 'w').write('by python')\n";
    let sandbox = Sandbox::with(&emulator, json!({ "setup_file": python })).await;
    assert_eq!(set_up(&sandbox).await["setup_status"], "done");
    assert_eq!(sandbox.exec("cat made").await["stdout"], "by python");
    let failing = "echo fine; echo the reason >&2; exit 7";
    let sandbox = Sandbox::with(&emulator, json!({ "setup_file": failing })).await;
    let failed = set_up(&sandbox).await;
    assert_eq!(failed["setup_status"], "failed");
    assert_eq!(failed["setup_error"], "it ended with 7: the reason");
    // The sandbox itself is well.
    assert_eq!((&failed["state"], &failed["ready"]), (&json!("running"), &json!(true)));
}

#[tokio::test]
async fn what_is_no_setup_file_is_refused() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    for bad in [json!(""), json!("a\u{0}"), json!("x".repeat(65_537)), json!(["ls"])] {
        let body = json!({ "setup_file": bad });
        client.post("/sandboxes", body).await.refused(422, "INVALID_SETUP_FILE");
    }
    assert_eq!(client.get("/sandboxes").await.json()["total"], 0);
}

#[tokio::test]
async fn a_setup_that_a_crash_cut_off_has_failed_and_one_not_begun_runs_at_the_next_start() {
    let emulator = start().await;
    let cut_off = Sandbox::with(&emulator, json!({ "setup_file": "sleep 30" })).await;
    until(async || cut_off.record().await["setup_status"] == "running").await;
    let waiting = Sandbox::with(&emulator, json!({})).await;
    // As if the emulator had died between the machine and its setup.
    let id = Uuid::parse_str(&waiting.id).unwrap();
    let written: Result<_, ApiError> = emulator
        .app
        .store
        .write(move |tx| {
            let org = tx.get_any::<Row>(id)?.unwrap().org;
            Ok(tx.modify::<Row>(org, id, |row| {
                row.startup.setup_file = SetupFile::new("echo late > late".into()).ok();
            })?)
        })
        .await;
    assert!(written.unwrap().is_some());
    let emulator = hosted::start_on(emulator.stop_as_killed().await).await;
    let again = |old: &Sandbox| Sandbox {
        client: emulator.client(KEY),
        id: old.id.clone(),
        path: old.path.clone(),
    };
    let failed = again(&cut_off).record().await;
    assert_eq!(failed["setup_status"], "failed");
    assert!(failed["setup_finished_at"].is_string());
    let waiting = again(&waiting);
    if waiting.record().await["state"] == "paused" {
        assert_eq!(waiting.record().await["setup_status"], "pending");
        waiting.client.post(&waiting.at("/resume"), json!({})).await.data(200);
    }
    assert_eq!(set_up(&waiting).await["setup_status"], "done");
    assert_eq!(waiting.exec("cat late").await["stdout"], "late\n");
}

#[tokio::test]
async fn a_repository_is_cloned_and_a_clone_that_fails_is_told() {
    let emulator = start().await;
    let origin = Sandbox::new(&emulator).await;
    let made = origin
        .exec(
            "git init -q -b main origin && cd origin && echo hello > README && git add README && \
             git -c user.name=a -c user.email=a@b commit -qm first && git branch side && pwd",
        )
        .await;
    assert_eq!(made["exit_code"], 0, "{made}");
    let url = format!("file://{}", made["stdout"].as_str().unwrap().trim());
    let snapshot = origin.client.post(&origin.at("/snapshots"), json!({})).await.data(201);
    let body = json!({
        "snapshot_id": snapshot["id"], "github_repo_url": url, "github_branch": "side",
        "github_clone_path": "app/copy",
        "setup_file": "cat app/copy/README > seen",
    });
    let sandbox = Sandbox::with(&emulator, body).await;
    let done = set_up(&sandbox).await;
    assert_eq!(done["setup_status"], "done", "{done}");
    assert_eq!(
        (&done["setup_repos"][0]["url"], &done["setup_repos"][0]["status"]),
        (&json!(url), &json!("done"))
    );
    assert_eq!(
        sandbox.exec("cat seen; git -C app/copy branch --show-current").await["stdout"],
        "hello\nside\n"
    );
    let missing = json!({ "github_repo_url": "file:///nowhere/at/all.git" });
    let failed = set_up(&Sandbox::with(&emulator, missing).await).await;
    assert_eq!(failed["setup_status"], "failed");
    assert!(
        failed["setup_error"].as_str().unwrap().starts_with("git clone ended with"),
        "{failed}"
    );
    let refused = json!({ "github_repo_url": "--upload-pack=x" });
    origin.client.post("/sandboxes", refused).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn readiness_follows_the_probe_and_commands_need_not_wait_for_it() {
    let emulator = start().await;
    let probe = json!({ "type": "exec", "command": "test -f up" });
    let body = json!({ "readiness_probe": probe });
    let client = emulator.client(KEY);
    // The wait follows it too.
    let reply = client.post("/sandboxes?wait=2", body).await;
    let made = reply.data(201);
    assert_eq!(reply.header("x-miosa-wait-outcome"), "timeout");
    assert_eq!(
        (&made["state"], &made["ready"], &made["ready_at"]),
        (&json!("running"), &json!(false), &Value::Null)
    );
    let id = made["id"].as_str().unwrap().to_owned();
    let sandbox = Sandbox { path: format!("/sandboxes/{id}"), client, id };
    let readiness = async || sandbox.client.get(&sandbox.at("/readiness")).await.data(200);
    until(async || !readiness().await["probe"]["error"].is_null()).await;
    let pending = readiness().await;
    assert_eq!((&pending["ready"], &pending["status"]), (&json!(false), &json!("pending")));
    assert_eq!(pending["probe"]["error"], "its command ends with 1");
    // The platform's part is there.
    assert_eq!(pending["readiness"]["status"], "ready");
    sandbox.exec("touch up").await;
    until(async || readiness().await["ready"] == true).await;
    let ready = sandbox.record().await;
    assert!(ready["ready_at"].is_string());
    // New processes have to prove it anew; a thaw brings no new ones.
    sandbox.exec("rm up").await;
    for action in ["/pause", "/resume"] {
        sandbox.client.post(&sandbox.at(action), json!({})).await.data(200);
    }
    assert_eq!(sandbox.record().await["ready"], true);
    for action in ["/stop", "/resume"] {
        sandbox.client.post(&sandbox.at(action), json!({})).await.data(200);
    }
    assert_eq!(sandbox.record().await["ready"], false);
    sandbox.exec("touch up").await;
    until(async || sandbox.record().await["ready"] == true).await;
}

#[tokio::test]
async fn an_entrypoint_serves_and_the_wait_ends_when_its_port_answers() {
    let emulator = start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let serve = format!("exec python3 -m http.server {port} --bind 127.0.0.1");
    for probe in [
        json!({ "type": "http", "url": format!("http://localhost:{port}/") }),
        json!({ "type": "tcp", "port": port }),
    ] {
        let client = emulator.client(KEY);
        let body = json!({ "entrypoint": serve, "readiness_probe": probe });
        let reply = client.post("/sandboxes?wait=30", body).await;
        let made = reply.data(201);
        assert_eq!(reply.header("x-miosa-wait-outcome"), "ready", "{made}");
        assert_eq!(made["entrypoint"], json!(serve));
        let id = made["id"].as_str().unwrap().to_owned();
        let sandbox = Sandbox { path: format!("/sandboxes/{id}"), client, id };
        let get = format!(
            "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:{port}\").status)'"
        );
        assert_eq!(sandbox.exec(&get).await["stdout"], "200\n");
        // It is started again with the machine.
        for action in ["/stop", "/resume"] {
            sandbox.client.post(&sandbox.at(action), json!({})).await.data(200);
        }
        until(async || sandbox.record().await["ready"] == true).await;
        assert_eq!(sandbox.exec(&get).await["stdout"], "200\n");
        sandbox.client.delete(&sandbox.path).await.data(200);
    }
}

#[tokio::test]
async fn a_run_makes_a_sandbox_and_answers_what_its_first_command_said() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    let body = json!({
        "command": "echo $COLOUR; pwd; echo no >&2; exit 3", "env": { "COLOUR": "blue" }, "name": "one-shot",
        "persistent": false, "timeout": 30, "metadata": { "k": "v" },
    });
    let reply = client.post("/sandboxes/run", body).await;
    let (made, whole) = (reply.data(201), reply.json());
    assert_eq!((&made["name"], &made["state"]), (&json!("one-shot"), &json!("running")));
    assert_eq!((&made["persistent"], &made["metadata"]), (&json!(false), &json!({ "k": "v" })));
    let exec = &whole["exec"];
    assert_eq!((&exec["exit_code"], &exec["stderr"]), (&json!(3), &json!("no\n")));
    assert!(exec["stdout"].as_str().unwrap().starts_with("blue\n"), "{exec}");
    assert_eq!(&made["exec"], exec);
    // It is a sandbox like any other.
    let id = made["id"].as_str().unwrap();
    client.get(&format!("/sandboxes/{id}")).await.data(200);
}

#[tokio::test]
async fn a_run_that_cannot_start_its_command_leaves_no_sandbox() {
    let emulator = start().await;
    let client = emulator.client(KEY);
    for (body, status, code) in [
        (json!({}), 422, "VALIDATION_FAILED"),
        (json!({ "command": "true", "timeout": 601 }), 422, "TIMEOUT_TOO_LONG"),
        (json!({ "command": "true", "cwd": "/not/there" }), 422, "VALIDATION_FAILED"),
        (json!({ "command": "true", "template_id": "nope" }), 404, "TEMPLATE_NOT_FOUND"),
    ] {
        client.post("/sandboxes/run", body).await.refused(status, code);
    }
    assert_eq!(client.get("/sandboxes?include_errored=true").await.json()["total"], 0);
    assert!(emulator.app.machines.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_under_a_key_runs_once() {
    let emulator = start().await;
    let client = emulator.client(KEY).with("idempotency-key", "run");
    let body = json!({ "command": "date +%N" });
    let first = client.post("/sandboxes/run", body.clone()).await;
    let second = client.post("/sandboxes/run", body).await;
    assert_eq!(first.data(201), second.data(201));
    assert_eq!(emulator.client(KEY).get("/sandboxes").await.json()["total"], 1);
}

#[tokio::test]
async fn a_template_start_installs_serves_and_says_where() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = sandbox.at("/template/start");
    let begin = async |body: Value| sandbox.client.post(&path, body).await;
    begin(json!({})).await.refused(422, "VALIDATION_FAILED");
    begin(json!({ "start_command": "x", "start_timeout_sec": 9999 }))
        .await
        .refused(422, "TIMEOUT_TOO_LONG");
    let failed =
        begin(json!({ "install_command": "echo no >&2; exit 4", "start_command": "true" }))
            .await
            .data(200);
    assert_eq!(
        (&failed["status"], &failed["preview_url"]),
        (&json!("install_failed"), &Value::Null)
    );
    assert_eq!(
        (&failed["install"]["exit_code"], &failed["install"]["error"]),
        (&json!(4), &json!("no"))
    );
    let started = begin(json!({
        "install_command": "mkdir -p site && echo it works > site/index.html",
        "start_command": format!("python3 -m http.server {port} --bind 127.0.0.1 --directory site"),
        "port": port, "start_timeout_sec": 30,
        "readiness_probe": { "type": "http", "port": port, "path": "/index.html" },
    }))
    .await
    .data(200);
    assert_eq!(
        (&started["status"], &started["ready"]),
        (&json!("running"), &json!(true)),
        "{started}"
    );
    let previews = sandbox.client.get(&sandbox.at("/previews")).await.data(200);
    assert_eq!(previews[0]["url"], started["preview_url"]);
    assert_eq!((&previews[0]["port"], &previews[0]["ready"]), (&json!(port), &json!(true)));
    let dead = begin(json!({ "start_command": "exit 1", "port": 1, "start_timeout_sec": 1 }))
        .await
        .data(200);
    assert_eq!((&dead["status"], &dead["ready"]), (&json!("not_ready"), &json!(false)));
    assert!(dead["readiness_error"].is_string());
}
