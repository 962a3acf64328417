//! An answer's body on its way into a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::domain::http::hop_by_hop;
use crate::domain::http::own::own;
use crate::proxy::http2::account::{Account, Piece};
use crate::proxy::http2::stall::Stall;
use crate::proxy::http2::stream::Shared;
use crate::proxy::request::{Broken, ResponseBody};

/// Why an answer was not sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client reset the stream, or its connection is gone.
    Left,
    /// It took next to nothing for too long.
    Stalled,
    /// There is no more of it.
    Broken(Broken),
}

/// Where an answer goes.
pub(super) struct Outgoing<'a> {
    stream: SendStream<Piece>,
    shared: &'a Shared,
    stall: Stall,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(stream: SendStream<Piece>, shared: &'a Shared) -> Self {
        Self { stream, shared, stall: Stall::new(shared.limits.stall) }
    }

    /// Sends all of `body`, and asks it for no more than one frame that the client
    /// has no room for: its end and its trailers need none.
    pub(super) async fn send(&mut self, body: &mut ResponseBody) -> Result<(), Unsent> {
        loop {
            let Some(frame) = self.next(body).await? else {
                return self.put(Bytes::new(), true, true);
            };
            match frame.into_data() {
                Ok(mut data) => {
                    while !data.is_empty() {
                        self.stream
                            .reserve_capacity(data.len().min(self.shared.limits.stream_buffer));
                        let room = self.room().await?;
                        let piece = data.split_to(room.min(data.len()));
                        let all = data.is_empty();
                        let last = all && body.is_end_stream();
                        self.put(piece, all, last)?;
                        if last {
                            return Ok(());
                        }
                    }
                }
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    hop_by_hop::strip_response(&mut trailers);
                    own(&mut trailers);
                    self.stream.reserve_capacity(0);
                    return self.stream.send_trailers(trailers).map_err(|_| Unsent::Left);
                }
            }
        }
    }

    /// Sends no more of it, which the client must not take for its end.
    pub(super) fn reset(&mut self, unsent: &Unsent) {
        match unsent {
            Unsent::Left => {}
            Unsent::Stalled => self.stream.send_reset(Reason::CANCEL),
            Unsent::Broken(_) => self.stream.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Puts `data` into the stream, which may be `all` there is at present, and
    /// the `last` of the answer.
    fn put(&mut self, data: Bytes, all: bool, last: bool) -> Result<(), Unsent> {
        if self.stall.took(data.len(), all) {
            self.shared.note_progress();
        }
        self.stream.send_data(self.shared.account.piece(data), last).map_err(|_| Unsent::Left)
    }

    /// The next frame, unless the client leaves before it is there.
    async fn next(
        &mut self,
        body: &mut ResponseBody,
    ) -> Result<Option<http_body::Frame<Bytes>>, Unsent> {
        let stream = &mut self.stream;
        poll_fn(|context| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) {
                return Poll::Ready(frame.transpose().map_err(Unsent::Broken));
            }
            ready!(poll_left(stream, context));
            Poll::Ready(Err(Unsent::Left))
        })
        .await
    }

    /// How many bytes may be put into the stream, once that is any.
    async fn room(&mut self) -> Result<usize, Unsent> {
        let Self { stream, shared, stall } = self;
        poll_fn(|context| {
            if let Poll::Ready(room) = poll_room(stream, &shared.account, context) {
                return Poll::Ready(room);
            }
            shared.note_stall();
            ready!(stall.poll_over(context));
            Poll::Ready(Err(Unsent::Stalled))
        })
        .await
    }
}

fn poll_room(
    stream: &mut SendStream<Piece>,
    account: &Account,
    context: &mut Context<'_>,
) -> Poll<Result<usize, Unsent>> {
    if poll_left(stream, context).is_ready() {
        return Poll::Ready(Err(Unsent::Left));
    }
    let ours = ready!(account.poll_room(context));
    if stream.capacity() == 0 {
        match ready!(stream.poll_capacity(context)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Left)),
        }
    }
    Poll::Ready(Ok(stream.capacity().min(ours)))
}

/// Ready when the client has reset the stream, or is gone.
fn poll_left(stream: &mut SendStream<Piece>, context: &mut Context<'_>) -> Poll<()> {
    stream.poll_reset(context).map(|_| ())
}
