//! Opening a connection to a replica.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::domain::upstream::{Scheme, Tls};
use crate::proxy::upstream::body::RequestBody;
use crate::proxy::upstream::http2::Session;
use crate::proxy::upstream::meter::{Metered, Traffic};
use crate::tls::{Clients, Offer, speaks_http2};

/// Our end of an open connection that carries one request at a time. It is
/// closed with it.
#[derive(Debug)]
pub(in crate::proxy) struct Line {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
    /// How the replica has proved who it is; none in the clear.
    pub(super) tls: Option<Arc<Tls>>,
    driver: AbortHandle,
}

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    /// Of https.
    pub(super) tls: Option<&'a Arc<Tls>>,
    /// What is to be spoken within TLS.
    pub(super) offer: Offer,
    /// What a connection begins with, before TLS. It counts as no part of any
    /// request.
    pub(super) greeting: Option<&'a [u8]>,
    pub(super) until: Instant,
}

/// A connection of the kind that the replica has chosen.
#[derive(Debug)]
pub(super) enum Opened {
    Http1(Line),
    Http2(Rc<Session>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(in crate::proxy) enum Unconnected {
    Unreached(io::Error),
    /// It is reached, and does not prove who it is.
    Untrusted(io::Error),
    /// As another request at the same time has found, which it counts for.
    Alike {
        error: io::Error,
        untrusted: bool,
    },
    /// It is reached, and has no place on any connection just now.
    Full,
    /// It speaks HTTP/2 and takes the other protocol that the request asks for
    /// neither there nor by HTTP/1.1.
    NoUpgrade,
}

impl Drop for Line {
    /// Left to itself it would go on with an upload, or wait for a peer that
    /// takes nothing.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects in the clear for HTTP/1.1.
pub(super) async fn line(
    address: SocketAddr,
    greeting: Option<&[u8]>,
    until: Instant,
) -> io::Result<Line> {
    let stream = in_time(until, connect(address, greeting)).await?;
    over(address, stream, None).await
}

/// Connects in another way.
pub(super) async fn open(way: Way<'_>, clients: &Clients) -> Result<Opened, Unconnected> {
    let Way { address, scheme, offer, until, .. } = way;
    let stream = in_time(until, connect(address, way.greeting)).await;
    let stream = stream.map_err(Unconnected::Unreached)?;
    if scheme == Scheme::H2c {
        let session = in_time(until, Session::open(address, stream)).await;
        return session.map(Opened::Http2).map_err(Unconnected::Unreached);
    }
    let tls = way.tls.cloned().unwrap_or_default();
    let shaking = clients.shake_hands(&tls, address.ip(), offer, stream);
    let stream = match in_time(until, shaking).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other) => {
            return Err(Unconnected::Untrusted(error));
        }
        // It ended, or took too long.
        Err(error) => return Err(Unconnected::Unreached(error)),
    };
    let opened = if speaks_http2(&stream) {
        in_time(until, Session::open(address, stream)).await.map(Opened::Http2)
    } else {
        over(address, stream, Some(tls)).await.map(Opened::Http1)
    };
    opened.map_err(Unconnected::Unreached)
}

async fn in_time<T>(until: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(until, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Speaks HTTP/1.1 over `stream`. A task of the worker drives the connection
/// until its sender is dropped or the replica closes it.
async fn over<S>(address: SocketAddr, stream: S, tls: Option<Arc<Tls>>) -> io::Result<Line>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stream, traffic) = Metered::new(stream);
    let handshake = http1::Builder::new()
        // Most requests are a head alone, which one plain write sends.
        .writev(false)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    let driver = tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%address, %error, "Connection to a replica ended");
        }
    });
    Ok(Line { sender, traffic, tls, driver: driver.abort_handle() })
}

async fn connect(address: SocketAddr, greeting: Option<&[u8]>) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if let Some(greeting) = greeting {
        stream.write_all(greeting).await?;
    }
    Ok(stream)
}

/// Largest head of an answer, twice what a client may send: replicas set cookies.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    /// What a connection begins with must not look like a request that was sent.
    #[tokio::test]
    async fn a_greeting_is_sent_and_counts_as_no_part_of_a_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        let open = line(address, Some(b"PROXY UNKNOWN\r\n"), until);
        let line = LocalSet::new().run_until(open).await.unwrap();
        assert_eq!(line.traffic.reading().written, 0);
        drop(line);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"PROXY UNKNOWN\r\n");
    }
}
