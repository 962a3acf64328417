//! What a client sends, on its way to a replica, and perhaps to another one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::domain::http::trailers;
use crate::domain::pool::Timeouts;
use crate::proxy::client_body::{ClientBody, ClientBroke};
use crate::proxy::error::ProxyError;
use crate::proxy::http1::turn::Fault;

/// The body of one request: what is still to come of it, what has come and may
/// have to be sent again, and how far it is.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Upload {
    /// None without a body, and once all of it has come.
    incoming: RefCell<Option<ClientBody>>,
    kept: RefCell<Kept>,
    /// As it was before anything was read.
    size: SizeHint,
    /// The attempt that sends it, by its number.
    current: Cell<u32>,
    bytes: Cell<u64>,
    /// Of `lb.body_limit`, if there is one.
    limit: Cell<Option<u64>>,
    without_trailers: Cell<bool>,
    stage: Cell<Stage>,
    /// What is known of why the client broke it off.
    fault: Cell<Option<Fault>>,
    /// When it last got on; none before that.
    moved_at: Cell<Option<Instant>>,
    /// Who wants to know that the attempt under way has all of it.
    waits: RefCell<Option<Waker>>,
}

/// A request's body as one attempt sends it.
#[derive(Debug)]
pub(in crate::proxy) struct RequestBody {
    upload: Rc<Upload>,
    number: u32,
}

/// Why a body ends too soon.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum BodyBroken {
    #[error("the client broke it off")]
    Client(#[source] ClientBroke),
    #[error("it is larger than it may be")]
    TooLarge,
    #[error("it is sent elsewhere")]
    Elsewhere,
}

/// What has come of a body and is still wanted.
#[derive(Debug, Default)]
struct Kept {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// How many of the pieces the attempt under way has sent.
    sent: usize,
    /// Something is missing: it grew too large, or nobody will want it again.
    lost: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// The replica does not take it just now, or nobody has asked for it yet.
    #[default]
    Going,
    /// The client has not sent the next piece.
    Awaited,
    Ended,
    /// The client broke it off, or what it sent cannot be read.
    Broken,
}

impl Upload {
    pub(in crate::proxy) fn new(incoming: ClientBody) -> Rc<Self> {
        let ended = incoming.is_end_stream();
        let size = incoming.size_hint();
        let stage = Cell::new(if ended { Stage::Ended } else { Stage::Going });
        let incoming = RefCell::new((!ended).then_some(incoming));
        Rc::new(Self { incoming, size, stage, ..Self::default() })
    }

    /// No body at all.
    pub(in crate::proxy) fn none() -> Rc<Self> {
        let (size, stage) = (SizeHint::with_exact(0), Cell::new(Stage::Ended));
        Rc::new(Self { size, stage, ..Self::default() })
    }

    /// The body for the next attempt, from its beginning; that of the last one
    /// can no longer be read.
    pub(in crate::proxy) fn body(self: &Rc<Self>) -> RequestBody {
        let number = self.current.get() + 1;
        self.current.set(number);
        self.kept.borrow_mut().sent = 0;
        if !self.is_broken() {
            self.stage.set(if self.all_is_sent() { Stage::Ended } else { Stage::Going });
        }
        RequestBody { upload: Rc::clone(self), number }
    }

    /// Whether all that has come of it can be sent again.
    pub(in crate::proxy) fn is_whole(&self) -> bool {
        !self.kept.borrow().lost && !self.is_broken()
    }

    /// It will not be sent again.
    pub(in crate::proxy) fn forget(&self) {
        self.kept.borrow_mut().lose();
    }

