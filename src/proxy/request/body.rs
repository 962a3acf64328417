//! What a client is sent.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep, timeout};

use crate::domain::lifecycle::State;
use crate::domain::middleware::Coding;
use crate::domain::pool::Vitals;
use crate::proxy::bell::Ongoing;
use crate::proxy::encoders::Room;
use crate::proxy::request::GONE_SILENCE;
use crate::proxy::request::compress::Compressed;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::timers::Stage;
use crate::proxy::request::tunnel::Tunnel;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::{AnswerBody, AnswerBroke, Connection, Upload};

/// What a client is sent. When it is dropped, having been sent or not, the
/// exchange is over: it is counted and logged.
pub(in crate::proxy) struct ResponseBody {
    content: Content,
    exchange: Option<Box<Exchange>>,
    bytes: u64,
    /// Why it broke off.
    failed: Option<&'static str>,
}

/// Where the bytes of an answer come from.
enum Content {
    Whole(Bytes),
    Streamed(Box<Streamed>),
    Compressed(Box<Compressed<Self>>),
    Tunnel(Box<Tunnel>),
    Done,
}

/// An answer that is still being read from its replica.
struct Streamed {
    incoming: AnswerBody,
    /// Gone once the answer has been read to its end.
    lease: Option<Lease>,
    idle: Duration,
    /// Armed only while the replica is silent.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A connection in use for one answer.
pub(super) struct Lease {
    pub(super) resources: Rc<Resources>,
    pub(super) connection: Connection,
    pub(super) upload: Rc<Upload>,
    pub(super) ongoing: Ongoing,
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Broken {
    #[error("the replica's answer broke off")]
    Upstream(#[source] AnswerBroke),
    #[error("the replica was silent for {0:?}")]
    Silent(Duration),
    #[error("the time of the replica to finish is over")]
    Overdue,
    #[error("the answer cannot be compressed")]
    Compression(#[from] io::Error),
}

impl Broken {
    /// The name in the access log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "upstream_broke_off",
            Self::Silent(_) => "upstream_silent",
            Self::Overdue => "drain_over",
            Self::Compression(_) => "compression_failed",
        }
    }
}

impl ResponseBody {
    /// An answer of our own.
    pub(super) fn whole(content: Bytes, exchange: Box<Exchange>) -> Self {
        Self { content: Content::whole(content), exchange: Some(exchange), bytes: 0, failed: None }
    }

    /// Nothing, since the connection or the stream becomes this tunnel, with
    /// which the exchange goes on.
    pub(super) fn tunnel(tunnel: Tunnel) -> Self {
        let content = Content::Tunnel(Box::new(tunnel));
        Self { content, exchange: None, bytes: 0, failed: None }
    }

    /// The time of its request is of this stage from now on.
    pub(super) fn enter(&mut self, stage: Stage) {
        let exchange = match &mut self.content {
            Content::Tunnel(tunnel) => tunnel.exchange(),
            Content::Whole(_) | Content::Streamed(_) | Content::Compressed(_) | Content::Done => {
                self.exchange.as_deref_mut()
            }
        };
        if let Some(exchange) = exchange {
            exchange.timers.enter(stage);
        }
    }

    /// The tunnel that is to be run once the head of the answer has been sent.
    pub(in crate::proxy) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        if !matches!(self.content, Content::Tunnel(_)) {
            return None;
        }
        let content = mem::replace(&mut self.content, Content::Done);
        if let Content::Tunnel(tunnel) = content { Some(tunnel) } else { None }
    }

    /// The client gets no more of it, for this reason.
    pub(in crate::proxy) fn break_off(&mut self, reason: &'static str) {
        self.failed.get_or_insert(reason);
    }

    /// Other content in place of what it was. A short rest of that is still
    /// read, so that its connection can carry another request.
    pub(super) fn replaced(mut self, content: Bytes) -> Self {
        discard_rest(mem::replace(&mut self.content, Content::whole(content)));
        self
    }

    /// A replica's answer.
    pub(super) fn streamed(
        incoming: AnswerBody,
        lease: Lease,
        idle: Duration,
        exchange: Box<Exchange>,
    ) -> Self {
        let content = Content::streamed(incoming, lease, idle);
        Self { content, exchange: Some(exchange), bytes: 0, failed: None }
    }

