//! One direction of a tunnel.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::domain::http::websocket::Frames;

/// What has come from one end on its way to the other. It has no buffer of its
/// own but for what the other end does not take at once, so that a tunnel at rest
/// costs next to nothing.
#[derive(Debug, Default)]
pub(super) struct Flow {
    carried: u64,
    /// Of a WebSocket.
    frames: Option<Frames>,
    /// Taken from the one end, and by the other only up to `written`.
    waiting: Vec<u8>,
    written: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Open,
    /// The one end is done, and the other does not know it yet.
    Ending,
    /// Nothing more goes this way.
    Over,
}

impl Flow {
    /// A direction by which `early` has come already.
    pub(super) fn new(is_websocket: bool, early: &[u8]) -> Self {
        let mut flow = Self { frames: is_websocket.then(Frames::default), ..Self::default() };
        flow.note(early);
        flow.waiting = early.to_vec();
        flow
    }

    /// How many bytes have come this way.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// Carries bytes until `from` is done and `to` has been told so. `moved` is
    /// called when something has come.
    pub(super) fn poll_carry(
        &mut self,
        from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        moved: impl Fn(),
    ) -> Poll<io::Result<()>> {
        let mut from = from;
        loop {
            ready!(self.poll_send(to.as_mut(), context))?;
            match self.stage {
                Stage::Open => {}
                Stage::Ending => {
                    ready!(to.as_mut().poll_shutdown(context))?;
                    self.stage = Stage::Over;
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
            if self.stage == Stage::Open {
                let mut room = [MaybeUninit::uninit(); PIECE_BYTES];
                let mut piece = ReadBuf::uninit(&mut room);
                ready!(from.as_mut().poll_read(context, &mut piece))?;
                if piece.filled().is_empty() {
                    self.stage = Stage::Ending;
                } else {
                    moved();
                    self.note(piece.filled());
                    self.give(piece.filled(), to.as_mut(), context)?;
                }
            }
        }
    }

    /// Carries on to the end of a frame, and ends this way with `close` then,
    /// unless one end has closed it by itself.
    pub(super) fn poll_close(
        &mut self,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
        close: &[u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(to.as_mut(), context))?;
            if self.stage != Stage::Open {
                return Poll::Ready(Ok(()));
            }
            if self.frames.is_none_or(|frames| frames.is_between()) {
                self.end(close, to.as_mut(), context)?;
                continue;
            }
            let mut room = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut room);
            ready!(from.as_mut().poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                self.stage = Stage::Over;
                continue;
            }
            let end = self.frames.as_mut().map_or(0, |frames| frames.finish(piece.filled()));
            let (rest_of_frame, next) = piece.filled().split_at_checked(end).unwrap_or_default();
            self.carried += rest_of_frame.len() as u64;
            self.give(rest_of_frame, to.as_mut(), context)?;
            if self.frames.is_some_and(|frames| frames.is_between()) {
                self.end(close, to.as_mut(), context)?;
                // Nobody gets it, but a close frame in it is an answer.
                if let Some(frames) = &mut self.frames {
                    frames.walk(next);
                }
            }
        }
    }

    /// Ends this way between two frames, with `close` unless one end has closed
    /// it by itself.
    fn end(
        &mut self,
        close: &[u8],
        to: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        self.stage = Stage::Over;
        if self.frames.is_some_and(|frames| !frames.has_closed()) {
            self.give(close, to, context)?;
        }
        Ok(())
    }

