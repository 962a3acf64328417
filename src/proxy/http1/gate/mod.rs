//! The gate between a client's bytes and the HTTP/1 server.
//!
//! It follows the messages in the stream: a head passes once it is whole and
//! judged, its body as it comes, and the next head only after the answer to
//! the last one has ended. What the client sends early is held here, so that
//! none of it can reach an upstream as part of another message, or before a
//! 101.
//!
//! A head that is refused is replaced by a harmless one that asks to close, so
//! that the answer takes the usual way; the service learns of it from its
//! [`Turn`](super::turn::Turn). The end of the stream follows the answer and
//! not the head, since hyper takes an end in between for a client that left.
//!
//! At rest there is no buffer: a read goes into the server's own, and only
//! what may not pass yet is copied. That is at most a head and one read, whose
//! size the server chooses.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::clock::Clock;
use super::linger::linger;
use super::turn::{Fault, GateHandle, Shared, State};
use crate::domain::http::chunked::Chunked;
use crate::domain::http::framing::{self, Body, HeadFacts};
use crate::domain::http::refusal::Refusal;

/// A client's stream as the HTTP/1 server may see it.
#[derive(Debug)]
pub struct Gate<S> {
    stream: S,
    limits: Limits,
    shared: Rc<Shared>,
    clock: Clock,
    reading: Reading,
    /// What was read and has not been handed on.
    held: BytesMut,
    /// How much of `held` may be handed on.
    cleared: usize,
    /// How much of an unfinished head was searched for its end.
    searched: usize,
    head_began: Option<Instant>,
    /// Of a body read that waits.
    body_deadline: Option<Instant>,
    /// Of a write that waits.
    write_deadline: Option<Instant>,
    /// The client may be sending what nobody will read.
    unheard: bool,
}

/// Where in the stream of messages the reader is.
#[derive(Debug)]
enum Reading {
    Head,
    Length(u64),
    Chunked(Chunked),
    /// A body that cannot be read on; the error is due.
    Broken(Refusal),
    /// The message has ended, its answer has not.
    Answer,
    /// As `Answer`, and the last one.
    LastAnswer,
    Tunnel,
    Closed,
}

impl<S> Gate<S> {
    /// A gate in front of `stream`, and the service's end of it. The idle time
    /// begins now.
    pub fn new(stream: S, limits: Limits) -> (Self, GateHandle) {
        let shared = Shared::new();
        let handle = shared.handle();
        let gate = Self {
            stream,
            limits,
            shared,
            clock: Clock::default(),
            reading: Reading::Head,
            held: BytesMut::new(),
            cleared: 0,
            searched: 0,
            head_began: None,
            body_deadline: None,
            write_deadline: None,
            unheard: false,
        };
        (gate, handle)
    }

    /// The gate, having read `bytes` of the stream already.
    pub fn after(mut self, bytes: &[u8]) -> Self {
        self.held.extend_from_slice(bytes);
        self.admit_held();
        self
    }

    /// How many of `bytes`, which follow what passed before, may pass. None if
    /// they hold no whole head yet.
    fn admit(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut admitted = 0;
        if matches!(self.reading, Reading::Head) {
            let Some(end) = head_end(bytes, self.searched)? else {
                self.searched = bytes.len();
                let full = bytes.len() >= self.limits.head_bytes_max;
                return if full { Err(Refusal::HeadTooLarge) } else { Ok(0) };
            };
            if end > self.limits.head_bytes_max {
                return Err(Refusal::HeadTooLarge);
            }
            self.accept(framing::judge(bytes.get(..end).unwrap_or_default())?);
            admitted = end;
        }
        Ok(admitted + self.admit_body(bytes.get(admitted..).unwrap_or_default()))
    }

    fn accept(&mut self, facts: HeadFacts) {
        self.begin(Ok(facts));
        self.reading = match facts.body {
            Body::None | Body::Length(0) => Reading::Answer,
            Body::Length(length) => Reading::Length(length),
            Body::Chunked => Reading::Chunked(Chunked::new()),
        };
    }

    fn begin(&mut self, verdict: Result<HeadFacts, Refusal>) {
        self.searched = 0;
        let received_at = self.head_began.take().unwrap_or_else(Instant::now);
        self.shared.begin(verdict, received_at);
    }

    fn admit_body(&mut self, bytes: &[u8]) -> usize {
        match &mut self.reading {
            Reading::Length(left) => {
                let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= here as u64;
                if *left == 0 {
                    self.reading = Reading::Answer;
                }
                here
            }
            Reading::Chunked(body) => match body.advance(bytes) {
                Ok(progress) => {
                    if progress.ended {
                        self.reading = Reading::Answer;
                    }
                    progress.consumed
                }
                Err(refusal) => {
                    self.reading = Reading::Broken(refusal);
                    0
                }
            },
            Reading::Head
            | Reading::Broken(_)
            | Reading::Answer
            | Reading::LastAnswer
            | Reading::Tunnel
            | Reading::Closed => 0,
        }
    }

