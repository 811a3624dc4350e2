//! The bytes of files.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::Method;
use hyper::body::{Body as _, Incoming};
use miosa_agent::protocol::Entry;
use tokio::time::{Instant, Sleep, sleep};

use super::{Agent, Body, MachineError, json, unreachable, whole};

/// How long the agent may take for the next piece while somebody waits for it.
pub(super) const PIECE_TIME: Duration = Duration::from_secs(30);

pub(super) async fn read(
    agent: &Agent,
    path: &str,
) -> Result<(Entry, ContentStream), MachineError> {
    let target = format!("/v1/content?{}", query(&[("path", path)])?);
    let answer = agent.request(Method::GET, &target, whole(Bytes::new())).await?;
    let entry = answer.headers().get("x-entry").ok_or_else(|| unreachable("no x-entry"))?;
    let entry: Entry = serde_json::from_slice(entry.as_bytes()).map_err(unreachable)?;
    let body = answer.into_body();
    let late = Box::pin(sleep(PIECE_TIME));
    let left = entry.size;
    Ok((entry, ContentStream { body, left, late, waiting: false }))
}

pub(super) async fn write(
    agent: &Agent,
    path: &str,
    mode: Option<u32>,
    body: Body,
) -> Result<Entry, MachineError> {
    let mode = mode.map(|mode| mode.to_string());
    let mut pairs = vec![("path", path)];
    pairs.extend(mode.as_deref().map(|mode| ("mode", mode)));
    let target = format!("/v1/content?{}", query(&pairs)?);
    json(agent.request(Method::PUT, &target, body).await?).await
}

pub(super) fn query(pairs: &[(&str, &str)]) -> Result<String, MachineError> {
    serde_urlencoded::to_string(pairs).map_err(|error| MachineError::Host(error.to_string()))
}

/// A file's bytes. A file that shrank while it was read, or an agent that went away, ends it with an error.
pub struct ContentStream {
    body: Incoming,
    /// What is still to come.
    left: u64,
    late: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Stream for ContentStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    self.waiting = false;
                    match frame {
                        None if self.left > 0 => {
                            // Once: a stream that has failed has ended.
                            self.left = 0;
                            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                        }
                        None => return Poll::Ready(None),
                        Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                        Some(Ok(frame)) => {
                            if let Ok(bytes) = frame.into_data() {
                                self.left = self.left.saturating_sub(bytes.len() as u64);
                                return Poll::Ready(Some(Ok(bytes)));
                            }
                        }
                    }
                }
                Poll::Pending => {
                    if !self.waiting {
                        self.waiting = true;
                        self.late.as_mut().reset(Instant::now() + PIECE_TIME);
                    }
                    ready!(self.late.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
            }
        }
    }
}