    /// Takes what comes while nobody can be sent it, so far as it can be kept,
    /// and thereby sees if the client leaves. Ends only if the body breaks.
    pub(in crate::proxy) async fn read_ahead(&self) {
        poll_fn(|context| {
            while !self.is_broken() && self.kept.borrow().bytes < READ_AHEAD_MAX {
                // At its end there is nothing more to watch.
                if ready!(self.poll_next(context)).is_none() {
                    return Poll::Pending;
                }
            }
            if self.is_broken() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Bytes of the body that the client has sent.
    pub(in crate::proxy) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// From now on it may have so many bytes in all. It breaks where more come,
    /// of which none are sent on.
    pub(in crate::proxy) fn set_limit(&self, limit: Option<u64>) {
        self.limit.set(limit);
    }

    /// Whether its trailers stay here: a replica that merges them with the head
    /// would believe what they say under a name that somebody vouches for.
    pub(in crate::proxy) fn keep_trailers_back(&self, stay: bool) {
        self.without_trailers.set(stay);
    }

    /// Why it is broken: the client broke it off, or sent too much.
    pub(in crate::proxy) fn fault(&self) -> ProxyError {
        match self.limit.get() {
            Some(limit) if self.bytes.get() > limit => ProxyError::BodyTooLarge { limit },
            Some(_) | None => ProxyError::ClientBroke(self.fault.get()),
        }
    }

    /// Whether the attempt under way has all of it.
    pub(in crate::proxy) fn has_ended(&self) -> bool {
        self.stage.get() == Stage::Ended
    }

    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.stage.get() == Stage::Broken
    }

    /// Whether there never was a body.
    pub(in crate::proxy) fn is_empty(&self) -> bool {
        self.size.exact() == Some(0)
    }

    /// When it last got on, if that was after `began`.
    pub(in crate::proxy) fn moved_since(&self, began: Instant) -> Instant {
        self.moved_at.get().map_or(began, |moved| moved.max(began))
    }

    /// Until when the replica may be silent: it has its time for an answer from
    /// the end of the request, and may pause in taking the body before that.
    /// None while it is the client who is waited for.
    pub(super) fn deadline(&self, began: Instant, timeouts: &Timeouts) -> Option<Instant> {
        let since = self.moved_since(began);
        match self.stage.get() {
            Stage::Ended => Some(since + timeouts.response),
            Stage::Going => Some(since + timeouts.idle),
            Stage::Awaited | Stage::Broken => None,
        }
    }

    /// Waits until it is no longer as at the call: another deadline holds.
    pub(super) async fn moved(&self) {
        let stage = self.stage.get();
        poll_fn(|context| {
            if self.stage.get() != stage {
                return Poll::Ready(());
            }
            if stage == Stage::Ended {
                return Poll::Pending;
            }
            *self.waits.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn set_stage(&self, stage: Stage) {
        if self.stage.replace(stage) != stage
            && let Some(waker) = self.waits.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn all_is_sent(&self) -> bool {
        let kept = self.kept.borrow();
        self.incoming.borrow().is_none() && kept.sent >= kept.pieces.len()
    }

    /// Takes the next piece from the client.
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<(), BodyBroken>>> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(body) = incoming.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        // Trailers end it, though hyper does not say so by itself.
        if body.is_end_stream() || !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            *incoming = None;
        }
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => {
                self.fault.set(error.fault());
                self.set_stage(Stage::Broken);
                Some(Err(BodyBroken::Client(error)))
            }
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes.set(self.bytes.get() + length as u64);
                if self.limit.get().is_some_and(|limit| self.bytes.get() > limit) {
                    *incoming = None;
                    self.set_stage(Stage::Broken);
                    return Poll::Ready(Some(Err(BodyBroken::TooLarge)));
                }
                self.kept.borrow_mut().keep(frame);
                Some(Ok(()))
            }
        })
    }
}

#[cfg(test)]
impl Upload {
    /// A body of which more is to come.
    pub(in crate::proxy) fn sending() -> Self {
        Self { stage: Cell::new(Stage::Awaited), ..Self::default() }
    }

    /// The attempt under way has all of it.
    pub(in crate::proxy) fn end(&self) {
        self.moved_at.set(Some(Instant::now()));
        self.set_stage(Stage::Ended);
    }
}

impl Kept {
    fn keep(&mut self, frame: Frame<Bytes>) {
        let piece = match frame.into_data().map_err(Frame::into_trailers) {
            Ok(data) if self.join(&data) => return,
            // A slice holds the whole buffer that it was read into.
            Ok(data) if data.len() < SMALL => Piece::Data(Bytes::copy_from_slice(&data)),
            Ok(data) => Piece::Data(data),
            Err(Ok(mut fields)) => {
                trailers::strip(&mut fields);
                Piece::Trailers(fields)
            }
            Err(Err(_)) => return,
        };
        if let Piece::Data(data) = &piece {
            self.bytes += data.len();
        }
        self.pieces.push_back(piece);
        self.thin_out();
    }

    /// Adds `data` to a small piece that has not been sent yet, since a client may
    /// send a body byte by byte. Whether it could.
    fn join(&mut self, data: &[u8]) -> bool {
        let unsent = self.pieces.len() > self.sent;
        match self.pieces.back_mut().filter(|_| unsent) {
            Some(Piece::Data(last)) if last.len() + data.len() <= SMALL => {
                let joined = std::mem::take(last).try_into_mut();
                let mut joined = joined.unwrap_or_else(|shared| BytesMut::from(&*shared));
                joined.extend_from_slice(data);
                *last = joined.freeze();
                self.bytes += data.len();
                true
            }
            Some(Piece::Data(_) | Piece::Trailers(_)) | None => false,
        }
    }

