//! HTTP/2 over TLS: a connection that carries many requests at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{Answer, Failure, connect, tls};

/// One connection; its clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
    over: Arc<AtomicBool>,
}

/// Why a request has no good answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lost {
    /// The server says, or the connection shows, that it was not processed, so
    /// that it may be sent again whatever it is (RFC 9113, section 8.7).
    Unprocessed,
    Failed(Failure),
}

impl Http2 {
    pub(crate) async fn connect(at: SocketAddr, tls: &TlsConnector) -> Result<Self, Failure> {
        Self::over(tls::shake_hands(tls, connect(at).await?).await?).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, Failure> {
        let (send, connection) = Builder::new()
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|_| Failure::Closed)?;
        tokio::spawn(async move {
            // How it ended is told to the requests on it.
            let _ = connection.await;
        });
        Ok(Self { send, over: Arc::default() })
    }

    /// Whether it has shown that it takes no more requests.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sends a request and reads its answer. An answer may come before all of
    /// the request is sent.
    pub(crate) async fn exchange(&self, request: Request<()>, body: Bytes) -> Result<Answer, Lost> {
        // Nothing has been sent of what a connection at its end does not take.
        let mut send = self.send.clone().ready().await.map_err(|_| self.ended())?;
        let (answer, mut upload) =
            send.send_request(request, body.is_empty()).map_err(|_| self.ended())?;
        if !body.is_empty() {
            // h2 keeps what the windows do not let through yet.
            let _ = upload.send_data(body, true);
        }
        let (head, mut rest) = answer.await.map_err(|error| lost(&error))?.into_parts();
        let body = whole(&mut rest).await?;
        let cookie = head.headers.get("set-cookie").and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.map(str::to_owned);
        Ok(Answer { status: head.status.as_u16(), body, keeps: true, cookie })
    }

    fn ended(&self) -> Lost {
        self.over.store(true, Ordering::Relaxed);
        Lost::Unprocessed
    }
}

/// The body of an answer; h2 holds it to its `content-length`.
async fn whole(from: &mut RecvStream) -> Result<Vec<u8>, Lost> {
    let mut body = BytesMut::new();
    while let Some(piece) = from.data().await {
        let piece = piece.map_err(|_| Lost::Failed(Failure::Truncated))?;
        body.extend_from_slice(&piece);
        let _ = from.flow_control().release_capacity(piece.len());
    }
    Ok(body.into())
}

/// What it means for a request that it ended so before its answer.
fn lost(error: &h2::Error) -> Lost {
    // Only streams above the one that a GOAWAY names end with it.
    if error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)) {
        return Lost::Unprocessed;
    }
    Lost::Failed(if error.is_reset() { Failure::Reset } else { Failure::Closed })
}

mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_was_not_processed_is_told_from_what_failed() {
        for (reason, outcome) in [
            (Reason::REFUSED_STREAM, Lost::Unprocessed),
            (Reason::INTERNAL_ERROR, Lost::Failed(Failure::Reset)),
        ] {
            let (client, stream) = ends().await;
            let server = tokio::spawn(async move {
                let mut server = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    respond.send_reset(reason);
                }
            });
            assert_eq!(ask(client).await.unwrap_err(), outcome, "{reason}");
            server.abort();
        }
    }

    #[tokio::test]
    async fn a_connection_that_says_goodbye_is_over_and_what_it_takes_no_more_was_not_processed() {
        let (client, stream) = ends().await;
        let connection = Http2::over(client).await.unwrap();
        let mut server = h2::server::handshake(stream).await.unwrap();
        server.graceful_shutdown();
        tokio::spawn(async move {
            while let Some(Ok((_, mut respond))) = server.accept().await {
                respond.send_response(http::Response::new(()), true).unwrap();
            }
        });
        let request = || Request::get("https://x/").body(()).unwrap();
        // What comes before the goodbye arrives is served.
        while connection.exchange(request(), Bytes::new()).await.is_ok() {}
        let outcome = connection.exchange(request(), Bytes::new()).await;
        assert_eq!((outcome.unwrap_err(), connection.is_over()), (Lost::Unprocessed, true));
    }

    #[tokio::test]
    async fn a_connection_that_is_cut_within_an_answer_has_truncated_it() {
        let (client, stream) = ends().await;
        let server = async move {
            let mut server = h2::server::handshake(stream).await.unwrap();
            let (_, mut respond) = server.accept().await.unwrap().unwrap();
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data("half".into(), false).unwrap();
            body.send_reset(Reason::INTERNAL_ERROR);
            let _ = server.accept().await;
        };
        let (lost, ()) = tokio::join!(ask(client), server);
        assert!(matches!(lost.unwrap_err(), Lost::Failed(Failure::Truncated | Failure::Reset)));
    }

    async fn ask(client: TcpStream) -> Result<Answer, Lost> {
        let connection = Http2::over(client).await.unwrap();
        connection.exchange(Request::get("https://x/").body(()).unwrap(), Bytes::new()).await
    }

    async fn ends() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }
}
