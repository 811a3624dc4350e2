//! Interpreters that remember, through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{Sandbox, start, start_on, until};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn run(sandbox: &Sandbox, body: Value) -> Value {
    sandbox.client.post(&sandbox.at("/code/run"), body).await.data(200)
}

async fn python(sandbox: &Sandbox, code: &str) -> Value {
    run(sandbox, json!({ "code": code })).await
}

async fn javascript(sandbox: &Sandbox, code: &str) -> Value {
    run(sandbox, json!({ "code": code, "language": "javascript" })).await
}

async fn contexts(sandbox: &Sandbox, query: &str) -> Value {
    let reply = sandbox.client.get(&sandbox.at(&format!("/code/contexts{query}"))).await;
    assert_eq!(reply.data(200)["contexts"], reply.json()["contexts"]);
    reply.json()["contexts"].clone()
}

#[tokio::test]
async fn what_a_cell_defines_the_next_one_finds() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let first =
        python(&sandbox, "import math\nx = 41\ndef f(): return x + 1\nprint('hello')").await;
    assert_eq!((&first["ok"], &first["stdout"]), (&json!(true), &json!("hello\n")), "{first}");
    assert_eq!((&first["result"], &first["language"]), (&Value::Null, &json!("python")));
    assert_eq!((&first["context_created"], &first["context"]), (&json!(true), &json!("default")));
    let second = python(&sandbox, "f()").await;
    assert_eq!((&second["result"], &second["context_created"]), (&json!(42), &json!(false)));
    assert_eq!(
        python(&sandbox, "[math.floor(2.5), 'é', None]").await["result"],
        json!([2, "é", null])
    );
    // What JSON cannot say is its representation.
    assert_eq!(python(&sandbox, "{1, 2}").await["result"], "{1, 2}");
    assert_eq!(python(&sandbox, "(1, 2)").await["result"], "(1, 2)");
}

#[tokio::test]
async fn javascript_remembers_as_well() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let first = javascript(
        &sandbox,
        "const x = 41; let y = 1; function f() { return x + y }\nconsole.log('hello')",
    )
    .await;
    assert_eq!((&first["ok"], &first["stdout"]), (&json!(true), &json!("hello\n")), "{first}");
    assert_eq!(javascript(&sandbox, "f()").await["result"], 42);
    assert_eq!(javascript(&sandbox, "({ a: [1, 'é'] })").await["result"], json!({ "a": [1, "é"] }));
    assert_eq!(javascript(&sandbox, "Promise.resolve(7)").await["result"], 7);
    assert_eq!(javascript(&sandbox, "require('path').join('a', 'b')").await["result"], "a/b");
    let error = javascript(&sandbox, "null.x").await;
    assert_eq!((&error["ok"], &error["error"]["name"]), (&json!(false), &json!("TypeError")));
    assert!(error["stderr"].as_str().unwrap().contains("TypeError"), "{error}");
    let child = javascript(
        &sandbox,
        "require('child_process').spawnSync('echo', ['child'], { stdio: 'inherit' }); 1",
    )
    .await;
    assert_eq!(child["stdout"], "child\n", "{child}");
    // A promise that nobody waits for does not end the interpreter.
    javascript(&sandbox, "Promise.reject(new Error('nobody')); 1").await;
    assert_eq!(javascript(&sandbox, "x").await["result"], 41);
}

#[tokio::test]
async fn an_error_is_a_result_with_its_traceback() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "x = 1").await;
    let error = python(&sandbox, "def g():\n    return 1 / 0\nprint('before')\ng()").await;
    assert_eq!((&error["ok"], &error["stdout"]), (&json!(false), &json!("before\n")));
    assert_eq!(error["error"]["name"], "ZeroDivisionError");
    let traceback = error["traceback"].as_str().unwrap();
    assert!(traceback.contains("line 2, in g") && !traceback.contains("<string>"), "{traceback}");
    // Official clients look at `stderr` alone.
    assert_eq!(error["stderr"], error["traceback"]);
    let syntax = python(&sandbox, "x = (").await;
    assert_eq!(syntax["error"]["name"], "SyntaxError");
    assert_eq!(python(&sandbox, "x").await["result"], 1);
}

