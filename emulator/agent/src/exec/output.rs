//! What a command says, read no faster than the client takes it.

use std::time::Duration;

use bytes::Bytes;
use miosa_agent::codec::encode;
use miosa_agent::protocol::frame;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::stream::Stream;

/// After the command has ended, others may still hold its streams (`server &`): their silence for this long
/// is taken for the end.
const QUIET: Duration = Duration::from_millis(50);

/// And if they never fall silent, this much reading is enough.
const AFTERMATH: Duration = Duration::from_secs(1);

/// The streams that a command writes to.
pub struct Outputs {
    stdout: Source,
    stderr: Source,
}

/// One of them, until its end.
struct Source {
    kind: u8,
    stream: Option<Stream>,
    piece: Vec<u8>,
}

impl Outputs {
    pub fn new(stdout: Stream, stderr: Option<Stream>) -> Self {
        let source = |kind, stream| Source { kind, stream, piece: Vec::new() };
        Self { stdout: source(frame::STDOUT, Some(stdout)), stderr: source(frame::STDERR, stderr) }
    }

    /// The next frame; `None` when both have ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let (stdout, stderr) = (self.stdout.stream.is_some(), self.stderr.stream.is_some());
            let read = tokio::select! {
                read = self.stdout.read(), if stdout => read,
                read = self.stderr.read(), if stderr => read,
                else => return None,
            };
            if read.is_some() {
                return read;
            }
        }
    }
}

impl Source {
    /// The next frame of this one; `None` at its end, which it remembers.
    async fn read(&mut self) -> Option<Bytes> {
        let stream = self.stream.as_mut()?;
        self.piece.clear();
        self.piece.reserve(frame::MAX_PAYLOAD);
        let mut piece = bytes::BufMut::limit(&mut self.piece, frame::MAX_PAYLOAD);
        if let Ok(1..) = stream.read_buf(&mut piece).await {
            return Some(encode(self.kind, &self.piece));
        }
        self.stream = None;
        None
    }
}

/// Passes output on until it ends, or until the command has ended (`exited`) and its streams fall silent.
/// Once the client has gone, output is read and thrown away, so that a detached command does not stand still.
pub async fn pump(
    mut outputs: Outputs,
    out: &mpsc::Sender<Bytes>,
    mut exited: oneshot::Receiver<()>,
) {
    loop {
        let frame = tokio::select! {
            frame = outputs.next() => frame,
            _ = &mut exited => break,
        };
        match frame {
            Some(frame) => {
                let _ = out.send(frame).await;
            }
            None => return,
        }
    }
    let mut left = AFTERMATH;
    while !left.is_zero() {
        let began = Instant::now();
        let Ok(Some(frame)) = timeout(QUIET.min(left), outputs.next()).await else { return };
        left = left.saturating_sub(began.elapsed());
        let _ = out.send(frame).await;
    }
}