    /// Its bytes from here on, in this coding. Nothing stays nothing.
    pub(super) fn compress(&mut self, coding: Coding, room: Room) {
        if !self.is_end_stream() {
            let length = self.size_hint().exact();
            let source = mem::replace(&mut self.content, Content::Done);
            let compressed = Compressed::new(source, coding, length, room);
            self.content = Content::Compressed(Box::new(compressed));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.content).poll_frame(context));
        if let Some(data) = data_of(&frame) {
            self.bytes += data.len() as u64;
        }
        if let Some(Err(broken)) = &frame {
            self.failed = Some(broken.reason());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let whole = self.is_end_stream() && self.failed.is_none();
        if let Some(mut exchange) = self.exchange.take() {
            exchange.body_ended(self.bytes, whole, self.failed);
        }
    }
}

/// Ends the use of a replica's answer that nobody gets, once a short rest of it
/// has been read.
pub(super) fn discard(incoming: AnswerBody, lease: Lease, idle: Duration) {
    discard_rest(Content::streamed(incoming, lease, idle));
}

fn discard_rest(content: Content) {
    if let Content::Streamed(rest) = content {
        tokio::task::spawn_local(timeout(REST_TIME, rest.run_out()));
    }
}

impl Content {
    fn whole(content: Bytes) -> Self {
        if content.is_empty() { Self::Done } else { Self::Whole(content) }
    }

    fn streamed(incoming: AnswerBody, lease: Lease, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            lease.release();
            return Self::Done;
        }
        let lease = Some(lease);
        Self::Streamed(Box::new(Streamed { incoming, lease, idle, deadline: None }))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = match &mut *self {
            Self::Done | Self::Tunnel(_) => None,
            Self::Whole(content) => {
                let content = mem::take(content);
                *self = Self::Done;
                Some(Ok(Frame::data(content)))
            }
            Self::Streamed(streamed) => {
                let frame = ready!(streamed.poll_frame(context));
                let trailers =
                    |it: &Result<Frame<Bytes>, _>| it.as_ref().is_ok_and(Frame::is_trailers);
                if streamed.incoming.is_end_stream() || frame.as_ref().is_none_or(trailers) {
                    streamed.end();
                    *self = Self::Done;
                }
                frame
            }
            Self::Compressed(compressed) => {
                let frame = ready!(compressed.poll_frame(context));
                if compressed.is_end_stream() {
                    *self = Self::Done;
                }
                frame
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Done | Self::Tunnel(_) => true,
            Self::Whole(_) => false,
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
            Self::Compressed(compressed) => compressed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done | Self::Tunnel(_) => SizeHint::with_exact(0),
            Self::Whole(content) => SizeHint::with_exact(content.len() as u64),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
            Self::Compressed(_) => SizeHint::default(),
        }
    }
}

impl Streamed {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let watch = self.lease.as_ref().map(|lease| &lease.ongoing.watch);
        let sees = |wanted: fn(&Vitals) -> bool| watch.is_some_and(|watch| watch.sees(wanted));
        if sees(Vitals::is_cut) {
            return Poll::Ready(Some(Err(Broken::Overdue)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.deadline = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::Upstream)));
        }
        if let Some(watch) = watch {
            watch.note(context);
        }
        if self.idle > GONE_SILENCE && sees(|vitals| vitals.state() == State::Gone) {
            // What it sent before it went may still be on its way, and no more.
            self.idle = GONE_SILENCE;
            self.deadline = None;
        }
        let idle = self.idle;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(Broken::Silent(idle))))
    }

    /// Reads what is left of it, if that is not much.
    async fn run_out(mut self: Box<Self>) {
        let mut left = REST_BYTES_MAX;
        while !self.incoming.is_end_stream() {
            match poll_fn(|context| self.poll_frame(context)).await {
                Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => return,
                },
                Some(Err(_)) => return,
                None => break,
            }
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }
}

impl Lease {
    /// Ends the use: the connection goes back to the idle ones.
    fn release(self) {
        self.connection.release(
            &self.upload,
            self.ongoing.in_flight.vitals(),
            self.resources.carriers(),
        );
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

fn data_of<E>(frame: &Option<Result<Frame<Bytes>, E>>) -> Option<&Bytes> {
    frame.as_ref()?.as_ref().ok()?.data_ref()
}

/// What is read of an answer that nobody gets: less than another connection is
/// worth.
const REST_BYTES_MAX: usize = 64 * 1024;
const REST_TIME: Duration = Duration::from_secs(1);
