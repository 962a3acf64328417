//! The body of a request, whatever protocol brings it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// What a client sends after its head.
#[derive(Debug)]
pub(super) enum ClientBody {
    /// Nothing; or what follows is no body, but a tunnel's.
    None,
    Http1(Incoming),
    Http2(Http2Body),
}

/// The DATA and the trailers of one stream.
#[derive(Debug)]
pub(super) struct Http2Body {
    stream: RecvStream,
    /// As `Content-Length` says.
    length: Option<u64>,
    /// All of its DATA has come.
    read: bool,
}

/// Why there is no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientBroke {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl ClientBody {
    /// What comes by `stream`, of `length` bytes if that is known.
    pub(super) fn http2(stream: RecvStream, length: Option<u64>) -> Self {
        if stream.is_end_stream() {
            return Self::None;
        }
        Self::Http2(Http2Body { stream, length, read: false })
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBroke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        match &mut *self {
            Self::None => Poll::Ready(None),
            Self::Http1(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(ClientBroke::from)))
            }
            Self::Http2(body) => body.poll_frame(context).map_err(ClientBroke::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(body) => body.length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Http2Body {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.read {
            if let Some(data) = ready!(self.stream.poll_data(context)) {
                let data = data?;
                // Whoever asks for it has taken what came before: the window
                // follows the replica, and never more than it waits here.
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.read = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context));
        Poll::Ready(trailers.map(|it| it.map(Frame::trailers)).transpose())
    }
}
