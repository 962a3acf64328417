//! A stream as a pair of byte streams, for a tunnel (RFC 8441, section 5).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::stream_bytes::StreamBytes;

/// Both directions of one stream. What it is dropped with unfinished is reset.
#[derive(Debug)]
pub(in crate::proxy) struct Http2Tunnel {
    incoming: StreamBytes,
    outgoing: SendStream<Bytes>,
    /// Our end has been sent.
    finished: bool,
}

impl Http2Tunnel {
    pub(super) fn new(incoming: RecvStream, outgoing: SendStream<Bytes>) -> Self {
        Self { incoming: StreamBytes::new(incoming), outgoing, finished: false }
    }

    /// How many of so many bytes may be sent, once that is any.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if let Poll::Ready(left) = self.outgoing.poll_reset(context) {
            let error = left.map_or_else(broken, |reason| broken(reason.into()));
            return Poll::Ready(Err(error));
        }
        self.outgoing.reserve_capacity(wanted);
        if self.outgoing.capacity() == 0 {
            match ready!(self.outgoing.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(self.outgoing.capacity().min(wanted)))
    }
}

impl AsyncRead for Http2Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.poll_read(context, into).map_err(broken)
    }
}

impl AsyncWrite for Http2Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(self.poll_room(context, bytes.len()))?;
        let taken = bytes.get(..count).unwrap_or_default();
        self.outgoing.send_data(Bytes::copy_from_slice(taken), false).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    /// What is written is sent as the replica's window allows.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            self.finished = true;
            self.outgoing.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Http2Tunnel {
    fn drop(&mut self) {
        if !self.finished {
            // As a TCP connection that is reset.
            self.outgoing.send_reset(Reason::CANCEL);
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
