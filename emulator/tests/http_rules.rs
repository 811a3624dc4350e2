//! What holds for every request, seen from outside: envelopes, errors, pages, idempotency, limits, paths.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use harness::{BOUND, Client, Emulator, Reply};
use http::Method;
use miosa_emulator::http::exchange::Envelope;
use miosa_emulator::http::rate_limit::RateLimit;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn emulator() -> Emulator {
    Emulator::with(|config| config.rate_limit = RateLimit::Off).await
}

async fn create(client: &Client, key: &str, body: Value) -> Reply {
    client
        .request(Method::POST, "/workspaces")
        .header("idempotency-key", key)
        .json(&body)
        .send()
        .await
}

#[tokio::test]
async fn a_superset_answer_is_read_by_every_client() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let made = client.post("/workspaces", json!({ "name": "w" })).await;
    let (data, whole) = (made.data(201), made.json());
    for (name, value) in data.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name}");
    }
    let list = client.get("/workspaces").await.json();
    assert_eq!(list["data"], list["workspaces"]);
    assert_eq!(list["page"], json!({ "page": 1, "page_size": 20, "total": 2 }));
    assert_eq!(list["meta"]["per_page"], 20);
    let error = client.get("/workspaces/nope").await;
    assert_eq!(error.json()["code"], error.json()["error"]["code"]);
    assert_eq!(error.json()["request_id"], error.header("x-request-id"));
}

#[tokio::test]
async fn a_documented_answer_has_exactly_the_fields_of_the_overview_page() {
    let emulator = Emulator::with(|config| config.envelope = Envelope::Documented).await;
    let client = emulator.client("msk_test_a");
    let made = client.post("/workspaces", json!({ "name": "w" })).await;
    made.data(201);
    assert_eq!(keys(&made.json()), ["data"]);
    let list = client.get("/workspaces").await.json();
    assert_eq!(keys(&list), ["data", "page"]);
    assert_eq!(keys(&list["page"]), ["page", "page_size", "total"]);
    let error = client.get("/workspaces/nope").await;
    assert_eq!(keys(&error.json()), ["error"]);
    assert_eq!(keys(&error.json()["error"]), ["code", "message", "request_id"]);
    error.refused(404, "workspace_not_found");
}

#[tokio::test]
async fn every_refusal_has_the_same_shape() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    client.get("/no/such/route").await.refused(404, "ROUTE_NOT_FOUND");
    emulator.anonymous().get("/no/such/route").await.refused(404, "ROUTE_NOT_FOUND");
    client.get("/workspaces/nope").await.refused(404, "workspace_not_found");
    client.put("/whoami", json!({})).await.refused(405, "METHOD_NOT_ALLOWED");
    let wrong = client.put("/workspaces", json!({})).await;
    wrong.refused(405, "METHOD_NOT_ALLOWED");
    let allow: BTreeSet<&str> = wrong.header("allow").split(", ").collect();
    assert!(
        allow.is_superset(&BTreeSet::from(["GET", "POST"])) && !allow.contains("PUT"),
        "{allow:?}"
    );
    for body in ["{", "", "[1", "{\"name\": \"\u{0}\"}", "nonsense"] {
        let reply = client
            .request(Method::POST, "/workspaces")
            .bytes("application/json", body.as_bytes().to_vec())
            .send()
            .await;
        if body.is_empty() {
            reply.refused(422, "VALIDATION_FAILED");
        } else {
            reply.refused(400, "INVALID_JSON");
        }
    }
    client.post("/workspaces", json!([])).await.refused(422, "VALIDATION_FAILED");
    let foreign = client.clone().with("host", "evil.example");
    foreign.get("/whoami").await.refused(403, "HOST_NOT_ALLOWED");
    let page = client.clone().with("origin", "http://evil.example");
    page.get("/whoami").await.refused(403, "ORIGIN_NOT_ALLOWED");
}

