//! Connections into the machine and out of it, as plain streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::Method;
use hyper::body::{Body as _, Incoming};
use miosa_agent::protocol::egress;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::sync::{CancellationToken, PollSender};

use super::frames::written;
use super::{Agent, MachineError, unreachable};

/// How much one write takes at most.
const PIECE: usize = 64 * 1024;

/// How long a refusal may take to reach the program inside.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// A connection through the agent. Shutting down its writing half leaves the other open. Dropping it before
/// both have ended breaks it off: what was written a moment before may be lost, as with a reset.
pub struct Tunnel {
    from: Incoming,
    arrived: Bytes,
    to: PollSender<Bytes>,
    // The connection lives at least as long as what runs on it.
    _agent: Agent,
}

pub(super) async fn tcp(agent: &Agent, port: u16) -> Result<Tunnel, MachineError> {
    let (write, body) = written(CancellationToken::new());
    let answer = agent.request(Method::POST, &format!("/v1/tcp?port={port}"), body).await?;
    Ok(Tunnel::new(answer.into_body(), write, agent))
}

pub(super) async fn egress(agent: &Agent) -> Result<Egress, MachineError> {
    let (write, body) = written(CancellationToken::new());
    let answer = agent.request(Method::POST, "/v1/egress", body).await?;
    let target = answer.headers().get(egress::TARGET).and_then(|target| target.to_str().ok());
    let target = target.ok_or_else(|| unreachable("no target"))?.to_owned();
    Ok(Egress { target, tunnel: Tunnel::new(answer.into_body(), write, agent) })
}

impl Tunnel {
    fn new(from: Incoming, write: tokio::sync::mpsc::Sender<Bytes>, agent: &Agent) -> Self {
        let to = PollSender::new(write);
        Self { from, arrived: Bytes::new(), to, _agent: agent.clone() }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.arrived.is_empty() {
            match ready!(Pin::new(&mut self.from).poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(frame)) => self.arrived = frame.into_data().unwrap_or_default(),
            }
        }
        let count = self.arrived.len().min(buf.remaining());
        if let Some(piece) = self.arrived.get(..count) {
            buf.put_slice(piece);
        }
        self.arrived.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.to.poll_reserve(cx)).map_err(closed)?;
        self.to.send_item(Bytes::copy_from_slice(piece)).map_err(closed)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.abort_send();
        self.to.close();
        Poll::Ready(Ok(()))
    }
}

/// A connection that wants to leave the machine and waits for a verdict. Dropping it is a refusal without
/// a reason.
pub struct Egress {
    /// `host:port`, as the program inside asked for it.
    pub target: String,
    tunnel: Tunnel,
}

impl Egress {
    /// The target is connected: gives the program's end.
    pub async fn accept(mut self) -> io::Result<Tunnel> {
        self.tunnel.write_all(&[egress::CONNECTED]).await?;
        Ok(self.tunnel)
    }

    /// The target is forbidden: the program gets 403 with this sentence.
    pub async fn refuse(self, why: &str) -> io::Result<()> {
        self.end(egress::FORBIDDEN, why).await
    }

    /// The target cannot be reached: the program gets 502 with this sentence.
    pub async fn fail(self, why: &str) -> io::Result<()> {
        self.end(egress::UNREACHABLE, why).await
    }

    async fn end(mut self, verdict: u8, why: &str) -> io::Result<()> {
        let telling = async {
            self.tunnel.write_all(&[verdict]).await?;
            self.tunnel.write_all(why.as_bytes()).await?;
            self.tunnel.shutdown().await?;
            // Until the agent has closed its side: a reset could overtake the sentence.
            tokio::io::copy(&mut self.tunnel, &mut tokio::io::sink()).await.map(drop)
        };
        tokio::time::timeout(REFUSAL_TIME, telling).await?
    }
}
