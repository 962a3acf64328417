//! One question to a replica: does it accept, does its health check pass?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::lifecycle::{Fault, HealthCheck};
use crate::domain::proxy_protocol::Header;

/// How many questions may be under way at once, of all endpoints together. The
/// kinds are counted apart, since replicas that do not answer keep a check busy
/// for long.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) connects: Semaphore,
    pub(super) checks: Semaphore,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connects: Semaphore::new(CONNECTS_MAX), checks: Semaphore::new(CHECKS_MAX) }
    }
}

/// Whether the address accepts a connection.
pub(super) async fn connect(address: SocketAddr, limits: &Limits) -> Result<(), Fault> {
    let _permit = limits.connects.acquire().await;
    match timeout(CONNECT_TIMEOUT, open(address)).await {
        Ok(opened) => opened.map(drop),
        Err(_) => Err(Fault::TimedOut),
    }
}

/// Whether the check passes, over a connection of its own.
pub(super) async fn check(
    address: SocketAddr,
    check: &HealthCheck,
    limits: &Limits,
) -> Result<(), Fault> {
    let _permit = limits.checks.acquire().await;
    match timeout(check.timeout, status(address, check)).await {
        Ok(Ok(status)) if check.accepts(status) => Ok(()),
        Ok(Ok(status)) => Err(Fault::Status(status)),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Fault::TimedOut),
    }
}

async fn status(address: SocketAddr, check: &HealthCheck) -> Result<u16, Fault> {
    let asked = SocketAddr::new(address.ip(), check.port.unwrap_or(address.port()));
    let request = request(asked, check).map_err(|_| Fault::NotHttp)?;
    let mut stream = open(asked).await?;
    if let Some(version) = check.proxy_protocol.filter(|_| asked == address) {
        let greeting = Header::Local.to_bytes(version);
        stream.write_all(&greeting).await.map_err(|_| Fault::Closed)?;
    }
    let stream = TokioIo::new(stream);
    let client = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(stream).await;
    let (mut sender, connection) = client.map_err(|error| fault(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        drain(response.into_body()).await;
        Ok(status)
    };
    let driven = async {
        // Its error is that of the request.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        status = answer => status,
        never = driven => never,
    }
}

fn request(asked: SocketAddr, check: &HealthCheck) -> http::Result<Request<Empty<Bytes>>> {
    let host = check.host.as_deref().map_or_else(|| asked.to_string(), str::to_owned);
    let path: PathAndQuery = check.path.parse()?;
    Request::get(Uri::from(path))
        .header(HOST, host)
        .header(USER_AGENT, "evenkeel-health")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
}

/// Reads what a replica usually says, so that it is not cut off; the verdict
/// stands already.
async fn drain(mut body: Incoming) {
    let mut left = BODY_BYTES_MAX;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    let _ = timeout(BODY_WAIT, read).await;
}

async fn open(address: SocketAddr) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Fault::Refused
        } else {
            Fault::Unreachable
        }
    })?;
    // A request after a PROXY header would wait for its acknowledgement; without
    // this it is only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn fault(error: &hyper::Error) -> Fault {
    if error.is_parse() { Fault::NotHttp } else { Fault::Closed }
}

/// Connections under way at once that only ask whether they are accepted.
pub(super) const CONNECTS_MAX: usize = 64;

/// Health checks under way at once. Each has a socket.
pub(super) const CHECKS_MAX: usize = 128;

/// A replica that is there accepts within a round trip of the bridge; a longer
/// wait means that packets are dropped.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// More than any answer's head that makes sense; also what is read at once.
const HEAD_BYTES_MAX: usize = 32 * 1024;

const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer to a check is whole at once; one that never ends is let be.
const BODY_WAIT: Duration = Duration::from_millis(100);
