//! What a client sends, on its way to a replica, and perhaps to another one.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::domain::http::trailers;
use crate::domain::pool::Timeouts;

/// The body of one request: what is still to come of it, what has come and may
/// have to be sent again, and how far it is.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Upload {
    /// None without a body, and once all of it has come.
    incoming: RefCell<Option<Incoming>>,
    kept: RefCell<Kept>,
    /// As it was before anything was read.
    size: SizeHint,
    /// The attempt that sends it, by its number.
    current: Cell<u32>,
    /// How many of the kept pieces that attempt has sent.
    sent: Cell<usize>,
    bytes: Cell<u64>,
    stage: Cell<Stage>,
    /// When it last got on; none before that.
    moved_at: Cell<Option<Instant>>,
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
    Client(#[source] hyper::Error),
    #[error("it is sent elsewhere")]
    Elsewhere,
}

/// What has come of a body, as it came: the pieces share their bytes with what
/// was sent.
#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Piece>,
    bytes: usize,
    /// Something is missing: it grew too large, or nobody needs it any more.
    lost: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// There is more to come, or nobody has asked for it yet.
    #[default]
    Going,
    Ended,
    /// The client broke it off, or what it sent cannot be read.
    Broken,
}

impl Upload {
    pub(in crate::proxy) fn new(incoming: Incoming) -> Rc<Self> {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let size = incoming.size_hint();
        Rc::new(Self { incoming: RefCell::new(Some(incoming)), size, ..Self::default() })
    }

    pub(in crate::proxy) fn empty() -> Rc<Self> {
        let stage = Cell::new(Stage::Ended);
        Rc::new(Self { size: SizeHint::with_exact(0), stage, ..Self::default() })
    }

    /// The body for the next attempt, from its beginning; that of the last one
    /// can no longer be read.
    pub(in crate::proxy) fn body(self: &Rc<Self>) -> RequestBody {
        let number = self.current.get() + 1;
        self.current.set(number);
        self.sent.set(0);
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
        let mut kept = self.kept.borrow_mut();
        // A replica that answers early may still be sent the rest.
        if self.sent.get() >= kept.pieces.len() {
            *kept = Kept { lost: true, ..Kept::default() };
        }
    }

    /// Bytes of the body that the client has sent.
    pub(in crate::proxy) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(in crate::proxy) fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// Whether the attempt under way has all of it.
    pub(in crate::proxy) fn has_ended(&self) -> bool {
        self.stage.get() == Stage::Ended
    }

    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.stage.get() == Stage::Broken
    }

    /// Until when the replica may be silent: it has its time for an answer from
    /// the end of the request, and may pause in taking the body before that.
    pub(super) fn deadline(&self, began: Instant, timeouts: &Timeouts) -> Instant {
        let since = self.moved_at.get().map_or(began, |moved| moved.max(began));
        since + if self.has_ended() { timeouts.response } else { timeouts.idle }
    }

    fn all_is_sent(&self) -> bool {
        self.incoming.borrow().is_none() && self.sent.get() >= self.kept.borrow().pieces.len()
    }

    /// Takes the next piece from the client.
    fn poll_next(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(body) = incoming.as_mut() else { return Poll::Ready(None) };
        let mut frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(fields) = frame.trailers_mut()
        {
            trailers::strip(fields);
        }
        match &frame {
            None => {}
            Some(Err(_)) => self.stage.set(Stage::Broken),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes.set(self.bytes.get() + length as u64);
                self.kept.borrow_mut().keep(frame);
            }
        }
        if body.is_end_stream() || !matches!(frame, Some(Ok(_))) {
            *incoming = None;
        }
        Poll::Ready(frame)
    }
}

impl Kept {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let piece = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Piece::Data(data.clone()),
            (None, Some(fields)) => Piece::Trailers(fields.clone()),
            (None, None) => return,
        };
        if let Piece::Data(data) = &piece {
            self.bytes += data.len();
        }
        if self.bytes > REPLAY_BYTES_MAX {
            self.lost = true;
            self.pieces = Vec::new();
        }
        if !self.lost {
            self.pieces.push(piece);
        }
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
        let sent = upload.sent.get();
        let kept = upload.kept.borrow().pieces.get(sent).cloned();
        let frame = match kept {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::Trailers(fields)) => Some(Ok(Frame::trailers(fields))),
            None => ready!(upload.poll_next(context)).map(|it| it.map_err(BodyBroken::Client)),
        };
        if matches!(frame, Some(Ok(_))) {
            upload.sent.set(sent + 1);
        }
        upload.moved_at.set(Some(Instant::now()));
        if !upload.is_broken() && upload.all_is_sent() {
            upload.stage.set(Stage::Ended);
        }
        Poll::Ready(frame)
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
