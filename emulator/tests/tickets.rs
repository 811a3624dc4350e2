//! Stream tickets through real HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod harness;
#[path = "harness/hosted.rs"]
mod hosted;

use harness::{Client, Emulator, Reply};
use hosted::{KEY, Sandbox, start};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn mint(client: &Client, path: &str) -> String {
    client.post(path, json!({})).await.data(200)["ticket"].as_str().unwrap().to_owned()
}

async fn ready(emulator: &Emulator, sandbox: &Sandbox, ticket: &str) -> Reply {
    let path = sandbox.at(&format!("/readiness/stream?ticket={ticket}"));
    emulator.anonymous().get(&path).await
}

#[tokio::test]
async fn a_ticket_opens_one_stream_without_a_credential() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    for (path, seconds) in [("/auth/sse-ticket", 60), ("/sse/ticket", 3600)] {
        let minted = sandbox.client.post(path, json!({})).await;
        let ticket = minted.data(200);
        assert_eq!(ticket["expires_in"], seconds);
        assert_eq!(minted.json()["ticket"], ticket["ticket"]);
        let text = ticket["ticket"].as_str().unwrap();
        assert!(text.starts_with("sset_"));
        let stream = ready(&emulator, &sandbox, text).await;
        assert_eq!(stream.status, 200);
        assert!(stream.body.starts_with(b"event: ready"), "{stream:?}");
        ready(&emulator, &sandbox, text).await.refused(401, "TICKET_USED");
    }
}

#[tokio::test]
async fn a_ticket_opens_nothing_but_streams_and_counts_after_a_credential() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let ticket = mint(&sandbox.client, "/sse/ticket").await;
    let elsewhere = sandbox.at(&format!("?ticket={ticket}"));
    emulator.anonymous().get(&elsewhere).await.refused(401, "MISSING_TOKEN");
    let path = sandbox.at(&format!("/readiness/stream?ticket={ticket}"));
    emulator.client("nonsense").get(&path).await.refused(401, "INVALID_TOKEN");
    assert_eq!(sandbox.client.get(&path).await.status, 200);
    // Neither has used it up.
    assert_eq!(emulator.anonymous().get(&path).await.status, 200);
}

#[tokio::test]
async fn a_ticket_that_is_wrong_or_late_is_told_so() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    ready(&emulator, &sandbox, "sset_nobody").await.refused(401, "TICKET_INVALID");
    ready(&emulator, &sandbox, "").await.refused(401, "MISSING_TOKEN");
    let (short, long) = (
        mint(&sandbox.client, "/auth/sse-ticket").await,
        mint(&sandbox.client, "/sse/ticket").await,
    );
    sandbox.client.advance(61).await;
    ready(&emulator, &sandbox, &short).await.refused(401, "TICKET_EXPIRED");
    assert_eq!(ready(&emulator, &sandbox, &long).await.status, 200);
}

#[tokio::test]
async fn a_ticket_acts_as_who_minted_it() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    // Another organization's ticket sees nothing here.
    let stranger = mint(&emulator.client("msk_test_stranger"), "/sse/ticket").await;
    ready(&emulator, &sandbox, &stranger).await.refused(404, "sandbox_not_found");
    let made = |scopes: Value| {
        let client = sandbox.client.clone();
        async move { client.post("/api-keys", json!({ "name": "k", "scopes": scopes })).await.data(201) }
    };
    let narrow = made(json!(["previews:read"])).await;
    let key = emulator.client(narrow["key"].as_str().unwrap());
    let ticket = mint(&key, "/sse/ticket").await;
    ready(&emulator, &sandbox, &ticket).await.refused(403, "FORBIDDEN");
    let reader = made(json!(["sandboxes:read"])).await;
    let key = emulator.client(reader["key"].as_str().unwrap());
    let (first, second) = (mint(&key, "/sse/ticket").await, mint(&key, "/sse/ticket").await);
    assert_eq!(ready(&emulator, &sandbox, &first).await.status, 200);
    let path = format!("/api-keys/{}", reader["id"].as_str().unwrap());
    assert_eq!(sandbox.client.delete(&path).await.status, 204);
    ready(&emulator, &sandbox, &second).await.refused(401, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_ticket_follows_changes_of_files() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let ticket = mint(&sandbox.client, "/auth/sse-ticket").await;
    let path = sandbox.at(&format!("/files/watch?ticket={ticket}"));
    let watching = emulator.anonymous();
    let mut stream = watching.request(Method::GET, &path).open().await.into_body();
    sandbox.write("/workspace/new.txt", "x").await;
    let mut seen = Vec::new();
    while !seen.windows(7).any(|piece| piece == b"new.txt") {
        let frame = tokio::time::timeout(harness::BOUND, stream.frame()).await.unwrap();
        seen.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap_or_default());
    }
}

#[tokio::test]
async fn the_journal_holds_no_ticket_and_flags_none_as_unread() {
    let emulator = start().await;
    let sandbox = Sandbox::new(&emulator).await;
    let ticket = mint(&sandbox.client, "/sse/ticket").await;
    assert_eq!(ready(&emulator, &sandbox, &ticket).await.status, 200);
    let journal = emulator.client(KEY).get("/_emulator/requests?limit=100").await;
    let text = std::str::from_utf8(&journal.body).unwrap();
    assert!(text.contains("ticket=***"), "{text}");
    assert!(!text.contains(&ticket) && !text.contains("?ticket\""), "{text}");
}

#[tokio::test]
async fn a_wrong_ticket_is_counted_like_a_wrong_credential() {
    let emulator = Emulator::start().await;
    let path = format!("/sandboxes/{}/readiness/stream?ticket=sset_x", uuid::Uuid::new_v4());
    let mut last = 0;
    for _ in 0..61 {
        last = emulator.anonymous().get(&path).await.status;
    }
    assert_eq!(last, 429);
}
