//! The replica's end of a tunnel, by whichever protocol it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::upstream::answer::AnswerBody;
use crate::proxy::upstream::http2::Http2Tunnel;

/// What a 101 leads to, once its connection has handed it over.
#[derive(Debug)]
pub(in crate::proxy) enum Switching {
    Http1(OnUpgrade),
    Http2(Http2Tunnel),
}

/// Bytes to and from a replica.
#[derive(Debug)]
pub(in crate::proxy) enum ReplicaEnd {
    Http1(TokioIo<Upgraded>),
    Http2(Http2Tunnel),
}

impl Switching {
    /// Taken out of the answer that switches.
    pub(in crate::proxy) fn of(response: &mut Response<AnswerBody>) -> Self {
        if let AnswerBody::Tunnel(tunnel) = response.body_mut()
            && let Some(tunnel) = tunnel.take()
        {
            return Self::Http2(tunnel);
        }
        Self::Http1(hyper::upgrade::on(response))
    }

    pub(in crate::proxy) async fn finish(self) -> hyper::Result<ReplicaEnd> {
        match self {
            Self::Http1(upgrade) => upgrade.await.map(TokioIo::new).map(ReplicaEnd::Http1),
            Self::Http2(tunnel) => Ok(ReplicaEnd::Http2(tunnel)),
        }
    }
}

impl AsyncRead for ReplicaEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(end) => Pin::new(end).poll_read(context, into),
            Self::Http2(end) => Pin::new(end).poll_read(context, into),
        }
    }
}

impl AsyncWrite for ReplicaEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http1(end) => Pin::new(end).poll_write(context, bytes),
            Self::Http2(end) => Pin::new(end).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(end) => Pin::new(end).poll_flush(context),
            Self::Http2(end) => Pin::new(end).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Http1(end) => Pin::new(end).poll_shutdown(context),
            Self::Http2(end) => Pin::new(end).poll_shutdown(context),
        }
    }
}
