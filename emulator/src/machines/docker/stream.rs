//! Docker's attach stream as the two directions of a byte stream.
//!
//! Nothing is buffered beyond the frame that is being read: who does not read holds up the sender.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::{Buf as _, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a container (or a command in it) writes, in frames.
pub type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
/// What it reads.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Standard input and output of a container.
pub struct Attached {
    output: Output,
    input: Input,
    /// The rest of the frame that is being read.
    rest: Bytes,
}

impl Attached {
    /// Joins the two halves that bollard gives.
    pub fn new(output: Output, input: Input) -> Self {
        Self { output, input, rest: Bytes::new() }
    }
}

impl AsyncRead for Attached {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.output.as_mut().poll_next(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(LogOutput::StdOut { message })) => self.rest = message,
                Some(Ok(LogOutput::StdErr { message })) => {
                    tracing::debug!(text = %String::from_utf8_lossy(&message), "an agent on standard error");
                }
                Some(Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. })) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "bytes outside Docker's frames",
                    )));
                }
            }
        }
        let take = self.rest.len().min(buf.remaining());
        buf.put_slice(self.rest.get(..take).unwrap_or_default());
        self.rest.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Attached {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn reading(frames: Vec<LogOutput>) -> Attached {
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok));
        Attached::new(Box::pin(frames), Box::pin(tokio::io::sink()))
    }

    fn out(text: &'static str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from_static(text.as_bytes()) }
    }

    #[tokio::test]
    async fn frames_join_and_standard_error_stays_out() {
        let err = LogOutput::StdErr { message: Bytes::from_static(b"noise") };
        let mut stream = reading(vec![out("one"), err, out(""), out("two")]);
        let mut small = [0; 2];
        stream.read_exact(&mut small).await.unwrap();
        assert_eq!(&small, b"on");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "etwo");
    }

    #[tokio::test]
    async fn bytes_outside_frames_are_an_error() {
        let console = LogOutput::Console { message: Bytes::from_static(b"?") };
        let error = reading(vec![console]).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_reader_that_stops_holds_up_the_sender() {
        let (input, mut container) = tokio::io::duplex(4);
        let mut stream = Attached::new(Box::pin(futures_util::stream::pending()), Box::pin(input));
        assert_eq!(stream.write(b"123456").await.unwrap(), 4);
        let blocked = tokio::time::timeout(std::time::Duration::ZERO, stream.write(b"56")).await;
        assert!(blocked.is_err());
        let mut four = [0; 4];
        container.read_exact(&mut four).await.unwrap();
        assert_eq!(stream.write(b"56").await.unwrap(), 2);
    }
}