#[tokio::test]
async fn request_ids_are_never_the_same() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let replies = join_all((0..20).map(|_| client.get("/whoami"))).await;
    let ids: BTreeSet<&str> = replies.iter().map(|reply| reply.header("x-request-id")).collect();
    assert_eq!(ids.len(), 20);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_413_before_it_comes() {
    let emulator = emulator().await;
    let mut stream = tokio::net::TcpStream::connect(emulator.address).await.unwrap();
    let head = format!(
        "POST /api/v1/workspaces HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer msk_test_a\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n",
        emulator.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_answers_the_same() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let plain = client.get("/whoami").await.data(200);
    let h2 = client.request(Method::GET, "/whoami").http2().send().await;
    assert_eq!(h2.data(200), plain);
    let made = client.request(Method::POST, "/workspaces").http2().json(&json!({ "name": "w" }));
    made.send().await.data(201);
    client.request(Method::GET, "/nope").http2().send().await.refused(404, "ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn every_form_of_a_path_that_clients_send_is_the_same_path() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let expected = client.get("/workspaces?page_size=5").await.json();
    for path in [
        "/workspaces?page_size=5",
        "//api/v1//workspaces/?page_size=5",
        "/api/v1/api/v1/workspaces?page_size=5",
        "/api/v1/workspaces/?page_size=5",
    ] {
        let reply = client.request(Method::GET, "/").path(path).send().await;
        assert_eq!(reply.json(), expected, "{path}");
    }
}

#[tokio::test]
async fn pages_are_exact_however_they_are_asked_for() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    for n in 0..44 {
        client.post("/workspaces", json!({ "name": format!("w{n}") })).await.data(201);
    }
    let ids = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap();
        data.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let whole = client.get("/workspaces?page_size=100").await.json();
    let all = ids(&whole);
    assert_eq!((all.len(), &whole["page"]["total"]), (45, &json!(45)));
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 45);
    assert_eq!(whole["data"][0]["name"], "w43", "newest first");
    assert_eq!(whole["data"][44]["name"], "Default");
    for spelling in ["page_size", "per_page", "limit"] {
        let mut seen = Vec::new();
        for (page, expected) in [(1, 20), (2, 20), (3, 5), (4, 0)] {
            let part = client.get(&format!("/workspaces?page={page}&{spelling}=20")).await.json();
            assert_eq!(part["page"], json!({ "page": page, "page_size": 20, "total": 45 }));
            assert_eq!(part["data"].as_array().unwrap().len(), expected);
            seen.extend(ids(&part));
        }
        assert_eq!(seen, all, "{spelling}");
    }
    let default = client.get("/workspaces").await.json();
    assert_eq!((ids(&default).len(), &default["page"]["page_size"]), (20, &json!(20)));
    let offset = client.get("/workspaces?limit=7&offset=40").await.json();
    assert_eq!(ids(&offset), all[40..]);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let part = client.get(&format!("/workspaces?limit=8&cursor={cursor}")).await.json();
        seen.extend(ids(&part));
        match part["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, all);
    for bad in [
        "page=0",
        "page=-1",
        "page=x",
        "page=1.5",
        "page_size=0",
        "page_size=101",
        "per_page=1000",
        "limit=x",
        "offset=-1",
        "cursor=x",
        "page=1&offset=2",
        "page_size=10&limit=20",
    ] {
        client.get(&format!("/workspaces?{bad}")).await.refused(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn lists_that_come_whole_have_pages_for_who_asks() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    for list in ["/api-keys/presets", "/sandboxes/runtimes", "/sandbox-templates"] {
        let whole = client.get(list).await.json()["data"].as_array().unwrap().clone();
        assert!(whole.len() > 2, "{list}");
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let part = client.get(&format!("{list}?limit=2&cursor={cursor}")).await.json();
            assert_eq!(part["page"]["total"], whole.len(), "{list}");
            seen.extend(part["data"].as_array().unwrap().clone());
            match part["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, whole, "{list}");
        let second = client.get(&format!("{list}?page=2&page_size=2")).await.json();
        assert_eq!(second["page"], json!({ "page": 2, "page_size": 2, "total": whole.len() }));
        assert_eq!(second["data"][0], whole[2], "{list}");
        client.get(&format!("{list}?page=0")).await.refused(400, "INVALID_PARAMETER");
    }
}

#[tokio::test]
async fn the_same_key_answers_the_same_for_24_hours_and_then_runs_again() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let first =
        create(&client, "k1", json!({ "name": "once", "metadata": { "a": 1, "b": 2 } })).await;
    first.data(201);
    // The order of members is no difference.
    let replay =
        create(&client, "k1", json!({ "metadata": { "b": 2, "a": 1 }, "name": "once" })).await;
    assert_eq!((replay.status, &replay.body), (201, &first.body));
    assert_eq!(replay.header("idempotency-replayed"), "true");
    assert_eq!(replay.header("location"), first.header("location"));
    assert_eq!(replay.header("x-request-id"), first.header("x-request-id"));
    assert!(!first.headers.contains_key("idempotency-replayed"));
    client.advance(24 * 3600 - 60).await;
    assert_eq!(
        create(&client, "k1", json!({ "name": "once", "metadata": { "a": 1, "b": 2 } }))
            .await
            .status,
        201
    );
    client.advance(120).await;
    let again =
        create(&client, "k1", json!({ "name": "once", "metadata": { "a": 1, "b": 2 } })).await;
    again.refused(409, "WORKSPACE_NAME_EXISTS");
}

#[tokio::test]
async fn a_key_with_another_content_path_or_workspace_is_refused() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    create(&client, "k", json!({ "name": "a" })).await.data(201);
    create(&client, "k", json!({ "name": "b" })).await.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
    let elsewhere = client
        .request(Method::POST, "/projects")
        .header("idempotency-key", "k")
        .json(&json!({ "name": "a" }))
        .send()
        .await;
    elsewhere.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
    let chosen = client.clone().with("x-miosa-workspace", "a");
    create(&chosen, "k", json!({ "name": "a" })).await.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
    // Another organization's keys are its own.
    create(&emulator.client("msk_test_b"), "k", json!({ "name": "b" })).await.data(201);
    for bad in ["", &"k".repeat(256)] {
        create(&client, bad, json!({ "name": "c" })).await.refused(400, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn a_narrower_credential_never_reads_the_answer_to_a_wider_one() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let token = json!({ "user_id": "u", "scopes": ["projects:read"] });
    let token = client.post("/tokens/scoped", token).await.data(201);
    let token = emulator.client(token["token"].as_str().unwrap());
    let mint = async |client: &Client| {
        let request = client.request(Method::POST, "/api-keys").header("idempotency-key", "k");
        request.json(&json!({ "name": "secret" })).send().await
    };
    mint(&client).await.data(201);
    mint(&token).await.refused(409, "IDEMPOTENCY_PAYLOAD_MISMATCH");
    mint(&emulator.client("msk_test_a")).await.data(201);
}

#[tokio::test]
async fn many_at_once_with_one_key_are_one() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "once", "allow_duplicate_name": true });
    let replies = join_all((0..16).map(|_| create(&client, "k", body.clone()))).await;
    let bodies: BTreeSet<_> = replies.iter().map(|reply| (reply.status, &reply.body)).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let ran = replies.iter().filter(|reply| !reply.headers.contains_key("idempotency-replayed"));
    assert_eq!(ran.count(), 1);
    assert_eq!(client.get("/workspaces").await.json()["page"]["total"], 2);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_key_that_nobody_answers() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let times = 40;
    for n in 0..times {
        let body = json!({ "name": format!("torn-{n}") }).to_string();
        let request = format!(
            "POST /api/v1/workspaces HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer msk_test_a\r\n\
             Idempotency-Key: torn-{n}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            emulator.address,
            body.len(),
        );
        let mut stream = tokio::net::TcpStream::connect(emulator.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
        create(&client, &format!("torn-{n}"), json!({ "name": format!("torn-{n}") }))
            .await
            .data(201);
    }
    assert_eq!(client.get("/workspaces").await.json()["page"]["total"], times + 1);
}

#[tokio::test]
async fn a_refusal_is_kept_unless_the_same_request_may_pass_later() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    create(&client, "wrong", json!({ "name": "" })).await.refused(422, "VALIDATION_FAILED");
    let kept = create(&client, "wrong", json!({ "name": "" })).await;
    assert_eq!((kept.status, kept.header("idempotency-replayed")), (422, "true"));
    let reader = json!({ "name": "r", "scopes": ["projects:read"] });
    let reader = client.post("/api-keys", reader).await.data(201);
    let reader = emulator.client(reader["key"].as_str().unwrap());
    create(&reader, "scope", json!({ "name": "w" })).await.refused(403, "FORBIDDEN");
    create(&client, "scope", json!({ "name": "w" })).await.data(201);
}

#[tokio::test]
async fn a_kept_answer_outlives_a_restart() {
    let emulator = emulator().await;
    let first = create(&emulator.client("msk_test_a"), "k", json!({ "name": "w" })).await;
    first.data(201);
    let data = emulator.stop().await;
    let none = |_: &std::path::Path| miosa_emulator::machines::Machines::none("a test".to_owned());
    let again = Emulator::boot(data, none, |_| {}).await;
    let replay = create(&again.client("msk_test_a"), "k", json!({ "name": "w" })).await;
    assert_eq!((replay.status, replay.body), (201, first.body));
}

#[tokio::test]
async fn the_301st_request_of_a_minute_is_refused_and_the_next_minute_is_free() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    for n in 1..=300 {
        let reply = client.get("/whoami").await;
        reply.data(200);
        assert_eq!(reply.header("x-ratelimit-limit"), "300");
        assert_eq!(reply.header("x-ratelimit-remaining"), (300 - n).to_string());
    }
    let refused = client.get("/whoami").await;
    let error = refused.refused(429, "RATE_LIMITED");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(refused.header("x-ratelimit-reset"), wait.to_string());
    assert_eq!(error["retry_after"], wait);
    assert_eq!(refused.json()["retry_after"], wait);
    // Health and other organizations are not counted here.
    client.get("/health").await;
    emulator.client("msk_test_b").get("/whoami").await.data(200);
    client.advance(wait).await;
    client.get("/whoami").await.data(200);
}

