//! Counting what a connection carries, so that a failure tells how far it came.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that the kernel took from us and gave to us.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    written: AtomicU64,
    read: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    pub(super) written: u64,
    pub(super) read: u64,
}

/// A stream whose traffic is counted.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    traffic: Arc<Traffic>,
}

impl Traffic {
    pub(super) fn reading(&self) -> Reading {
        Reading {
            written: self.written.load(Ordering::Relaxed),
            read: self.read.load(Ordering::Relaxed),
        }
    }
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S) -> (Self, Arc<Traffic>) {
        let traffic = Arc::<Traffic>::default();
        (Self { stream, traffic: Arc::clone(&traffic) }, traffic)
    }

    /// One thread writes; the counts are atomic only because hyper wants a
    /// stream that could move.
    fn count(count: &AtomicU64, more: usize) {
        count.store(count.load(Ordering::Relaxed) + more as u64, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Self::count(&self.traffic.read, buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Self::count(&self.traffic.written, count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn what_passes_is_counted_either_way() {
        let (mut peer, stream) = duplex(64);
        let (mut metered, traffic) = Metered::new(stream);
        metered.write_all(b"ping").await.unwrap();
        peer.write_all(b"pong!").await.unwrap();
        metered.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!(traffic.reading(), Reading { written: 4, read: 5 });
    }
}
