//! Server-sent events, written so that every official client reads them whole.
//!
//! Each event ends in a blank line (miosa-python 2.19 drops a last one without), everything but ASCII is escaped (it
//! also splits lines at U+2028, U+0085 and others), and a comment keeps a quiet connection open. What the client
//! accepts is not asked: older command lines send `Accept: application/json` and would be refused for nothing.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use serde_json::Value;

/// A quiet stream says this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Proxies must not collect the stream before they pass it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One event on the wire.
pub fn event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {}\n\n", ascii(&data.to_string())))
}

/// The same with an id that a client resumes from.
pub fn identified(id: &impl std::fmt::Display, name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {}\n\n", ascii(&data.to_string())))
}

/// JSON with everything but ASCII escaped. Outside its strings JSON is ASCII, so this changes no meaning.
fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// The response that sends `events` (as [`event`] wrote them) as they come. An error cuts the connection: a client
/// then knows that it has not seen the end.
pub fn response<S, E>(events: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let mut response = Response::new(Body::from_stream(with_heartbeat(events, HEARTBEAT)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn with_heartbeat<S, E>(events: S, every: Duration) -> impl Stream<Item = Result<Bytes, E>>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    futures_util::stream::unfold(Box::pin(events), move |mut events| async move {
        match tokio::time::timeout(every, events.next()).await {
            Ok(Some(event)) => Some((event, events)),
            Ok(None) => None,
            Err(_) => Some((Ok(Bytes::from_static(b": heartbeat\n\n")), events)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_ascii_on_two_lines_and_a_blank_one() {
        let written = event("stdout", &json!({ "line": "a\u{2028}é\u{85}\u{1F600}\r\n" }));
        let text = std::str::from_utf8(&written).unwrap();
        assert_eq!(
            text,
            "event: stdout\ndata: {\"line\":\"a\\u2028\\u00e9\\u0085\\ud83d\\ude00\\r\\n\"}\n\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives_and_stays_on_its_line(line in "\\PC*|[\u{0}-\u{3000}]*") {
            let written = event("x", &json!({ "line": line }));
            let text = std::str::from_utf8(&written).unwrap();
            proptest::prop_assert!(text.is_ascii());
            let data = text.strip_prefix("event: x\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
            proptest::prop_assert!(!data.contains(|c: char| c.is_control()));
            let read: Value = serde_json::from_str(data).unwrap();
            proptest::prop_assert_eq!(read["line"].as_str().unwrap(), line);
        }
    }

    #[tokio::test]
    async fn a_quiet_stream_says_that_it_lives() {
        let (speak, spoken) = tokio::sync::oneshot::channel();
        let late = futures_util::stream::once(async {
            spoken.await.unwrap();
            Ok::<_, Infallible>(event("exit", &json!({})))
        });
        let mut all = Box::pin(with_heartbeat(late, Duration::from_millis(1)));
        let first = all.next().await.unwrap().unwrap();
        assert_eq!(first, Bytes::from_static(b": heartbeat\n\n"));
        speak.send(()).unwrap();
        let rest: Vec<_> = all.map(Result::unwrap).collect().await;
        assert_eq!(rest.last(), Some(&event("exit", &json!({}))));
    }
}
