//! Commands whose lines come as server-sent events.

use std::time::Duration;

use serde_json::Value;

use super::said::Said;
use crate::case::stream::{Event, Stream};
use crate::fault::Fault;

/// An event comes within this time.
pub const BOUND: Duration = Duration::from_secs(15);

/// What a stream said to its end.
pub struct Told {
    /// The events, in order.
    pub events: Vec<Event>,
    /// What they say.
    pub said: Said,
}

/// Which of the two streams an event is of; none of another event.
pub fn stream_of(event: &Event) -> Option<bool> {
    let data = event.json();
    let name =
        if event.name.is_empty() { data["type"].as_str().unwrap_or_default() } else { &event.name };
    match name {
        "stdout" => Some(false),
        "stderr" => Some(true),
        // Of a ticket (`api-reference/streaming-exec`).
        "output" => Some(data["stream"] == "stderr"),
        _ => None,
    }
}

/// The text of an event: with its line's end, where that is said.
pub fn text(data: &Value) -> String {
    match (data["data"].as_str(), data["line"].as_str()) {
        (Some(whole), _) => whole.to_owned(),
        (None, Some(line)) => format!("{line}\n"),
        (None, None) => String::new(),
    }
}

/// The exit code of an event.
pub fn exit_of(event: &Event) -> Option<i64> {
    let data = event.json();
    let is_exit = event.name == "exit" || (event.name.is_empty() && data["type"] == "exit");
    let code = data["exit_code"].as_i64().or_else(|| data["exitCode"].as_i64());
    if is_exit { code } else { None }
}

/// Reads a stream to its end.
///
/// # Errors
/// [`Fault::Broken`] when it is none, or does not end in order.
pub async fn read(mut stream: Stream) -> Result<Told, Fault> {
    if stream.status != 200 {
        let status = stream.status;
        let _ = stream.rest(BOUND).await;
        let heard = String::from_utf8_lossy(&stream.heard()).into_owned();
        let at = Some(stream.close());
        let got = format!("{status} {heard}");
        return Err(Fault::Broken { expected: "200 and a stream".to_owned(), got, at });
    }
    let events = stream.rest(BOUND).await;
    let at = stream.close();
    let events = events.map_err(|fault| match fault {
        Fault::Broken { expected, got, .. } => Fault::Broken { expected, got, at: Some(at) },
        other => other,
    })?;
    let mut said = Said { at, ..Said::default() };
    for event in &events {
        match stream_of(event) {
            Some(false) => said.stdout.extend_from_slice(text(&event.json()).as_bytes()),
            Some(true) => said.stderr.extend_from_slice(text(&event.json()).as_bytes()),
            None => {
                said.exit = exit_of(event).or(said.exit);
                said.timed_out |= event.json()["timed_out"] == true;
            }
        }
    }
    Ok(Told { events, said })
}