#[tokio::test]
async fn a_mutation_that_was_limited_is_not_kept_under_its_key() {
    let emulator = Emulator::with(|config| config.rate_limit = RateLimit::PerMinute(1)).await;
    let client = emulator.client("msk_test_a");
    client.get("/whoami").await.data(200);
    create(&client, "k", json!({ "name": "w" })).await.refused(429, "RATE_LIMITED");
    client.advance(60).await;
    create(&client, "k", json!({ "name": "w" })).await.data(201);
}

#[tokio::test]
async fn auth_endpoints_and_requests_without_a_credential_have_their_own_limits() {
    let emulator = Emulator::start().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "user_id": "u", "scopes": ["projects:read"] });
    for _ in 0..20 {
        client.post("/tokens/scoped", body.clone()).await.data(201);
    }
    client.post("/tokens/scoped", body).await.refused(429, "RATE_LIMITED");
    client.get("/whoami").await.data(200);
    for _ in 0..60 {
        emulator.anonymous().get("/whoami").await.refused(401, "MISSING_TOKEN");
    }
    let limited = emulator.anonymous().get("/whoami").await;
    limited.refused(429, "RATE_LIMITED");
    assert_eq!(
        (limited.header("x-ratelimit-limit"), limited.header("x-ratelimit-remaining")),
        ("60", "0")
    );
    emulator.client("nonsense").get("/whoami").await.refused(429, "RATE_LIMITED");
    client.get("/whoami").await.data(200);
}