#[tokio::test]
async fn contexts_do_not_meet_and_a_reset_forgets() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    assert_eq!(contexts(&sandbox, "").await, json!([]));
    run(&sandbox, json!({ "code": "x = 'a'", "context": "a" })).await;
    run(&sandbox, json!({ "code": "x = 'b'", "context": "b" })).await;
    run(&sandbox, json!({ "code": "var x = 'js'", "context": "a", "language": "javascript" }))
        .await;
    let a = run(&sandbox, json!({ "code": "x", "context": "a" })).await;
    assert_eq!(a["result"], "a");
    assert_eq!(contexts(&sandbox, "").await, json!(["a", "b"]));
    assert_eq!(contexts(&sandbox, "?language=javascript").await, json!(["a"]));
    let reset = sandbox.client.delete(&sandbox.at("/code/contexts/a?language=python")).await;
    assert_eq!(reset.status, 204);
    let anew = run(&sandbox, json!({ "code": "x", "context": "a" })).await;
    assert_eq!(
        (&anew["error"]["name"], &anew["context_created"]),
        (&json!("NameError"), &json!(true))
    );
    let kept =
        run(&sandbox, json!({ "code": "x", "context": "a", "language": "javascript" })).await;
    assert_eq!(kept["result"], "js");
    assert_eq!(sandbox.client.delete(&sandbox.at("/code?language=python")).await.status, 204);
    assert_eq!(contexts(&sandbox, "?language=python").await, json!([]));
    assert_eq!(sandbox.client.delete(&sandbox.at("/code")).await.status, 204);
    assert_eq!(contexts(&sandbox, "").await, json!([]));
}

#[tokio::test]
async fn a_timeout_ends_the_cell_and_says_what_became_of_the_context() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "x = 1").await;
    let code = "import time\nprint('before', flush=True)\ntime.sleep(300)";
    let late = run(&sandbox, json!({ "code": code, "timeout": 1 })).await;
    assert_eq!((&late["ok"], &late["timed_out"]), (&json!(false), &json!(true)), "{late}");
    assert_eq!((&late["stdout"], &late["context_lost"]), (&json!("before\n"), &json!(false)));
    assert!(late["stderr"].as_str().unwrap().contains("TimeoutError"));
    assert_eq!(python(&sandbox, "x").await["result"], 1);
    // One that does not let itself be interrupted takes its context with it.
    let deaf = "import time\nwhile True:\n    try:\n        time.sleep(300)\n    except BaseException:\n        pass";
    let killed = run(&sandbox, json!({ "code": deaf, "timeout": 1 })).await;
    assert_eq!((&killed["timed_out"], &killed["context_lost"]), (&json!(true), &json!(true)));
    let anew = python(&sandbox, "'x' in globals()").await;
    assert_eq!((&anew["result"], &anew["context_created"]), (&json!(false), &json!(true)));
    let busy = json!({ "code": "while (true) {}", "language": "javascript", "timeout": 1 });
    let busy = run(&sandbox, busy).await;
    assert_eq!(
        (&busy["timed_out"], &busy["context_lost"]),
        (&json!(true), &json!(false)),
        "{busy}"
    );
    let waiting =
        json!({ "code": "new Promise(() => {})", "language": "javascript", "timeout": 1 });
    assert_eq!(run(&sandbox, waiting).await["context_lost"], false);
    for timeout in [601, 30_000] {
        let over = json!({ "code": "1", "timeout": timeout });
        sandbox.client.post(&sandbox.at("/code/run"), over).await.refused(422, "TIMEOUT_TOO_LONG");
    }
}