    /// Looks at what is held, after the empty lines that a client may send
    /// before a request line (RFC 9112 §2.2).
    fn admit_held(&mut self) {
        while matches!(self.reading, Reading::Head) && self.held.starts_with(b"\r\n") {
            self.held.advance(2);
            self.searched = 0;
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
            self.head_began = None;
            return;
        }
        let held = std::mem::take(&mut self.held);
        let admitted = self.admit(&held);
        self.held = held;
        match admitted {
            Ok(admitted) => self.cleared = admitted,
            Err(refusal) => self.refuse(refusal),
        }
        if matches!(self.reading, Reading::Head) {
            self.head_began.get_or_insert_with(Instant::now);
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.begin(Err(refusal));
        self.held.clear();
        self.held.extend_from_slice(HARMLESS_HEAD);
        self.cleared = HARMLESS_HEAD.len();
        self.reading = Reading::LastAnswer;
        self.unheard = true;
    }

    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.cleared.min(out.remaining());
        out.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.cleared -= count;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }

    /// Goes on to what the end of the turn allows; false while it lasts.
    fn turn_has_ended(&mut self) -> bool {
        match (self.shared.state(), &self.reading) {
            (State::Serving, _) => return false,
            (State::Tunnel, _) => {
                self.cleared = self.held.len();
                self.reading = Reading::Tunnel;
            }
            (State::Idle, Reading::LastAnswer) => self.reading = Reading::Closed,
            (State::Idle, _) => {
                self.reading = Reading::Head;
                // The time for a head that came early begins when it is wanted.
                self.admit_held();
            }
        }
        true
    }

