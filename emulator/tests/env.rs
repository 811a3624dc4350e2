//! Variables of a sandbox through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use hosted::{KEY, Sandbox, start, start_on};
use http::Method;
use serde_json::{Value, json};

async fn value(sandbox: &Sandbox, name: &str) -> String {
    let said = sandbox.exec(&format!("printf %s \"${{{name}-unset}}\"")).await;
    said["stdout"].as_str().unwrap().to_owned()
}

async fn set(sandbox: &Sandbox, name: &str, value: &str) -> Value {
    let body = json!({ "vars": [{ "key": name, "value": value }] });
    sandbox.client.put(&sandbox.at("/env"), body).await.data(200)
}

#[tokio::test]
async fn a_variable_holds_for_the_commands_that_start_after_it() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "env": { "FIRST": "made with it" } })).await;
    let before = "nohup bash -c 'while [ ! -e go ]; do sleep 0.01; done; printf %s \"${COLOR-unset}\" > said' > /dev/null 2>&1 &";
    sandbox.exec(before).await;
    assert_eq!(set(&sandbox, "COLOR", "blue").await.as_array().unwrap().len(), 2);
    assert_eq!(
        (value(&sandbox, "COLOR").await.as_str(), value(&sandbox, "FIRST").await.as_str()),
        ("blue", "made with it")
    );
    sandbox.write("go", "").await;
    hosted::until(async || sandbox.read("said").await.is_some_and(|text| !text.is_empty())).await;
    assert_eq!(sandbox.read("said").await.unwrap(), "unset");
    // Another one is added to it; the same one replaces it; a command's own comes first.
    set(&sandbox, "SHAPE", "round").await;
    set(&sandbox, "COLOR", "red").await;
    assert_eq!(
        (value(&sandbox, "COLOR").await.as_str(), value(&sandbox, "SHAPE").await.as_str()),
        ("red", "round")
    );
    let own = json!({ "command": "printf %s $COLOR", "env": { "COLOR": "green" } });
    assert_eq!(sandbox.client.post(&sandbox.at("/exec"), own).await.data(200)["stdout"], "green");
    for name in ["COLOR", "FIRST"] {
        let gone = sandbox.client.delete(&sandbox.at(&format!("/env/{name}"))).await;
        assert_eq!((gone.status, value(&sandbox, name).await.as_str()), (204, "unset"));
        sandbox.client.delete(&sandbox.at(&format!("/env/{name}"))).await.refused(404, "NOT_FOUND");
    }
    let synced = sandbox.client.post(&sandbox.at("/env/sync"), json!({})).await;
    assert_eq!(
        (&synced.data(200)["status"], &synced.json()["env_keys"]),
        (&json!("synced"), &json!(["SHAPE"]))
    );
    assert_eq!(value(&sandbox, "SHAPE").await, "round");
}

