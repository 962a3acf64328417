//! A stream as a pair of byte streams, for a tunnel (RFC 8441 §5).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::http2::account::{Account, Piece};
use crate::proxy::http2::stall::Stall;
use crate::proxy::stream_bytes::StreamBytes;

/// Both directions of one stream. What it is dropped with unfinished is reset.
#[derive(Debug)]
pub(super) struct TunnelStream {
    incoming: StreamBytes,
    outgoing: SendStream<Piece>,
    account: Rc<Account>,
    /// Our end has been sent.
    finished: bool,
    stall: Stall,
}

impl TunnelStream {
    pub(super) fn new(
        incoming: RecvStream,
        outgoing: SendStream<Piece>,
        account: &Rc<Account>,
        stall: Duration,
    ) -> Self {
        let (account, stall) = (Rc::clone(account), Stall::new(stall));
        let incoming = StreamBytes::new(incoming);
        Self { incoming, outgoing, account, finished: false, stall }
    }

    /// How many bytes may be sent, once that is any.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if let Poll::Ready(left) = self.poll_left(context) {
            return Poll::Ready(Err(left));
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

    /// Ready once the client has reset the stream, or is gone.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.outgoing.poll_reset(context).map(|left| left.map_or_else(io_error, reset))
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.poll_read(context, into).map_err(io_error)
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
            ready!(self.stall.poll_over(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        let count = room?;
        self.stall.took(count, count == bytes.len());
        let taken = bytes.get(..count).unwrap_or_default();
        let piece = self.account.piece(Bytes::copy_from_slice(taken));
        self.outgoing.send_data(piece, false).map_err(io_error)?;
        Poll::Ready(Ok(count))
    }

    /// What is written is sent as the client's window allows. A client that has
    /// left is seen here even if nothing is read or written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_left(context) {
            Poll::Ready(left) => Poll::Ready(Err(left)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::http::http2::frames::{flag, kind};
    use crate::proxy::http2::stall::TAKEN_BYTES_MIN;
    use crate::proxy::http2::tests::{PREFACE, frame};
    use futures::FutureExt;
    use http::Response;
    use std::future::poll_fn;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::LocalSet;
    use tokio::time::{Instant, sleep, timeout};

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_resets_it_is_seen_by_a_flush() {
        LocalSet::new()
            .run_until(async {
                let (mut client, mut stream) = tunnel().await;
                stream.flush().await.unwrap();
                let mut gone =
                    Box::pin(poll_fn(|context| match Pin::new(&mut stream).poll_flush(context) {
                        Poll::Ready(Ok(())) => Poll::Pending,
                        over @ (Poll::Ready(Err(_)) | Poll::Pending) => over,
                    }));
                assert!((&mut gone).now_or_never().is_none());
                let reset = frame(kind::RST_STREAM, 1, &8u32.to_be_bytes());
                client.write_all(&reset).await.unwrap();
                timeout(STALL, gone).await.expect("it is seen").unwrap_err();
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_to_take_so_much_in_its_time() {
        for (taken, is_enough) in [(TAKEN_BYTES_MIN - 1, false), (TAKEN_BYTES_MIN, true)] {
            LocalSet::new()
                .run_until(async {
                    let (mut client, mut stream) = tunnel().await;
                    let began = Instant::now();
                    let writing = stream.write_all(&[7; 2 * TAKEN_BYTES_MIN]);
                    let taking = async {
                        sleep(STALL / 2).await;
                        let window = u32::try_from(taken).unwrap().to_be_bytes();
                        client.write_all(&frame(kind::WINDOW_UPDATE, 1, &window)).await.unwrap();
                    };
                    let (written, ()) = tokio::join!(writing, taking);
                    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
                    let more = if is_enough { STALL / 2 } else { Duration::ZERO };
                    assert_eq!(began.elapsed(), STALL + more, "{taken} bytes");
                })
                .await;
        }
    }

    /// A stream whose client has given no window, and its connection, which is
    /// kept going beside the test.
    async fn tunnel() -> (DuplexStream, TunnelStream) {
        let (mut client, server) = duplex(64 * 1024);
        let mut head = frame(kind::HEADERS, 1, &[0x83, 0x87, 0x84, 0x41, 1, b'a']);
        head[4] = flag::END_HEADERS;
        let no_window = frame(kind::SETTINGS, 0, &[0, 4, 0, 0, 0, 0]);
        client.write_all(&[PREFACE, &no_window, &head].concat()).await.unwrap();
        let builder = h2::server::Builder::new();
        let mut server = builder.handshake::<_, Piece>(server).await.unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        tokio::task::spawn_local(async move { while server.accept().await.is_some() {} });
        let outgoing = respond.send_response(Response::new(()), false).unwrap();
        let account = Account::new(64 * 1024);
        (client, TunnelStream::new(request.into_body(), outgoing, &account, STALL))
    }
}
