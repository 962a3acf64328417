//! Opening a connection to a replica.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::proxy::upstream::body::RequestBody;
use crate::proxy::upstream::meter::{Metered, Traffic};

/// Our end of an open connection.
#[derive(Debug)]
pub(in crate::proxy) struct Line {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
}

/// Connects within `limit`. A task of the worker drives the connection until
/// its sender is dropped or the replica closes it.
pub(super) async fn open(address: SocketAddr, limit: Duration) -> io::Result<Line> {
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    let (stream, traffic) = Metered::new(stream);
    let handshake = http1::Builder::new()
        // Most requests are a head alone, which one plain write sends.
        .writev(false)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%address, %error, "Connection to a replica ended");
        }
    });
    Ok(Line { sender, traffic })
}

/// Largest head of an answer, twice what a client may send: replicas set cookies.
const HEAD_BYTES_MAX: usize = 64 * 1024;
