//! A stream as a pair of byte streams, for a tunnel (RFC 8441 §5).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::proxy::http2::account::{Account, Piece};

/// Both directions of one stream. What it is dropped with unfinished is reset.
#[derive(Debug)]
pub(super) struct TunnelStream {
    incoming: RecvStream,
    outgoing: SendStream<Piece>,
    account: Rc<Account>,
    /// What has come and is not taken: the client's window covers it.
    rest: Bytes,
    /// Our end has been sent.
    finished: bool,
    /// How long the client may take nothing.
    stall: Duration,
    /// Armed only while it takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TunnelStream {
    pub(super) fn new(
        incoming: RecvStream,
        outgoing: SendStream<Piece>,
        account: &Rc<Account>,
        stall: Duration,
    ) -> Self {
        let (account, rest) = (Rc::clone(account), Bytes::new());
        Self { incoming, outgoing, account, rest, finished: false, stall, deadline: None }
    }

    /// How many bytes may be sent, once that is any.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if let Poll::Ready(left) = self.outgoing.poll_reset(context) {
            return Poll::Ready(Err(left.map_or_else(io_error, reset)));
        }
        let ours = ready!(self.account.poll_room(context));
        self.outgoing.reserve_capacity(wanted);
        if self.outgoing.capacity() == 0 {
            match ready!(self.outgoing.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(self.outgoing.capacity().min(ours).min(wanted)))
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.incoming.poll_data(context)) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                // Trailers of a tunnel mean nothing.
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(count));
        // Only what is taken may be followed by more.
        self.incoming.flow_control().release_capacity(count).map_err(io_error)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Poll::Ready(room) = self.poll_room(context, bytes.len()) else {
            let stall = self.stall;
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(stall)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        self.deadline = None;
        let count = room?;
        let taken = bytes.get(..count).unwrap_or_default();
        let piece = self.account.piece(Bytes::copy_from_slice(taken));
        self.outgoing.send_data(piece, false).map_err(io_error)?;
        Poll::Ready(Ok(count))
    }

    /// What is written is sent as the client's window allows.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            self.finished = true;
            let end = self.account.piece(Bytes::new());
            self.outgoing.send_data(end, true).map_err(io_error)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        if !self.finished {
            // As a TCP connection that is reset (RFC 8441 §5).
            self.outgoing.send_reset(Reason::CANCEL);
        }
    }
}

fn reset(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, reason.description())
}

fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