/// miosa-elixir 1.1 reads a list under `data`, miosa-go 2.0 an object; the command line reads previews.
#[tokio::test]
async fn values_are_shown_to_nobody() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let client = &sandbox.client;
    let body = json!({ "vars": [{ "key": "TOKEN", "value": "supersecret", "encrypted": true }, { "key": "EMPTY" }] });
    let request = client
        .request(Method::PUT, &sandbox.at("/env"))
        .header("idempotency-key", "env-1")
        .json(&body);
    let set = request.send().await;
    let expected = json!([
        { "key": "EMPTY", "name": "EMPTY", "preview": "***", "encrypted": false },
        { "key": "TOKEN", "name": "TOKEN", "preview": "sup...ret", "encrypted": true },
    ]);
    assert_eq!(set.data(200), expected);
    let listed = client.get(&sandbox.at("/env")).await;
    assert_eq!((&listed.data(200), &listed.json()["vars"]), (&expected, &expected));
    assert_eq!(listed.json()["env"], json!({ "EMPTY": "***", "TOKEN": "sup...ret" }));
    let record = sandbox.record().await.to_string();
    let journal = client.get("/_emulator/requests").await;
    let org = json!(sandbox.record().await["tenant_id"]);
    let org = org.as_str().unwrap().parse().unwrap();
    let events = emulator
        .app
        .store
        .read(move |view| miosa_emulator::http::ApiResult::Ok(view.events_after(org, 0, 1000)?));
    let events = format!("{:?}", events.await.unwrap());
    for text in [record, String::from_utf8_lossy(&journal.body).into_owned(), events] {
        assert!(!text.contains("supersecret"), "{text}");
    }
    assert_eq!(value(&sandbox, "TOKEN").await, "supersecret");
    for (body, status) in [
        (json!({}), 422),
        (json!({ "vars": [{ "key": "A=B", "value": "x" }] }), 422),
        (json!({ "vars": [{ "key": "A", "value": "x".repeat(200_000) }] }), 422),
        (json!({ "vars": [{ "value": "x" }] }), 422),
    ] {
        client.put(&sandbox.at("/env"), body).await.refused(status, "VALIDATION_FAILED");
    }
    emulator
        .client("msk_test_other")
        .get(&sandbox.at("/env"))
        .await
        .refused(404, "sandbox_not_found");
    // A map says the same as a list.
    client.put(&sandbox.at("/env"), json!({ "env": { "TOKEN": "another one" } })).await.data(200);
    assert_eq!(value(&sandbox, "TOKEN").await, "another one");
}

#[tokio::test]
async fn variables_outlast_pause_stop_restore_and_fork() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "env": { "OLD": "1" } })).await;
    let client = &sandbox.client;
    let kept = client.post(&sandbox.at("/snapshots"), json!({})).await.data(201);
    set(&sandbox, "COLOR", "blue").await;
    client.delete(&sandbox.at("/env/OLD")).await;
    let holds = async |what: &str| {
        let both = (value(&sandbox, "COLOR").await, value(&sandbox, "OLD").await);
        assert_eq!(both, ("blue".to_owned(), "unset".to_owned()), "{what}");
    };
    for rest in ["/pause", "/stop"] {
        client.post(&sandbox.at(rest), json!({})).await.data(200);
        client.post(&sandbox.at("/resume"), json!({})).await.data(200);
        holds(rest).await;
    }
    client
        .post(&sandbox.at(&format!("/restore/{}", kept["id"].as_str().unwrap())), json!({}))
        .await
        .data(200);
    holds("restore").await;
    let fork = client.post(&sandbox.at("/fork"), json!({})).await.data(201);
    let path = format!("/sandboxes/{}/exec", fork["id"].as_str().unwrap());
    let said = client
        .post(&path, json!({ "command": "printf %s:%s $COLOR ${OLD-unset}" }))
        .await
        .data(200);
    assert_eq!(said["stdout"], "blue:unset");
    // What is set while it rests is there when it goes on.
    for (rest, color) in [("/pause", "red"), ("/stop", "green")] {
        client.post(&sandbox.at(rest), json!({})).await.data(200);
        set(&sandbox, "COLOR", color).await;
        assert_eq!(sandbox.record().await["state"], "paused");
        client.post(&sandbox.at("/resume"), json!({})).await.data(200);
        assert_eq!(value(&sandbox, "COLOR").await, color, "{rest}");
    }
}

#[tokio::test]
async fn variables_outlast_the_emulator() {
    let emulator = start().await;
    let sandbox = Sandbox::with(&emulator, json!({ "env": { "OLD": "1" } })).await;
    set(&sandbox, "COLOR", "blue").await;
    sandbox.client.delete(&sandbox.at("/env/OLD")).await;
    let (id, path) = (sandbox.id, sandbox.path);
    let emulator = start_on(emulator.stop().await).await;
    let sandbox = Sandbox { client: emulator.client(KEY), id, path };
    let both = (value(&sandbox, "COLOR").await, value(&sandbox, "OLD").await);
    assert_eq!(both, ("blue".to_owned(), "unset".to_owned()));
}
