//! The body of a replica's answer, by whichever protocol it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::upstream::http2::{Http2Body, Http2Tunnel};

/// What is still to come of an answer.
#[derive(Debug)]
pub(in crate::proxy) enum AnswerBody {
    Http1(Incoming),
    Http2(Http2Body),
    /// Nothing: its stream is a tunnel, until that is taken.
    Tunnel(Option<Http2Tunnel>),
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum AnswerBroke {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerBroke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerBroke>>> {
        match &mut *self {
            Self::Http1(body) => {
                Pin::new(body).poll_frame(context).map(|it| it.map(|it| it.map_err(Into::into)))
            }
            Self::Http2(body) => {
                Pin::new(body).poll_frame(context).map(|it| it.map(|it| it.map_err(Into::into)))
            }
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
