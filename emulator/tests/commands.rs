//! `/commands` in both forms, and what official clients need of commands on any route.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{Sandbox, start, until};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn run(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/commands"), body).await.data(200)
}

#[tokio::test]
async fn a_command_is_answered_when_it_has_ended() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    sandbox.exec("mkdir app").await;
    let body = json!({ "command": "cat; pwd; echo err >&2; exit 3", "stdin": "in\n", "cwd": "app", "timeout_seconds": 5 });
    let result = run(&sandbox, body).await;
    let stdout = result["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("in\n/") && stdout.ends_with("/app\n"), "{stdout}");
    assert_eq!((&result["stderr"], &result["exit_code"]), (&json!("err\n"), &json!(3)));
    assert_eq!((&result["timed_out"], &result["stdout_truncated"]), (&json!(false), &json!(false)));
    assert!(result["duration_ms"].is_u64());
    assert_eq!(sandbox.client.get(&sandbox.at("/commands")).await.data(200), json!([]));
}

#[tokio::test]
async fn a_command_over_its_time_is_a_result_and_over_the_bound_a_refusal() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let result =
        run(&sandbox, json!({ "command": "echo a; exec sleep 300", "timeout_seconds": 1 })).await;
    assert_eq!((&result["timed_out"], &result["exit_code"]), (&json!(true), &json!(-1)));
    assert_eq!(result["stdout"], "a\n");
    for seconds in [601, 30_000] {
        let body = json!({ "command": "true", "timeout_seconds": seconds });
        sandbox.client.post(&sandbox.at("/commands"), body).await.refused(422, "TIMEOUT_TOO_LONG");
    }
    for body in [
        json!({ "command": "x".repeat(65_537) }),
        json!({ "command": "cat", "stdin": "x".repeat(32_769) }),
    ] {
        sandbox.client.post(&sandbox.at("/commands"), body).await.refused(422, "VALIDATION_FAILED");
    }
    let most = run(&sandbox, json!({ "command": "wc -c", "stdin": "x".repeat(32_768) })).await;
    assert_eq!(most["stdout"].as_str().unwrap().trim(), "32768");
}

#[tokio::test]
async fn too_much_output_and_bytes_that_are_no_text_are_said() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let result =
        run(&sandbox, json!({ "command": "head -c 9000000 /dev/zero; printf 'a\\377' >&2" })).await;
    assert_eq!(result["stdout_truncated"], true);
    assert_eq!(
        (&result["stderr"], &result["stderr_base64"]),
        (&json!("a\u{fffd}"), &json!("Yf8="))
    );
}

#[tokio::test]
async fn a_detached_command_is_started_read_and_ended() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    // As miosa-python asks, and as older command lines do.
    let detached = json!({ "command": "echo up; exec sleep 300", "detached": true, "name": "job" });
    let started = sandbox.client.post(&sandbox.at("/commands"), detached).await.data(201);
    assert!(started["id"].as_str().unwrap().starts_with("cmd_"));
    assert_eq!((&started["status"], &started["name"]), (&json!("running"), &json!("job")));
    let older = json!({ "command": "cat", "sudo": false, "tty": false, "interactive": true, "cwd": "/tmp" });
    let older = sandbox.client.post(&sandbox.at("/commands"), older).await.data(201);
    let pid = started["pid"].as_str().unwrap();
    let at = |rest: &str| sandbox.at(&format!("/commands/{pid}{rest}"));
    assert_eq!(sandbox.client.get(&at("")).await.data(200)["status"], "running");
    let mut logs = Value::Null;
    until(async || {
        logs = sandbox.client.get(&at("/logs")).await.data(200);
        logs["lines"] == json!(["up"])
    })
    .await;
    assert_eq!(logs["text"], "up\n");
    let killed = sandbox.client.post(&at("/kill"), json!({})).await.data(200);
    assert_eq!((&killed["status"], &killed["signal"]), (&json!("stopped"), &json!(15)));
    assert!(!sandbox.runs(pid.parse().unwrap()).await);
    // Its input is open; by its id it is found as well, and a signal is a signal.
    let id = older["id"].as_str().unwrap();
    let named = sandbox.at(&format!("/commands/{id}"));
    assert_eq!(sandbox.client.get(&named).await.data(200)["status"], "running");
    sandbox.client.post(&format!("{named}/kill"), json!({ "signal": "KILL" })).await.data(200);
    until(async || sandbox.client.get(&named).await.data(200)["signal"] == 9).await;
    let list = sandbox.client.get(&sandbox.at("/commands")).await;
    assert_eq!(list.data(200).as_array().unwrap().len(), 2);
    assert_eq!(list.json()["commands"], list.data(200));
    // What `/processes` has started is no command.
    let body = json!({ "command": "exec sleep 300" });
    let process = sandbox.client.post(&sandbox.at("/processes"), body).await.data(201);
    let path = sandbox.at(&format!("/commands/{}", process["pid"].as_str().unwrap()));
    sandbox.client.get(&path).await.refused(404, "command_not_found");
}