#[tokio::test]
async fn observed_limits_refuse_nothing_and_off_says_nothing() {
    let observing = Emulator::with(|config| config.rate_limit = RateLimit::Observe).await;
    let client = observing.client("msk_test_a");
    let mut last = client.get("/whoami").await;
    for _ in 0..301 {
        last = client.get("/whoami").await;
        last.data(200);
    }
    assert_eq!(last.header("x-ratelimit-remaining"), "0");
    let journal = client.get("/_emulator/requests").await.json();
    assert!(journal.to_string().contains("would_limit"));
    let off = emulator().await;
    let reply = off.client("msk_test_a").get("/whoami").await;
    reply.data(200);
    assert!(!reply.headers.contains_key("x-ratelimit-limit"));
}

#[tokio::test]
async fn a_misspelt_field_is_taken_and_told_in_the_journal() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let body = json!({ "name": "w", "descripton": "typo" });
    client.post("/workspaces?forse=1", body).await.data(201);
    let journal = client.get("/_emulator/requests").await.json();
    assert!(journal.to_string().contains("descripton"), "{journal}");
}

#[tokio::test]
async fn a_mutation_goes_on_when_its_client_goes_away() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    for n in 0..20u64 {
        let cut =
            client.request(Method::POST, "/workspaces").json(&json!({ "name": format!("w{n}") }));
        // Cut off at any moment: the row is there as a whole or not at all, and the emulator goes on.
        let _ = tokio::time::timeout(Duration::from_micros(n * 300), cut.send()).await;
    }
    let listed = client.get("/workspaces?page_size=100").await.json();
    assert_eq!(listed["page"]["total"], listed["data"].as_array().unwrap().len());
    client.post("/workspaces", json!({ "name": "after" })).await.data(201);
}

#[tokio::test]
async fn the_shapes_of_the_wire() {
    let emulator = emulator().await;
    let client = emulator.client("msk_test_a");
    let secret = |value: &mut Value| {
        fn walk(value: &mut Value) {
            match value {
                Value::Object(fields) => {
                    for (name, field) in fields.iter_mut() {
                        let changing = [
                            "id",
                            "tenant_id",
                            "workspace_id",
                            "request_id",
                            "created_at",
                            "updated_at",
                            "inserted_at",
                            "default_workspace_id",
                            "slug",
                            "name",
                        ];
                        if changing.contains(&name.as_str()) && field.is_string() {
                            *field = format!("[{name}]").into();
                        } else {
                            walk(field);
                        }
                    }
                }
                Value::Array(items) => items.iter_mut().for_each(walk),
                _ => {}
            }
        }
        walk(value);
    };
    for (name, path) in [
        ("list", "/workspaces?page_size=1"),
        ("not_found", "/workspaces/nope"),
        ("route_not_found", "/nope"),
        ("bad_parameter", "/workspaces?page=0"),
        ("whoami", "/whoami"),
        ("tenant", "/platform/tenants/current"),
    ] {
        let mut value = client.get(path).await.json();
        secret(&mut value);
        insta::assert_json_snapshot!(name, value);
    }
}