#[tokio::test]
async fn an_interpreter_that_died_is_started_anew_and_that_is_said() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "x = 1").await;
    // A cell that exits does not end the interpreter.
    assert_eq!(python(&sandbox, "import sys\nsys.exit(0)").await["ok"], true);
    assert_eq!(python(&sandbox, "x").await["result"], 1);
    let died = python(&sandbox, "import os\nos._exit(7)").await;
    assert_eq!((&died["ok"], &died["context_lost"]), (&json!(false), &json!(true)), "{died}");
    assert!(died["error"]["message"].as_str().unwrap().contains("exit code 7"));
    let anew = python(&sandbox, "'x' in globals()").await;
    assert_eq!((&anew["result"], &anew["context_restarted"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn output_is_collected_whole_bounded_and_binary() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let code = "import os, subprocess\nprint('a')\nsubprocess.run(['echo', 'b'])\nos.write(1, b'c\\xff\\n')\nos.write(2, b'err\\n')";
    let mixed = python(&sandbox, code).await;
    assert_eq!(
        (&mixed["stdout"], &mixed["stderr"]),
        (&json!("a\nb\nc\u{fffd}\n"), &json!("err\n"))
    );
    assert_eq!(mixed["stdout_base64"], "YQpiCmP/Cg==");
    let much = python(&sandbox, "print('x' * 3_000_000)").await;
    assert_eq!(much["stdout_truncated"], true);
    assert_eq!(much["stdout"].as_str().unwrap().len(), 1 << 19);
    assert_eq!(python(&sandbox, "print('next')").await["stdout"], "next\n");
    let much = javascript(&sandbox, "console.log('x'.repeat(3000000))").await;
    assert_eq!(
        (&much["stdout_truncated"], much["stdout"].as_str().unwrap().len()),
        (&json!(true), 1 << 19)
    );
    assert_eq!(javascript(&sandbox, "console.error('next')").await["stderr"], "next\n");
}

#[tokio::test]
async fn cells_of_one_context_run_one_after_the_other() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "n = 0").await;
    let code = "import time\nm = n\ntime.sleep(0.02)\nn = m + 1\nprint(n)";
    let cells = (0..8).map(|_| {
        let (client, path) = (sandbox.client.clone(), sandbox.at("/code/run"));
        tokio::spawn(async move { client.post(&path, json!({ "code": code })).await.data(200) })
    });
    let mut said: Vec<String> = Vec::new();
    for cell in futures_util::future::join_all(cells).await {
        said.push(cell.unwrap()["stdout"].as_str().unwrap().trim().to_owned());
    }
    said.sort_unstable();
    assert_eq!(said, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_cell_and_not_the_context() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "x = 1").await;
    let (client, path) = (sandbox.client.clone(), sandbox.at("/code/run"));
    let code = "import time\nopen('started', 'w').write('yes')\ntry:\n    time.sleep(300)\nfinally:\n    open('ended', 'w').write('yes')";
    let request = tokio::spawn(async move {
        let body = json!({ "code": code, "timeout": 300 });
        let answer = client.request(Method::POST, &path).json(&body).open().await;
        answer.into_body().collect().await.map(|_| ())
    });
    until(async || sandbox.read("started").await.is_some_and(|text| text == "yes")).await;
    request.abort();
    until(async || sandbox.read("ended").await.is_some()).await;
    let next = python(&sandbox, "x").await;
    assert_eq!((&next["result"], &next["context_created"]), (&json!(1), &json!(false)));
}

#[tokio::test]
async fn contexts_are_bounded_and_their_names_checked() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for n in 0..16 {
        run(&sandbox, json!({ "code": "1", "context": format!("c{n}") })).await;
    }
    let more = sandbox
        .client
        .post(&sandbox.at("/code/run"), json!({ "code": "1", "context": "more" }))
        .await;
    more.refused(409, "RESOURCE_STATE");
    for (body, field) in [
        (json!({ "code": "1", "context": "a/b" }), "context"),
        (json!({ "code": "1", "language": "cobol" }), "language"),
        (json!({ "code": "1", "timeout": 0 }), "timeout"),
        (json!({}), "code"),
    ] {
        let refused = sandbox.client.post(&sandbox.at("/code/run"), body).await;
        assert_eq!(refused.refused(422, "VALIDATION_FAILED")["details"][0]["field"], field);
    }
}

#[tokio::test]
async fn a_context_ends_with_its_machine_and_outlives_the_emulator_where_that_does() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    python(&sandbox, "x = 1").await;
    let data = emulator.stop().await;
    let emulator = start_on(data).await;
    let sandbox = Sandbox { client: emulator.client(hosted::KEY), ..sandbox };
    let lives = std::env::var("MIOSA_TEST_MACHINES").as_deref() == Ok("docker");
    assert_eq!(contexts(&sandbox, "").await, if lives { json!(["default"]) } else { json!([]) });
    let found = python(&sandbox, "'x' in globals()").await;
    assert_eq!((&found["result"], &found["context_created"]), (&json!(lives), &json!(!lives)));
    sandbox.client.post(&sandbox.at("/stop"), json!({})).await.data(200);
    assert_eq!(contexts(&sandbox, "").await, json!([]));
    assert_eq!(sandbox.record().await["state"], "paused");
}