    fn cut(&mut self, fault: Fault, kind: io::ErrorKind) -> io::Error {
        self.shared.cut(fault);
        self.reading = Reading::Closed;
        // A client that does not read would not see what lingering protects.
        self.unheard = fault != Fault::WriteStall;
        io::Error::new(kind, fault)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// Closes the connection once the server is done with it, hearing the
    /// client out where an answer came before the end of the request.
    pub async fn close(mut self) {
        let in_body = matches!(self.reading, Reading::Length(_) | Reading::Chunked(_));
        if self.unheard || in_body || !self.held.is_empty() {
            linger(&mut self.stream, &self.limits).await;
        }
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads on in a head or a body; ready when `out` got bytes, when the
    /// stream ended, or when there is something in `cleared` or `reading` to
    /// look at.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, out) {
            Poll::Ready(result) => result?,
            Poll::Pending => return self.wait_for_message(cx),
        }
        self.body_deadline = None;
        let fresh = out.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            self.reading = Reading::Closed;
            return Poll::Ready(Ok(()));
        }
        // A line end in front must not reach the search for the head's end.
        let awkward = matches!(self.reading, Reading::Head) && fresh.starts_with(b"\r");
        if self.held.is_empty() && !awkward {
            match self.admit(fresh) {
                Ok(admitted) => {
                    self.held.extend_from_slice(fresh.get(admitted..).unwrap_or_default());
                    out.set_filled(before + admitted);
                }
                Err(refusal) => {
                    out.set_filled(before);
                    self.refuse(refusal);
                }
            }
            if matches!(self.reading, Reading::Head) {
                self.head_began = Some(Instant::now());
            }
        } else {
            self.held.extend_from_slice(fresh);
            out.set_filled(before);
            self.admit_held();
        }
        Poll::Ready(Ok(()))
    }

    fn wait_for_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.reading, Reading::Head) {
            let deadline = match self.head_began {
                Some(began) => began + self.limits.head_timeout,
                None => self.shared.idle_since() + self.limits.idle_timeout,
            };
            if self.head_began.is_none() && self.write_deadline.is_none() {
                let rests_from = self.shared.idle_since() + self.limits.rest_after;
                if rests_from < deadline && self.clock.has_passed(cx, rests_from) {
                    self.shared.rest();
                }
            }
            if !self.clock.has_passed(cx, deadline) {
                return Poll::Pending;
            }
            match self.head_began {
                Some(_) => self.refuse(Refusal::HeadTimeout),
                None => self.reading = Reading::Closed,
            }
            return Poll::Ready(Ok(()));
        }
        let body_idle = self.limits.body_idle;
        let deadline = *self.body_deadline.get_or_insert_with(|| Instant::now() + body_idle);
        if self.clock.has_passed(cx, deadline) {
            Poll::Ready(Err(self.cut(Fault::BodyTimeout, io::ErrorKind::TimedOut)))
        } else {
            Poll::Pending
        }
    }

    /// While an answer is being made: notes only that the client left, and
    /// keeps what it sends early. Ready at the end of the stream.
    fn poll_early(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if self.held.is_empty() && !matches!(self.reading, Reading::LastAnswer) {
            match Pin::new(&mut self.stream).poll_read(cx, out) {
                Poll::Ready(result) => {
                    result?;
                    let fresh = out.filled().get(before..).unwrap_or_default();
                    if fresh.is_empty() {
                        self.reading = Reading::Closed;
                        return Poll::Ready(Ok(()));
                    }
                    self.held.extend_from_slice(fresh);
                    out.set_filled(before);
                }
                // Nobody polls the reader again before the next byte, so the
                // rest and the wait for it are timed from here.
                Poll::Pending => {
                    let first = self.limits.rest_after.min(self.limits.idle_timeout);
                    self.clock.wake_within(cx, first);
                    return Poll::Pending;
                }
            }
        }
        self.shared.wake_at_end_of_turn(cx);
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Waits with nothing but the gate until there is something to read. Ready
    /// too when the client has left, or has been silent for too long.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.held.is_empty() || !matches!(self.reading, Reading::Head) {
            return Poll::Ready(());
        }
        let mut room = [0; RESTING_BYTES_MAX];
        let mut out = ReadBuf::new(&mut room);
        match Pin::new(&mut self.stream).poll_read(cx, &mut out) {
            Poll::Ready(Ok(())) if !out.filled().is_empty() => {
                self.held.extend_from_slice(out.filled());
                self.admit_held();
            }
            Poll::Ready(_) => self.reading = Reading::Closed,
            Poll::Pending => {
                let deadline = self.shared.idle_since() + self.limits.idle_timeout;
                if !self.clock.has_passed(cx, deadline) {
                    return Poll::Pending;
                }
                self.reading = Reading::Closed;
            }
        }
        // Armed for the end of the rest it would ring too late for the next one.
        self.clock = Clock::default();
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        while out.filled().len() == before {
            if gate.cleared > 0 {
                gate.hand_on(out);
                break;
            }
            match gate.reading {
                Reading::Head | Reading::Length(_) | Reading::Chunked(_) => {
                    ready!(gate.poll_message(cx, out))?;
                }
                Reading::Answer | Reading::LastAnswer => {
                    if !gate.turn_has_ended() {
                        ready!(gate.poll_early(cx, out))?;
                    }
                }
                Reading::Broken(refusal) => {
                    let fault = Fault::Body(refusal);
                    return Poll::Ready(Err(gate.cut(fault, io::ErrorKind::InvalidData)));
                }
                Reading::Tunnel => return Pin::new(&mut gate.stream).poll_read(cx, out),
                Reading::Closed => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Gate<S> {
    /// Times what waits for the client to read.
    fn timed<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            if self.write_deadline.take().is_some() {
                self.shared.was_busy();
            }
            return poll;
        }
        let write_stall = self.limits.write_stall;
        let deadline = *self.write_deadline.get_or_insert_with(|| Instant::now() + write_stall);
        if self.clock.has_passed(cx, deadline) {
            Poll::Ready(Err(self.cut(Fault::WriteStall, io::ErrorKind::TimedOut)))
        } else {
            Poll::Pending
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let poll = Pin::new(&mut gate.stream).poll_write(cx, bytes);
        gate.timed(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let mut small = [0; GATHERED_BYTES_MAX];
        let poll = match gather(slices, &mut small) {
            Some(bytes) => Pin::new(&mut gate.stream).poll_write(cx, bytes),
            None => Pin::new(&mut gate.stream).poll_write_vectored(cx, slices),
        };
        gate.timed(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let poll = Pin::new(&mut gate.stream).poll_flush(cx);
        gate.timed(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let poll = Pin::new(&mut gate.stream).poll_shutdown(cx);
        gate.timed(cx, poll)
    }
}

/// Where the head in front of `bytes` ends, with its empty line; none if that
/// has not come. A line without CR is refused as soon as it is seen, since the
/// head's end might never come.
fn head_end(bytes: &[u8], searched: usize) -> Result<Option<usize>, Refusal> {
    for at in memchr_iter(b'\n', bytes.get(searched..).unwrap_or_default()) {
        let end = searched + at + 1;
        let upto = bytes.get(..end).unwrap_or_default();
        if !upto.ends_with(b"\r\n") {
            return Err(Refusal::BareLf);
        }
        if upto.ends_with(b"\r\n\r\n") {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// What the server sees in place of a head that was refused.
const HARMLESS_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// All of `slices` in one, if they fit into `into`.
fn gather<'a>(slices: &[io::IoSlice<'_>], into: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for slice in slices {
        into.get_mut(length..length + slice.len())?.copy_from_slice(slice);
        length += slice.len();
    }
    into.get(..length)
}

/// Of what comes after a rest, read at first: a usual head.
const RESTING_BYTES_MAX: usize = 1024;

/// A small head and body are copied faster than the kernel walks over two slices.
const GATHERED_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
