//! What comes by a stream of HTTP/2 that has become a tunnel, as bytes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use tokio::io::ReadBuf;

/// The incoming half of a stream.
#[derive(Debug)]
pub(super) struct StreamBytes {
    stream: RecvStream,
    /// What has come and is not taken: our window covers it.
    rest: Bytes,
}

impl StreamBytes {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, rest: Bytes::new() }
    }

    /// As [`tokio::io::AsyncRead::poll_read`], nothing being read at the end.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        while self.rest.is_empty() {
            match ready!(self.stream.poll_data(context)) {
                Some(data) => self.rest = data?,
                // Trailers of a tunnel mean nothing.
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(count));
        // Only what is taken may be followed by more.
        Poll::Ready(self.stream.flow_control().release_capacity(count))
    }
}