    /// The next piece for the attempt under way.
    fn send(&mut self) -> Option<Piece> {
        let piece = self.pieces.get(self.sent).cloned()?;
        self.sent += 1;
        self.thin_out();
        Some(piece)
    }

    /// Drops what has been sent of more than is kept.
    fn thin_out(&mut self) {
        let too_much = self.bytes > REPLAY_BYTES_MAX || self.pieces.len() > PIECES_MAX;
        if self.sent > 0 && (self.lost || too_much) {
            self.lose();
        }
    }

    /// Drops what has been sent.
    fn lose(&mut self) {
        self.lost = true;
        self.pieces.drain(..self.sent.min(self.pieces.len()));
        self.sent = 0;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let upload = &self.upload;
        if self.number != upload.current.get() {
            return Poll::Ready(Some(Err(BodyBroken::Elsewhere)));
        }
        let mut next = upload.kept.borrow_mut().send();
        if next.is_none() {
            match upload.poll_next(context) {
                Poll::Ready(Some(Ok(()))) => next = upload.kept.borrow_mut().send(),
                Poll::Ready(Some(Err(broken))) => return Poll::Ready(Some(Err(broken))),
                Poll::Ready(None) => {}
                Poll::Pending => {
                    upload.set_stage(Stage::Awaited);
                    return Poll::Pending;
                }
            }
        }
        upload.moved_at.set(Some(Instant::now()));
        upload.set_stage(if upload.all_is_sent() { Stage::Ended } else { Stage::Going });
        Poll::Ready(next.map(|piece| {
            Ok(match piece {
                Piece::Data(data) => Frame::data(data),
                Piece::Trailers(_) if upload.without_trailers.get() => {
                    Frame::trailers(HeaderMap::new())
                }
                Piece::Trailers(fields) => Frame::trailers(fields),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.all_is_sent()
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.size
    }
}

/// What is kept of a body. Beyond that it is too dear for what it may save.
const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// In so many pieces at most, since each has a cost of its own.
const PIECES_MAX: usize = 128;

/// Smaller pieces are copied, so that they hold no buffer of many times their
/// size.
const SMALL: usize = 4 * 1024;

/// What is read of a body before there is a replica for it: so little that the
/// next piece is unlikely to be more than can be kept.
const READ_AHEAD_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use std::time::Duration;

    /// Each piece costs many times a byte.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_kept_in_few_pieces() {
        const IDLE: Duration = Duration::from_secs(60);
        let (client, server) = tokio::io::duplex(1024 * 1024);
        let (opened, accepted) = tokio::join!(
            h2::client::handshake(client),
            h2::server::Builder::new().data_frame_budget(1 << 24).handshake::<_, Bytes>(server)
        );
        let ((mut requests, connection), mut server) = (opened.unwrap(), accepted.unwrap());
        tokio::spawn(connection);
        let request = Request::post("https://a/").body(()).unwrap();
        let (_answer, mut sending) = requests.send_request(request, false).unwrap();
        let (request, _respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let upload = Upload::new(ClientBody::http2(request.into_body(), None, IDLE, None));
        let sent: Vec<u8> = (0..2 * READ_AHEAD_MAX).map(|number| (number % 251) as u8).collect();
        for byte in &sent {
            sending.send_data(Bytes::copy_from_slice(&[*byte]), false).unwrap();
        }
        assert!(tokio::time::timeout(IDLE / 2, upload.read_ahead()).await.is_err());
        let kept = upload.kept.borrow();
        assert_eq!((kept.bytes, kept.pieces.len()), (READ_AHEAD_MAX, READ_AHEAD_MAX / SMALL));
        let joined: Vec<u8> = kept
            .pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Data(data) => data.to_vec(),
                Piece::Trailers(_) => panic!("there are none"),
            })
            .collect();
        assert_eq!(joined, sent[..READ_AHEAD_MAX]);
    }

    #[test]
    fn what_has_been_sent_is_not_added_to() {
        let mut kept = Kept::default();
        let piece = |text| Frame::data(Bytes::from_static(text));
        kept.keep(piece(b"one"));
        assert!(matches!(kept.send(), Some(Piece::Data(data)) if data == "one"));
        kept.keep(piece(b"two"));
        kept.keep(piece(b"three"));
        assert!(matches!(kept.send(), Some(Piece::Data(data)) if data == "twothree"));
        assert!(kept.send().is_none());
    }
}
