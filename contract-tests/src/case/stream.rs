//! Streams of server-sent events, read as they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use super::sending::Sent;
use super::{Reply, Sending};
use crate::fault::Fault;

/// A refusal is whole within this.
const REFUSAL: Duration = Duration::from_secs(10);

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `event:`; empty when it is not said.
    pub name: String,
    /// `data:`, its lines joined.
    pub data: String,
    /// `id:`; empty when it is not said.
    pub id: String,
}

impl Event {
    /// The data as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

/// A stream that is open.
pub struct Stream {
    sent: Sent,
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    body: Incoming,
    heard: BytesMut,
    read: usize,
    ended: bool,
}

impl Sending {
    /// Opens a stream.
    ///
    /// # Errors
    /// [`Fault::Broken`] when no answer comes.
    pub async fn stream(self) -> Result<Stream, Fault> {
        let (sent, response) = self.header("Accept", "text/event-stream").open().await?;
        let (parts, body) = response.into_parts();
        Ok(Stream {
            sent,
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            heard: BytesMut::new(),
            read: 0,
            ended: false,
        })
    }
}

impl Stream {
    /// The next event; none when the stream has ended. Comments are passed over.
    ///
    /// # Errors
    /// [`Fault::Broken`] when neither comes within the bound, or the stream breaks off.
    pub async fn next(&mut self, bound: Duration) -> Result<Option<Event>, Fault> {
        let deadline = tokio::time::Instant::now() + bound;
        loop {
            if let Some(event) = self.buffered() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            match tokio::time::timeout_at(deadline, self.body.frame()).await {
                Err(_) => {
                    let why = format!("nothing within {} s", bound.as_secs());
                    return Err(Fault::broken("another event, or the stream's end", why));
                }
                Ok(None) => self.ended = true,
                Ok(Some(Err(error))) => {
                    return Err(Fault::broken("a stream that ends in order", error.to_string()));
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.heard.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    /// All events until the stream ends.
    ///
    /// # Errors
    /// As [`Self::next`]; the bound is for the whole.
    pub async fn rest(&mut self, bound: Duration) -> Result<Vec<Event>, Fault> {
        let deadline = tokio::time::Instant::now() + bound;
        let mut events = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            match self.next(left).await? {
                Some(event) => events.push(event),
                None => return Ok(events),
            }
        }
    }

    /// Writes down what was heard, and hangs up.
    pub fn close(self) -> usize {
        let Self { sent, status, headers, heard, .. } = self;
        sent.done(status, &headers, heard.freeze())
    }

    /// Hangs up, and gives what was answered: without a body when it is a stream or a socket, whole when it is a refusal.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn head(mut self) -> Result<Reply, Fault> {
        if self.status >= 300 {
            self.rest(REFUSAL).await?;
        }
        let Self { sent, status, headers, heard, .. } = self;
        let body = if status >= 300 { heard.freeze() } else { Bytes::new() };
        let case = sent.client.case().clone();
        let (method, path) = (sent.method.clone(), sent.path.clone());
        let at = sent.done(status, &headers, body.clone());
        Ok(Reply { case, method, path, status, headers, body, at })
    }

    /// What was heard so far.
    pub fn heard(&self) -> Bytes {
        Bytes::copy_from_slice(&self.heard)
    }

    /// An event that has come whole.
    fn buffered(&mut self) -> Option<Event> {
        loop {
            let rest = self.heard.get(self.read..)?;
            let end = rest.windows(2).position(|two| two == b"\n\n")?;
            let text = String::from_utf8_lossy(rest.get(..end)?).into_owned();
            self.read += end + 2;
            let mut event = Event::default();
            let mut lines = Vec::new();
            for line in text.lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => value.clone_into(&mut event.name),
                    "id" => value.clone_into(&mut event.id),
                    "data" => lines.push(value.to_owned()),
                    _ => {}
                }
            }
            event.data = lines.join("\n");
            if event != Event::default() {
                return Some(event);
            }
        }
    }
}
