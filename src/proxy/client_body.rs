//! The body of a request, whatever protocol brings it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::domain::http::http2::fields_bytes;
use crate::domain::http::refusal::Refusal;
use crate::domain::http::trailers;
use crate::proxy::http1::turn::Fault;

/// What a client sends after its head.
#[derive(Debug)]
pub(super) enum ClientBody {
    /// Nothing; or what follows is no body, but a tunnel's.
    None,
    Http1(Incoming),
    Http2(Box<Http2Body>),
}

/// The DATA and the trailers of one stream.
#[derive(Debug)]
pub(super) struct Http2Body {
    stream: RecvStream,
    /// As `Content-Length` says.
    length: Option<u64>,
    /// All of its DATA has come.
    read: bool,
    /// Somebody is to be told when the body is asked for.
    expectation: Option<Rc<Expectation>>,
    idle: Duration,
    /// Armed only while the client is waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A client that waits for `100 Continue` before it sends its body.
#[derive(Debug, Default)]
pub(super) struct Expectation {
    stage: Cell<Stage>,
    waits: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Waiting,
    Arisen,
    Met,
}

/// Why there is no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientBroke {
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    #[error(transparent)]
    Http2(#[from] h2::Error),
    #[error("the client stopped sending it")]
    Idle,
    #[error(transparent)]
    Refused(Refusal),
}

impl ClientBody {
    /// What comes by `stream`, of `length` bytes if that is known. Its client may
    /// pause for `idle` while it is waited for.
    pub(super) fn http2(
        stream: RecvStream,
        length: Option<u64>,
        idle: Duration,
        expectation: Option<Rc<Expectation>>,
    ) -> Self {
        if stream.is_end_stream() {
            return Self::None;
        }
        let (read, deadline) = (false, None);
        Self::Http2(Box::new(Http2Body { stream, length, read, expectation, idle, deadline }))
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
            Self::Http2(body) => body.poll_frame(context),
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

impl ClientBroke {
    /// What is known of it beside that, if anything.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Idle => Some(Fault::BodyTimeout),
            Self::Refused(refusal) => Some(Fault::Body(*refusal)),
            Self::Http1(_) | Self::Http2(_) => None,
        }
    }
}

impl Http2Body {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        if let Some(expectation) = self.expectation.take() {
            expectation.arise();
        }
        if let Poll::Ready(frame) = self.poll_arrived(context) {
            self.deadline = None;
            return Poll::Ready(frame);
        }
        let idle = self.idle;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(ClientBroke::Idle)))
    }

    fn poll_arrived(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
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
        let Some(fields) = ready!(self.stream.poll_trailers(context))? else {
            return Poll::Ready(None);
        };
        if fields_bytes(&fields) > trailers::BYTES_MAX {
            return Poll::Ready(Some(Err(ClientBroke::Refused(Refusal::TrailersTooLong))));
        }
        Poll::Ready(Some(Ok(Frame::trailers(fields))))
    }
}

impl Expectation {
    /// Ready once, when the body has been asked for.
    pub(super) fn poll_arisen(&self, context: &Context<'_>) -> Poll<()> {
        match self.stage.get() {
            Stage::Arisen => {
                self.stage.set(Stage::Met);
                Poll::Ready(())
            }
            Stage::Waiting => {
                *self.waits.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
            Stage::Met => Poll::Pending,
        }
    }

    fn arise(&self) {
        self.stage.set(Stage::Arisen);
        if let Some(waker) = self.waits.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::io::duplex;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_may_pause_for_so_long_while_its_body_is_wanted() {
        const IDLE: Duration = Duration::from_secs(60);
        let (client, server) = duplex(64 * 1024);
        let (opened, accepted) =
            tokio::join!(h2::client::handshake(client), h2::server::handshake(server));
        let ((mut requests, connection), mut server) = (opened.unwrap(), accepted.unwrap());
        tokio::spawn(connection);
        let request = Request::post("https://a/").body(()).unwrap();
        let (_answer, mut sending) = requests.send_request(request, false).unwrap();
        let (request, _respond) = server.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let mut body = ClientBody::http2(request.into_body(), None, IDLE, None);

        // Nobody waits for it yet.
        sleep(IDLE * 2).await;
        let began = Instant::now();
        tokio::spawn(async move {
            sleep(IDLE / 2).await;
            sending.send_data(Bytes::from_static(b"piece"), false).unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
        let broken = body.frame().await.unwrap().unwrap_err();
        assert_eq!(broken.fault(), Some(Fault::BodyTimeout));
        assert_eq!(began.elapsed(), IDLE / 2 + IDLE);
    }
}
