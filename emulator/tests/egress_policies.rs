//! Where sandboxes may connect to, and that they are held to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;
#[path = "previews/stage.rs"]
#[allow(dead_code)]
mod stage;
#[path = "harness/stream.rs"]
mod stream;

use futures_util::StreamExt as _;
use harness::{Client, Emulator};
use http::HeaderValue;
use serde_json::{Value, json};
use stage::{KEY, said};
use stream::Stream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use uuid::Uuid;

struct Held {
    emulator: Emulator,
    client: Client,
    id: Uuid,
}

impl Held {
    async fn new() -> Self {
        let emulator = stage::emulator().await;
        let client = emulator.client(KEY);
        let id = stage::sandbox(&client).await;
        Self { emulator, client, id }
    }

    /// What a program inside hears when it wants to connect: the status and the words of the proxy.
    async fn fetch(&self, host: &str) -> String {
        let line = format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT {host} HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3"
        );
        said(
            &stage::agent(&self.emulator, self.id),
            &format!("bash -c \"{}\"", line.replace('\\', "\\\\")),
        )
        .await
    }

    async fn patch(&self, body: Value) -> Value {
        let path = format!("/egress/policies/{}", self.id);
        self.client.patch(&path, body).await.data(200)
    }

    async fn rule(&self, host: &str, effect: &str) -> String {
        let body = json!({ "host": host, "effect": effect, "resource_type": "sandbox", "resource_id": self.id });
        let made = self.client.post("/egress/allowlist", body).await.data(201);
        made["id"].as_str().unwrap().to_owned()
    }

    async fn audit(&self, query: &str) -> Vec<Value> {
        let path = format!("/egress/audit?resource_type=sandbox&resource_id={}&{query}", self.id);
        self.client.get(&path).await.data(200).as_array().unwrap().clone()
    }
}

fn denied(heard: &str) -> bool {
    heard.contains(" 403 ") && heard.contains("egress policy")
}

// A name that never resolves: who is let through hears 502, who is not 403.
const HOST: &str = "no-such-name.invalid:443";

#[tokio::test]
async fn a_new_sandbox_is_watched_and_a_lockdown_holds_it_at_once() {
    let held = Held::new().await;
    let policies = held
        .client
        .get(&format!("/egress/policies?resource_type=sandbox&resource_id={}", held.id))
        .await;
    let policy = policies.data(200)[0].clone();
    assert_eq!(
        (&policy["mode"], &policy["default_effect"]),
        (&json!("audit_only"), &json!("deny"))
    );
    assert_eq!(
        (&policy["enforced"], &policy["enforcement"]["by"]),
        (&json!(false), &json!("proxy"))
    );
    let heard = held.fetch(HOST).await;
    assert!(heard.contains(" 502 "), "{heard}");
    let locked = held.patch(json!({ "mode": "enforce" })).await;
    assert_eq!((&locked["mode"], &locked["enforced"]), (&json!("enforce"), &json!(true)));
    assert_eq!(locked["id"], policy["id"]);
    let heard = held.fetch(HOST).await;
    assert!(denied(&heard), "{heard}");
    let rule = held.rule("*.invalid", "allow").await;
    assert!(held.fetch(HOST).await.contains(" 502 "));
    let deny = held.rule("no-such-name.invalid", "deny").await;
    assert!(denied(&held.fetch(HOST).await));
    held.client.delete(&format!("/egress/allowlist/{deny}")).await;
    assert!(held.fetch(HOST).await.contains(" 502 "));
    assert_eq!(held.client.delete(&format!("/egress/allowlist/{rule}")).await.status, 204);
    assert!(denied(&held.fetch(HOST).await));
    held.patch(json!({ "mode": "audit_only" })).await;
    assert!(held.fetch(HOST).await.contains(" 502 "));
    let told: Vec<_> = held.audit("").await.iter().map(|event| event["action"].clone()).collect();
    assert_eq!(
        told,
        ["would_deny", "denied", "allowed", "denied", "allowed", "denied", "would_deny"]
    );
}

