//! Watches over the bytes of a connection, in both directions, and passes them
//! on as they are.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::domain::http::http2::frames::Frames;
use crate::domain::http::http2::ledger::{Abuse, Ledger};

/// A client's connection. What a client should not have sent, and what follows
/// it, is not handed on: whoever drives the connection ends it.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    /// What has been read of it already.
    before: Bytes,
    incoming: Frames,
    outgoing: Frames,
    wire: Rc<Wire>,
}

/// What the gate has seen, for whoever drives the connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) ledger: RefCell<Ledger>,
    /// Why the connection is to end.
    pub(super) abuse: Cell<Option<Abuse>>,
    /// Since when the client takes nothing of what is written.
    pub(super) blocked_since: Cell<Option<Instant>>,
}

impl<S> Gate<S> {
    pub(super) fn new(stream: S, before: Bytes, wire: &Rc<Wire>) -> Self {
        let (incoming, outgoing) = (Frames::of_client(), Frames::default());
        Self { stream, before, incoming, outgoing, wire: Rc::clone(wire) }
    }

    /// Whether `bytes` of the client may pass.
    fn admit(&mut self, bytes: &[u8]) -> bool {
        let now = Instant::now().into_std();
        let mut ledger = self.wire.ledger.borrow_mut();
        let mut judged = Ok(());
        self.incoming.walk(bytes, |frame| {
            if judged.is_ok() {
                judged = ledger.received(&frame, now);
            }
        });
        if self.incoming.is_between() {
            ledger.frame_ended();
        }
        self.wire.note(judged)
    }

    /// Notes how a write went, of which `bytes` gives the first so many.
    fn wrote(
        &mut self,
        poll: Poll<io::Result<usize>>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &poll {
            let (mut left, now) = (*count, Instant::now().into_std());
            let mut ledger = self.wire.ledger.borrow_mut();
            let mut judged = Ok(());
            for slice in slices {
                let sent = slice.get(..left.min(slice.len())).unwrap_or_default();
                left -= sent.len();
                self.outgoing.walk(sent, |frame| {
                    if judged.is_ok() {
                        judged = ledger.sent(&frame, now);
                    }
                });
            }
            self.wire.note(judged);
        }
        self.timed(poll)
    }

    fn timed<T>(&self, poll: Poll<T>) -> Poll<T> {
        let since = &self.wire.blocked_since;
        since.set(match poll {
            Poll::Ready(_) => None,
            Poll::Pending => Some(since.get().unwrap_or_else(Instant::now)),
        });
        poll
    }
}

impl Wire {
    fn note(&self, judged: Result<(), Abuse>) -> bool {
        if let Err(abuse) = judged {
            self.abuse.set(self.abuse.get().or(Some(abuse)));
        }
        judged.is_ok()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = &mut *self;
        if gate.wire.abuse.get().is_some() {
            return Poll::Pending;
        }
        let filled = into.filled().len();
        if gate.before.is_empty() {
            match Pin::new(&mut gate.stream).poll_read(context, into) {
                Poll::Ready(Ok(())) => {}
                ended @ (Poll::Ready(Err(_)) | Poll::Pending) => return ended,
            }
        } else {
            let count = gate.before.len().min(into.remaining());
            into.put_slice(&gate.before.split_to(count));
        }
        if gate.admit(into.filled().get(filled..).unwrap_or_default()) {
            return Poll::Ready(Ok(()));
        }
        into.set_filled(filled);
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(poll, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(poll, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.timed(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::http::http2::frames::kind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_comes_first() {
        let (mut client, server) = duplex(64);
        let mut gate = Gate::new(server, Bytes::from_static(b"PRI * "), &Rc::default());
        client.write_all(b"HTTP/2.0").await.unwrap();
        let mut heard = [0; 14];
        gate.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"PRI * HTTP/2.0");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_passes_from_the_frame_that_is_one_too_many() {
        let (mut client, server) = duplex(64 * 1024);
        let wire = Rc::<Wire>::default();
        let mut gate = Gate::new(server, Bytes::new(), &wire);
        let settings = [0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.write_all(&settings.repeat(50)).await.unwrap();
        let mut heard = vec![0; 24 + 50 * 9];
        gate.read_exact(&mut heard).await.unwrap();
        assert_eq!(wire.abuse.get(), None);
        client.write_all(&settings).await.unwrap();
        let more = futures::poll!(Box::pin(gate.read(&mut heard)));
        assert!(more.is_pending());
        assert_eq!(wire.abuse.get(), Some(Abuse::Settings));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_known_since_when_nothing_is_taken() {
        let (mut client, server) = duplex(4);
        let wire = Rc::<Wire>::default();
        let mut gate = Gate::new(server, Bytes::new(), &wire);
        gate.write_all(b"1234").await.unwrap();
        assert_eq!(wire.blocked_since.get(), None);
        let began = Instant::now();
        assert!(futures::poll!(Box::pin(gate.write(b"5"))).is_pending());
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        assert!(futures::poll!(Box::pin(gate.write(b"5"))).is_pending());
        assert_eq!(wire.blocked_since.get(), Some(began));
        client.read_u8().await.unwrap();
        gate.write_all(b"5").await.unwrap();
        assert_eq!(wire.blocked_since.get(), None);
    }
}
