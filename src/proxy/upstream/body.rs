//! What a client sends, on its way to a replica.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::domain::http::trailers;
use crate::domain::pool::Timeouts;

/// A request's body. How far it has come is told by its [`Upload`].
#[derive(Debug)]
pub(in crate::proxy) struct RequestBody {
    incoming: Option<Incoming>,
    upload: Rc<Upload>,
}

/// How far a request's body has come.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Upload {
    bytes: Cell<u64>,
    stage: Cell<Stage>,
    /// When it last got on; none before that.
    moved_at: Cell<Option<Instant>>,
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

impl RequestBody {
    pub(in crate::proxy) fn new(incoming: Incoming, upload: Rc<Upload>) -> Self {
        let ended = incoming.is_end_stream();
        if ended {
            upload.stage.set(Stage::Ended);
        }
        Self { incoming: (!ended).then_some(incoming), upload }
    }

    pub(in crate::proxy) fn empty(upload: Rc<Upload>) -> Self {
        upload.stage.set(Stage::Ended);
        Self { incoming: None, upload }
    }
}

impl Upload {
    /// Bytes of the body that were passed on.
    pub(in crate::proxy) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(in crate::proxy) fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    pub(in crate::proxy) fn has_ended(&self) -> bool {
        self.stage.get() == Stage::Ended
    }

    pub(in crate::proxy) fn is_broken(&self) -> bool {
        self.stage.get() == Stage::Broken
    }

    /// Until when the replica may be silent: it has its time for an answer from
    /// the end of the request, and may pause in taking the body before that.
    pub(super) fn deadline(&self, began: Instant, timeouts: &Timeouts) -> Instant {
        let since = self.moved_at.get().unwrap_or(began);
        since + if self.has_ended() { timeouts.response } else { timeouts.idle }
    }

    fn note(&self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        self.moved_at.set(Some(Instant::now()));
        match frame {
            None => self.stage.set(Stage::Ended),
            Some(Err(_)) => self.stage.set(Stage::Broken),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes.set(self.bytes.get() + length as u64);
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let mut frame = ready!(Pin::new(&mut *incoming).poll_frame(context));
        if let Some(Ok(frame)) = &mut frame
            && let Some(fields) = frame.trailers_mut()
        {
            trailers::strip(fields);
        }
        let ended = incoming.is_end_stream();
        self.upload.note(frame.as_ref());
        if ended {
            self.upload.stage.set(Stage::Ended);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