#[tokio::test]
async fn every_connection_is_recorded_listed_and_told_as_it_is_made() {
    let held = Held::new().await;
    let sandbox = format!("/sandboxes/{}", held.id);
    let mut events = Stream::open(&held.client, &format!("{sandbox}/events?types=egress.*")).await;
    let mut audit = Stream::open(&held.client, &format!("{sandbox}/audit/stream")).await;
    let mut request =
        format!("ws://{}/api/v1/egress/audit/resource/{}", held.emulator.address, held.id)
            .into_client_request()
            .unwrap();
    let header = |text: &str| text.parse::<HeaderValue>().unwrap();
    request.headers_mut().insert("authorization", header(&format!("Bearer {KEY}")));
    request.headers_mut().insert("sec-websocket-protocol", header("miosa-egress-audit-v1"));
    let (mut socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "miosa-egress-audit-v1");
    held.fetch(HOST).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (event.name.as_str(), &event.data["host"]),
        ("egress.would_deny", &json!("no-such-name.invalid"))
    );
    let listed = held.audit("").await[0].clone();
    for (field, value) in [
        ("host", json!("no-such-name.invalid")),
        ("port", json!(443)),
        ("action", json!("would_deny")),
        ("effect", json!("deny")),
        ("reason", json!("default")),
        ("resource_type", json!("sandbox")),
        ("resource_id", json!(held.id)),
    ] {
        assert_eq!(listed[field], value, "{field}");
    }
    assert_eq!(audit.next().await.unwrap().data, listed);
    let frame = socket.next().await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(frame.to_text().unwrap()).unwrap(), listed);
    let path = format!("/egress/audit/{}", listed["id"].as_str().unwrap());
    assert_eq!(held.client.get(&path).await.data(200), listed);
    let other = held.emulator.client("msk_test_other");
    other.get(&path).await.refused(404, "NOT_FOUND");
    assert_eq!(other.get("/egress/audit").await.data(200), json!([]));
    // What the emulator itself protects is recorded as denied, and no rule is suggested for it.
    held.fetch("127.0.0.1:1").await;
    let protected = held.audit("host=127.0.0.1").await[0].clone();
    assert_eq!(
        (&protected["action"], &protected["reason"]),
        (&json!("denied"), &json!("protected"))
    );
    for (query, many) in [
        ("action=denied", 1),
        ("effect=allow", 0),
        ("since=1h", 2),
        ("until=1h", 0),
        ("limit=1", 1),
        ("group_by=host", 2),
    ] {
        assert_eq!(held.audit(query).await.len(), many, "{query}");
    }
    let first = held.client.get("/egress/audit?limit=1").await.json();
    let rest = format!("/egress/audit?cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(held.client.get(&rest).await.data(200), json!([listed]));
}

#[tokio::test]
async fn hosts_that_no_rule_names_are_suggested_until_one_does() {
    let held = Held::new().await;
    for host in [HOST, HOST, "other.invalid:80"] {
        held.fetch(host).await;
    }
    let path =
        format!("/egress/audit/suggestions?since=7d&resource_type=sandbox&resource_id={}", held.id);
    let suggested = held.client.get(&path).await.data(200);
    let hosts: Vec<_> = suggested
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["host"].clone(), s["denied_count"].clone()))
        .collect();
    assert_eq!(
        hosts,
        [(json!("no-such-name.invalid"), json!(2)), (json!("other.invalid"), json!(1))]
    );
    held.rule("no-such-name.invalid", "allow").await;
    assert_eq!(held.client.get(&path).await.data(200).as_array().unwrap().len(), 1);
    held.client.get("/egress/audit/suggestions?since=soon").await.refused(400, "INVALID_PARAMETER");
}

