//! Opening a connection to a replica.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tracing::debug;

use crate::proxy::upstream::body::RequestBody;
use crate::proxy::upstream::meter::{Metered, Traffic};

/// Our end of an open connection, which is closed with it.
#[derive(Debug)]
pub(in crate::proxy) struct Line {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
    driver: AbortHandle,
}

impl Drop for Line {
    /// Left to itself it would go on with an upload, or wait for a peer that
    /// takes nothing.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects within `limit`, and begins with `greeting`, which counts as no part
/// of any request. A task of the worker drives the connection until
/// its sender is dropped or the replica closes it.
pub(super) async fn open(
    address: SocketAddr,
    greeting: Option<&[u8]>,
    limit: Duration,
) -> io::Result<Line> {
    let connected = timeout(limit, connect(address, greeting)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
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
    Ok(Line { sender, traffic, driver: driver.abort_handle() })
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
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    /// What a connection begins with must not look like a request that was sent.
    #[tokio::test]
    async fn a_greeting_is_sent_and_counts_as_no_part_of_a_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = open(address, Some(b"PROXY UNKNOWN\r\n"), Duration::from_secs(5));
        let line = LocalSet::new().run_until(open).await.unwrap();
        assert_eq!(line.traffic.reading().written, 0);
        drop(line);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"PROXY UNKNOWN\r\n");
    }
}
