//! A stream of which some bytes have been read already.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives `before` to whoever reads, and then what `stream` gives.
#[derive(Debug)]
pub(super) struct Prefixed<S> {
    before: Vec<u8>,
    /// How many of them have been given.
    given: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    pub(super) fn new(before: Vec<u8>, stream: S) -> Self {
        Self { before, given: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.before.get(this.given..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, out);
        }
        let count = left.len().min(out.remaining());
        out.put_slice(left.get(..count).unwrap_or_default());
        this.given += count;
        if this.given == this.before.len() {
            // They are not to be kept as long as the connection lives.
            this.before = Vec::new();
            this.given = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_was_read_before_comes_first_whatever_the_pieces() {
        for piece in [1, 2, 3, 4, 100] {
            let mut stream = Prefixed::new(b"abc".to_vec(), &b"defg"[..]);
            let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
            loop {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
            assert_eq!(all, b"abcdefg", "{piece}");
            assert_eq!(stream.before.capacity(), 0, "{piece}");
        }
    }
}
