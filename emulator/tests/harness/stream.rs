//! A stream of server-sent events, read one by one.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs)]

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::harness::{BOUND, Client};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

pub struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    /// Opens it; it must be one.
    pub async fn open(client: &Client, path: &str) -> Self {
        Self::resume(client, path, None).await
    }

    /// Opens it after an event.
    pub async fn resume(client: &Client, path: &str, seen: Option<&str>) -> Self {
        let mut request = client.request(Method::GET, path);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.open().await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                let rest = rest.to_owned();
                self.text = rest;
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
                continue;
            }
            let frame = tokio::time::timeout(BOUND, self.body.frame()).await.unwrap()?;
            let bytes = frame.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event with this name, and the names before it.
    pub async fn until(&mut self, name: &str) -> (Event, Vec<String>) {
        let mut before = Vec::new();
        while let Some(event) = self.next().await {
            if event.name == name {
                return (event, before);
            }
            before.push(event.name);
        }
        panic!("the stream ended without {name}: {before:?}");
    }

    /// Everything to the end.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// A block of lines; `None` for a comment.
fn parse(block: &str) -> Option<Event> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).unwrap();
    Some(Event { id: field("id").map(str::to_owned), name: field("event")?.to_owned(), data })
}