#[tokio::test]
async fn a_policy_of_the_organization_holds_every_sandbox_without_its_own() {
    let held = Held::new().await;
    let body = json!({ "name": "locked", "default_effect": "deny" });
    let made = held.client.post("/egress/policies", body).await;
    let policy = made.data(201);
    assert_eq!(policy["mode"], "enforce");
    assert!(denied(&held.fetch(HOST).await));
    // A rule that belongs to it.
    let body = json!({ "host": "no-such-name.invalid", "policy_id": policy["id"] });
    held.client.post("/egress/allowlist", body).await.data(201);
    assert!(held.fetch(HOST).await.contains(" 502 "));
    let rules = held
        .client
        .get(&format!("/egress/allowlist?policy_id={}", policy["id"].as_str().unwrap()))
        .await;
    assert_eq!(rules.data(200).as_array().unwrap().len(), 1);
    for list in ["policies", "allowlist", "audit", "audit/suggestions"] {
        let path = format!("/egress/{list}?resource_type=");
        held.client.get(&format!("{path}sandbox")).await.data(200);
        held.client.get(&format!("{path}null")).await.refused(400, "INVALID_PARAMETER");
        held.client.get(&format!("{path}computer")).await.refused(501, "not_emulated");
    }
    // The sandbox's own comes before it.
    held.patch(json!({ "default_effect": "allow", "mode": "enforce" })).await;
    assert!(held.fetch("other.invalid:80").await.contains(" 502 "));
    // Without an id the mode of a resource, or of all, is set (miosa-go 2.0, MCP).
    let body = json!({ "mode": "audit_only", "resource_type": "sandbox", "resource_id": held.id });
    assert_eq!(held.client.patch("/egress/policies", body).await.data(200)["id"], json!(held.id));
    let all =
        held.client.patch("/egress/policies", json!({ "mode": "audit_only" })).await.data(200);
    assert_eq!((&all["id"], &all["mode"]), (&policy["id"], &json!("audit_only")));
    held.client.patch("/egress/policies", json!({})).await.refused(422, "VALIDATION_FAILED");
}

#[tokio::test]
async fn what_is_no_host_and_what_is_not_there_is_refused() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    for host in ["", "https://example.com", "example.com:443", "10.0.0.0/33"] {
        let error = client.post("/egress/allowlist", json!({ "host": host })).await;
        assert_eq!(
            error.refused(422, "VALIDATION_FAILED")["details"][0]["field"],
            "host",
            "{host}"
        );
    }
    let missing = Uuid::new_v4();
    let body = json!({ "host": "a.com", "resource_type": "sandbox", "resource_id": missing });
    client.post("/egress/allowlist", body).await.refused(404, "sandbox_not_found");
    let body = json!({ "host": "a.com", "policy_id": missing });
    client.post("/egress/allowlist", body).await.refused(404, "NOT_FOUND");
    let body = json!({ "host": "a.com", "resource_type": "computer", "resource_id": missing });
    client.post("/egress/allowlist", body).await.refused(501, "not_emulated");
    let path = format!("/egress/policies/{missing}");
    client.patch(&path, json!({ "mode": "enforce" })).await.refused(404, "NOT_FOUND");
    client.delete(&format!("/egress/allowlist/{missing}")).await.refused(404, "NOT_FOUND");
    let body = json!({ "host": "a.com", "methods": ["get"], "path_glob": "/v1/*" });
    let rule = client.post("/egress/allowlist", body).await.data(201);
    assert_eq!(
        (&rule["methods"], &rule["unenforced"]),
        (&json!(["GET"]), &json!(["methods", "path_glob"]))
    );
    // Nothing is enforced where there are no machines, and the record says so.
    let made = client.post("/egress/policies", json!({ "name": "p" })).await.data(201);
    assert_eq!(made["enforced"], false);
    assert!(made["enforcement"]["reason"].is_string());
    let other = emulator.client("msk_test_other");
    let path = format!("/egress/policies/{}", made["id"].as_str().unwrap());
    other.patch(&path, json!({ "mode": "enforce" })).await.refused(404, "NOT_FOUND");
    other
        .delete(&format!("/egress/allowlist/{}", rule["id"].as_str().unwrap()))
        .await
        .refused(404, "NOT_FOUND");
    assert_eq!(other.get("/egress/allowlist").await.data(200), json!([]));
}

#[tokio::test]
async fn the_go_sdk_gets_lists_without_the_data_that_it_cannot_read() {
    let emulator = Emulator::start().await;
    let client = emulator.client(KEY);
    client.post("/egress/allowlist", json!({ "host": "a.com" })).await.data(201);
    for (path, name) in [
        ("/egress/policies", "policies"),
        ("/egress/allowlist", "rules"),
        ("/egress/audit", "events"),
        ("/egress/audit/suggestions", "suggestions"),
    ] {
        let other = client.get(path).await.json();
        assert!(other["data"].is_array() && other[name].is_array(), "{path}: {other}");
        let go = client.clone().with("user-agent", "miosa-go/2.0.2");
        let go = go.unchecked("its lists have a shape of their own").get(path).await.json();
        assert!(go.get("data").is_none(), "{path}: {go}");
        assert_eq!((&go[name], &go["items"]), (&other["data"], &other["data"]), "{path}");
    }
}