#[tokio::test]
async fn a_detached_command_without_input_finds_the_end_of_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (body, text) in [
        (json!({ "command": "cat; echo end", "detached": true }), "end\n"),
        (json!({ "command": "cat; echo end", "detached": true, "stdin": "in\n" }), "in\nend\n"),
    ] {
        let started = sandbox.client.post(&sandbox.at("/commands"), body).await.data(201);
        let path = sandbox.at(&format!("/commands/{}", started["pid"].as_str().unwrap()));
        until(async || sandbox.client.get(&path).await.data(200)["status"] == "exited").await;
        assert_eq!(sandbox.client.get(&format!("{path}/logs")).await.data(200)["text"], text);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_what_it_started_unless_detached() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let shell = |file: &str| json!({ "command": format!("echo $$ > {file}; exec sleep 300") });
    let python = "import os, time\nopen('{}', 'w').write(str(os.getpid()))\ntime.sleep(300)";
    for (route, body) in [
        ("/exec", shell("exec.pid")),
        ("/commands", shell("commands.pid")),
        ("/exec/python", json!({ "code": python.replace("{}", "python.pid") })),
    ] {
        let file = format!("{}.pid", route.rsplit('/').next().unwrap());
        let (client, path) = (sandbox.client.clone(), sandbox.at(route));
        let request = tokio::spawn(async move {
            let answer = client.request(Method::POST, &path).json(&body).open().await;
            answer.into_body().collect().await.map(|_| ())
        });
        let pid = sandbox.pid_in(&file).await;
        assert!(sandbox.runs(pid).await, "{route}");
        request.abort();
        until(async || !sandbox.runs(pid).await).await;
    }
    for route in ["/commands", "/exec"] {
        let file = format!("{}.detached", route.trim_start_matches('/'));
        let mut detached = shell(&file);
        detached["detached"] = true.into();
        let started = sandbox.client.post(&sandbox.at(route), detached).await.data(201);
        assert_eq!(started["job_id"], started["id"], "{route}");
        let pid = sandbox.pid_in(&file).await;
        assert!(sandbox.runs(pid).await, "{route}");
        let path = sandbox.at(&format!("/commands/{}", started["job_id"].as_str().unwrap()));
        assert_eq!(sandbox.client.get(&path).await.data(200)["status"], "running", "{route}");
    }
}

#[tokio::test]
async fn python_is_run_from_a_file_that_goes_away() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let code = "import sys\nprint(__file__)\nprint('err', file=sys.stderr)\nsys.exit(3)";
    let reply = sandbox.client.post(&sandbox.at("/exec/python"), json!({ "code": code })).await;
    let result = reply.data(200);
    assert_eq!((&result["exit_code"], &result["stderr"]), (&json!(3), &json!("err\n")));
    assert_eq!(reply.json()["output"], result["output"]);
    let file = result["stdout"].as_str().unwrap().trim().to_owned();
    assert!(file.starts_with("/tmp/"), "{file}");
    until(async || sandbox.exec(&format!("test -e {file}")).await["exit_code"] == 1).await;
    let late = json!({ "code": "import time\ntime.sleep(300)", "timeout": 1 });
    let late = sandbox.client.post(&sandbox.at("/exec/python"), late).await.data(200);
    assert_eq!((&late["timed_out"], &late["exit_code"]), (&json!(true), &json!(-1)));
    let broken = sandbox.client.post(&sandbox.at("/exec/python"), json!({ "code": "1/0" })).await;
    assert!(broken.data(200)["stderr"].as_str().unwrap().contains("ZeroDivisionError"));
    let empty = sandbox.client.post(&sandbox.at("/exec/python"), json!({ "code": "" })).await;
    empty.refused(422, "VALIDATION_FAILED");
}

/// Go reads `output`, `exit_code` and `success` bare; the command line and ComputeSDK read `data`.
#[tokio::test]
async fn a_result_has_every_clients_keys_bare_and_under_data() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (route, body) in [
        ("/exec", json!({ "command": "echo a" })),
        ("/commands", json!({ "command": "echo a" })),
        ("/exec/python", json!({ "code": "print('a')" })),
    ] {
        let reply = sandbox.client.post(&sandbox.at(route), body).await;
        for keys in [reply.json(), reply.data(200)] {
            assert_eq!(
                (&keys["stdout"], &keys["output"]),
                (&json!("a\n"), &json!("a\n")),
                "{route}"
            );
            assert_eq!((&keys["stderr"], &keys["exit_code"]), (&json!(""), &json!(0)), "{route}");
            assert_eq!(keys["success"], true, "{route}");
            assert!(keys["duration_ms"].is_u64(), "{route}");
        }
    }
}

/// Go and ComputeSDK send seconds, the Elixir client milliseconds.
#[tokio::test]
async fn a_timeout_is_in_the_unit_of_its_client() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let body = json!({ "command": "exec sleep 300", "timeout": 700 });
    sandbox.client.post(&sandbox.at("/exec"), body.clone()).await.refused(422, "TIMEOUT_TOO_LONG");
    let elixir = sandbox.client.clone().with("user-agent", "miosa-elixir/1.1.0");
    let result = elixir.post(&sandbox.at("/exec"), body.clone()).await.data(200);
    assert_eq!(result["timed_out"], true);
    let started = elixir.post(&sandbox.at("/processes"), body).await.data(201);
    let path = sandbox.at(&format!("/processes/{}", started["pid"].as_str().unwrap()));
    until(async || sandbox.client.get(&path).await.data(200)["timed_out"] == true).await;
}

/// ComputeSDK sends `cwd`, the Elixir client `working_dir`, the command line `dir`.
#[tokio::test]
async fn a_directory_is_read_in_every_spelling() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for field in ["cwd", "working_dir", "dir"] {
        for route in ["/exec", "/commands"] {
            let body = json!({ "command": "pwd", field: "/tmp" });
            let result = sandbox.client.post(&sandbox.at(route), body).await.data(200);
            assert_eq!(result["stdout"], "/tmp\n", "{route} {field}");
        }
    }
}
