//! The body of an answer that comes by HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// What the replica still sends. It may send on as pieces are taken, so that no
/// more than a window waits here.
#[derive(Debug)]
pub(in crate::proxy) struct Http2Body {
    stream: RecvStream,
    /// Bytes that are still to come, where the head says how many.
    left: Option<u64>,
    /// Nothing but trailers can follow.
    data_ended: bool,
}

impl Http2Body {
    pub(super) fn new(stream: RecvStream, head: &HeaderMap) -> Self {
        let length = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
        let left = head.get(CONTENT_LENGTH).and_then(length);
        Self { stream, left, data_ended: false }
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    // It fails only where nothing more comes anyway.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // A complete answer may be followed by this, where the replica
                // does not want the rest of the request (RFC 9113, section 8.1).
                // Whether it is complete only its length tells, since it did not
                // end otherwise.
                Some(Err(error))
                    if error.is_reset()
                        && error.reason() == Some(Reason::NO_ERROR)
                        && self.left == Some(0) =>
                {
                    self.data_ended = true;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(context)) {
            Ok(Some(fields)) => Some(Ok(Frame::trailers(fields))),
            Ok(None) => None,
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
