//! Changes of files, line by line.

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use miosa_agent::protocol::Change;

use super::content::query;
use super::{Agent, MachineError, unreachable, whole};

/// The longest line, in bytes: two paths with every character escaped.
const MAX_LINE: usize = 64 * 1024;

pub(super) async fn start(
    agent: &Agent,
    path: &str,
    recursive: bool,
) -> Result<impl Stream<Item = Result<Change, MachineError>> + Send + use<>, MachineError> {
    let recursive = recursive.to_string();
    let target = format!("/v1/watch?{}", query(&[("path", path), ("recursive", &recursive)])?);
    let answer = agent.request(Method::GET, &target, whole(Bytes::new())).await?;
    let lines = Lines { body: answer.into_body(), rest: BytesMut::new() };
    Ok(stream::try_unfold(lines, |mut lines| async move {
        Ok(lines.next().await?.map(|change| (change, lines)))
    }))
}

struct Lines {
    body: Incoming,
    rest: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Change>, MachineError> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.rest.iter().skip(looked).position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(looked + end);
                self.rest.advance(1);
                return serde_json::from_slice(&line).map(Some).map_err(unreachable);
            }
            looked = self.rest.len();
            if looked > MAX_LINE {
                return Err(unreachable("a line without an end"));
            }
            match self.body.frame().await {
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(unreachable("the stream ended within a line")),
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(unreachable)?.into_data() {
                        self.rest.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }
}
