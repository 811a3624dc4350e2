//! Two streams that become one, for as long as anything moves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio_util::sync::CancellationToken;

/// Copies in both directions until both have ended, nothing has moved for `idle`, or `ended`.
pub(super) async fn relay<A, B>(a: A, b: B, idle: Duration, ended: &CancellationToken)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Arc::new(Moved { begun: Instant::now(), last: AtomicU64::new(0) });
    let mut a = Watched { inner: a, moved: moved.clone() };
    let mut b = Watched { inner: b, moved: moved.clone() };
    tokio::select! {
        copied = copy_bidirectional(&mut a, &mut b) => {
            if let Err(error) = copied {
                tracing::trace!("a relayed connection broke: {error}");
            }
        }
        () = moved.nothing_for(idle) => {}
        () = ended.cancelled() => {}
    }
}

/// When bytes last arrived from either side.
struct Moved {
    begun: Instant,
    last: AtomicU64,
}

impl Moved {
    fn note(&self) {
        self.last.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    async fn nothing_for(&self, idle: Duration) {
        loop {
            let quiet_since = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let left = idle.saturating_sub(quiet_since.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

struct Watched<S> {
    inner: S,
    moved: Arc<Moved>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.moved.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const BOUND: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_end_is_passed_on() {
        let (mut left, a) = tokio::io::duplex(16);
        let (b, mut right) = tokio::io::duplex(16);
        let never = CancellationToken::new();
        let relaying = tokio::spawn(async move { relay(a, b, BOUND, &never).await });
        left.write_all(b"there").await.unwrap();
        left.shutdown().await.unwrap();
        let mut got = Vec::new();
        right.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"there");
        right.write_all(b"and back").await.unwrap();
        drop(right);
        let mut got = Vec::new();
        left.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"and back");
        tokio::time::timeout(BOUND, relaying).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_silent_pair_and_one_that_is_ended_close() {
        for (idle, cancelled) in [(Duration::from_millis(5), false), (BOUND * 10, true)] {
            let (_left, a) = tokio::io::duplex(16);
            let (b, _right) = tokio::io::duplex(16);
            let ended = CancellationToken::new();
            if cancelled {
                ended.cancel();
            }
            tokio::time::timeout(BOUND, relay(a, b, idle, &ended)).await.unwrap();
        }
    }
}