    /// Takes what still comes, for nobody, until a close frame has come or `from`
    /// is done.
    pub(super) fn poll_hear_close(
        &mut self,
        mut from: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.frames.is_some_and(|frames| !frames.has_closed()) {
            let mut room = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut room);
            ready!(from.as_mut().poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                break;
            }
            self.note(piece.filled());
        }
        Poll::Ready(Ok(()))
    }

    fn note(&mut self, piece: &[u8]) {
        self.carried += piece.len() as u64;
        if let Some(frames) = &mut self.frames {
            frames.walk(piece);
        }
    }

    /// Has `to` take of `piece` what it takes at once; the rest waits, behind what
    /// waits already.
    fn give(
        &mut self,
        mut piece: &[u8],
        mut to: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.waiting.extend_from_slice(piece);
            return Ok(());
        }
        while !piece.is_empty() {
            match to.as_mut().poll_write(context, piece)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => piece = piece.get(count..).unwrap_or_default(),
                Poll::Pending => {
                    self.waiting = piece.to_vec();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Waits until `to` has taken all that waits and holds nothing back. It is
    /// asked even if nothing waits: an end that is gone may tell so nowhere else.
    fn poll_send(
        &mut self,
        mut to: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(to.as_mut().poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        if !self.waiting.is_empty() {
            self.waiting = Vec::new();
            self.written = 0;
        }
        to.poll_flush(context)
    }
}

/// Read at a time: WebSocket messages are mostly small; large ones are cut into
/// pieces. On the stack, so that nobody holds it while nothing comes.
const PIECE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::task::yield_now;

    #[tokio::test]
    async fn an_end_that_is_done_leaves_the_other_free_to_speak() {
        let (mut client, mut inner) = duplex(64);
        let (mut server, mut outer) = duplex(64);
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        let mut flow = Flow::new(false, b"");
        carry(&mut flow, &mut inner, &mut outer).await.unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert_eq!((&*heard, flow.carried()), (&b"bye"[..], 3));
        outer.write_all(b"?").await.unwrap_err();
        server.write_all(b"still").await.unwrap();
        outer.read_exact(&mut [0; 5]).await.unwrap();
    }

    #[tokio::test]
    async fn what_came_early_goes_first() {
        let (mut client, mut inner) = duplex(64);
        let (mut server, mut outer) = duplex(64);
        client.write_all(b" late").await.unwrap();
        drop(client);
        let mut flow = Flow::new(false, b"early");
        carry(&mut flow, &mut inner, &mut outer).await.unwrap();
        let mut heard = String::new();
        server.read_to_string(&mut heard).await.unwrap();
        assert_eq!((&*heard, flow.carried()), ("early late", 10));
    }

    /// Whatever waits is bounded by one piece, and nothing is kept at rest.
    #[tokio::test]
    async fn a_slow_end_holds_the_other_back() {
        let (mut client, mut inner) = duplex(1 << 20);
        let (mut server, mut outer) = duplex(1024);
        let sent = vec![7; 200_000];
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut flow = Flow::new(false, b"");
        let mut most = 0;
        let carrying = poll_fn(|context| {
            let carried =
                flow.poll_carry(Pin::new(&mut inner), Pin::new(&mut outer), context, || {});
            most = most.max(flow.waiting.len());
            carried
        });
        let mut heard = Vec::new();
        let (carried, read) = tokio::join!(carrying, server.read_to_end(&mut heard));
        carried.unwrap();
        read.unwrap();
        assert_eq!(heard, sent);
        assert!(most > 0 && most <= PIECE_BYTES, "{most}");
        assert_eq!(flow.waiting.capacity(), 0);
    }

    /// Neither end says anything, and the other does not take what waits for it.
    #[tokio::test]
    async fn an_end_that_is_gone_is_seen_though_nothing_is_carried() {
        struct Gone;
        impl AsyncWrite for Gone {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Pending
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Pending
            }
        }
        let (_silent, mut inner) = duplex(64);
        let mut flow = Flow::new(false, b"");
        let carried = carry(&mut flow, &mut inner, &mut Gone).now_or_never();
        let failed = carried.expect("it is seen").unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionReset);
    }

    /// A close in the middle of a frame would be taken for a part of it.
    #[tokio::test]
    async fn a_close_waits_for_the_end_of_a_frame() {
        let (mut server, mut inner) = duplex(64);
        let (mut client, mut outer) = duplex(64);
        let mut flow = Flow::new(true, b"\x81\x05He");
        let closing = close(&mut flow, &mut inner, &mut outer);
        let speaking = async {
            yield_now().await;
            server.write_all(b"llo\x81\x05never").await.unwrap();
        };
        let (closed, ()) = tokio::join!(closing, speaking);
        closed.unwrap();
        drop(outer);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x81\x05Hello\x88\0");
    }

    /// What is read with the end of a frame is given to nobody, wherever it is cut.
    #[tokio::test]
    async fn a_close_comes_before_whatever_follows_the_frame() {
        let cuts: [(&[u8], &[u8]); 4] = [
            (b"\x81\x05ne", b"ver\x88\0"),
            (b"\x81\x05never\x81", b"\x01x\x88\0"),
            (b"\x88\x02\x03\xe8", b""),
            (b"\x88\x02", b"\x03\xe8"),
        ];
        for (next, rest) in cuts {
            // So little room that the frame has to wait, and the close behind it.
            for room in [4, 64] {
                let (mut server, mut inner) = duplex(64);
                let (mut client, mut outer) = duplex(room);
                server.write_all(&[b"llo", next].concat()).await.unwrap();
                let mut flow = Flow::new(true, b"\x81\x05He");
                let closing = async {
                    close(&mut flow, &mut inner, &mut outer).await.unwrap();
                    drop(outer);
                };
                let mut heard = Vec::new();
                let (_, read) = tokio::join!(closing, client.read_to_end(&mut heard));
                read.unwrap();
                assert_eq!(heard, b"\x81\x05Hello\x88\0", "{next:?} {room}");
                assert_eq!(flow.carried(), 7);
                // The rest of it ends what is listened for.
                server.write_all(rest).await.unwrap();
                poll_fn(|context| flow.poll_hear_close(Pin::new(&mut inner), context))
                    .await
                    .unwrap();
            }
        }
    }

    #[tokio::test]
    async fn whoever_has_closed_is_not_closed_twice() {
        let (_server, mut inner) = duplex(64);
        let (mut client, mut outer) = duplex(64);
        let mut flow = Flow::new(true, b"\x88\x02\x03\xe8");
        close(&mut flow, &mut inner, &mut outer).await.unwrap();
        drop(outer);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"\x88\x02\x03\xe8");
    }

    #[tokio::test]
    async fn an_answering_close_may_come_after_other_frames() {
        let (mut client, mut inner) = duplex(64);
        let mut flow = Flow::new(true, b"");
        let hearing = poll_fn(|context| flow.poll_hear_close(Pin::new(&mut inner), context));
        let answering = async {
            for piece in [&b"\x81\x80abcd\x88"[..], b"\x82abcd", b"\x03\xe9"] {
                yield_now().await;
                client.write_all(piece).await.unwrap();
            }
        };
        let (heard, ()) = tokio::join!(hearing, answering);
        heard.unwrap();
    }

    async fn carry(
        flow: &mut Flow,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        poll_fn(|context| flow.poll_carry(Pin::new(&mut *from), Pin::new(&mut *to), context, || {}))
            .await
    }

    async fn close(
        flow: &mut Flow,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        poll_fn(|context| {
            flow.poll_close(Pin::new(&mut *from), Pin::new(&mut *to), b"\x88\0", context)
        })
        .await
    }
}
