//! One question to a replica: does it accept, does its health check pass?

use std::future::pending;
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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::lifecycle::{Fault, HealthCheck, Question, grpc};
use crate::domain::proxy_protocol::Header;
use crate::domain::upstream::Scheme;
use crate::probe::http2::{self, Unanswered};
use crate::tls::{Clients, Offer, speaks_http2};

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

/// Who is asked, and how it is spoken to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) clients: &'a Clients,
}

/// Whether the check passes, over a connection of its own.
pub(super) async fn check(
    asked: Asked<'_>,
    check: &HealthCheck,
    limits: &Limits,
) -> Result<(), Fault> {
    let _permit = limits.checks.acquire().await;
    let may_be_http1 = asked.scheme == Scheme::Https && !matches!(check.asks, Question::Grpc(_));
    let asking = async {
        match answer(asked, check, Offer::Http2OrHttp1).await {
            Err(Unanswered::Http1Required) if may_be_http1 => {
                answer(asked, check, Offer::Http1).await
            }
            answered => answered,
        }
    };
    let answered = timeout(check.timeout, asking).await;
    answered.map_or(Err(Fault::TimedOut), |answered| answered.map_err(Fault::from))
}

/// What is said of it, where by TLS no more than `offer` is offered.
async fn answer(asked: Asked<'_>, check: &HealthCheck, offer: Offer) -> Result<(), Unanswered> {
    let Asked { clients, .. } = asked;
    let ip = asked.address.ip();
    let address = SocketAddr::new(ip, check.port.unwrap_or(asked.address.port()));
    // A port for checks alone is one for people too, and curl speaks HTTP/1.1.
    let is_aside = address != asked.address && asked.scheme == Scheme::H2c;
    let scheme = if is_aside { Scheme::Http } else { asked.scheme };
    let mut stream = open(address).await?;
    if let Some(version) = check.proxy_protocol.filter(|_| address == asked.address) {
        let greeting = Header::Local.to_bytes(version);
        stream.write_all(&greeting).await.map_err(|_| Fault::Closed)?;
    }
    let is_grpc = matches!(check.asks, Question::Grpc(_));
    if scheme == Scheme::Https {
        let offer = if is_grpc { Offer::Http2 } else { offer };
        let tls = check.tls.clone().unwrap_or_default();
        let shaken = clients.shake_hands(&tls, ip, offer, stream).await;
        let stream = shaken.map_err(|_| Fault::Tls)?;
        if is_grpc || speaks_http2(&stream) {
            http2::ask(stream, scheme, address, check).await
        } else {
            Ok(http1(stream, address, check).await?)
        }
    } else if is_grpc || scheme == Scheme::H2c {
        http2::ask(stream, scheme, address, check).await
    } else {
        Ok(http1(stream, address, check).await?)
    }
}

async fn http1<S>(stream: S, address: SocketAddr, check: &HealthCheck) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(address, check).map_err(|_| Fault::NotHttp)?;
    let stream = TokioIo::new(stream);
    let client = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(stream).await;
    let (mut sender, connection) = client.map_err(|error| fault(&error))?;
    let question = async {
        let response = sender.send_request(request).await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        drain(response.into_body()).await;
        judge(status, check)
    };
    beside(connection, question).await
}

/// What the question comes to, whose connection is driven beside it. How that ends
/// the question tells too.
pub(super) async fn beside<T, E>(
    connection: impl Future<Output = Result<(), E>>,
    question: impl Future<Output = T>,
) -> T {
    let driven = async {
        let _ = connection.await;
        pending().await
    };
    tokio::select! {
        answer = question => answer,
        never = driven => never,
    }
}

/// What the status of an answer says.
pub(super) fn judge(status: u16, check: &HealthCheck) -> Result<(), Fault> {
    if check.accepts(status) { Ok(()) } else { Err(Fault::Status(status)) }
}

/// Whom the question is for.
pub(super) fn host(asked: SocketAddr, check: &HealthCheck) -> String {
    check.host.as_deref().map_or_else(|| asked.to_string(), str::to_owned)
}

fn request(asked: SocketAddr, check: &HealthCheck) -> http::Result<Request<Empty<Bytes>>> {
    let path: PathAndQuery = match &check.asks {
        Question::Path(path) => path.parse()?,
        Question::Grpc(_) => PathAndQuery::from_static(grpc::TARGET),
    };
    Request::get(Uri::from(path))
        .header(HOST, host(asked, check))
        .header(USER_AGENT, NAME)
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

/// What we call ourselves.
pub(super) const NAME: &str = "evenkeel-health";

/// Connections under way at once that only ask whether they are accepted.
pub(super) const CONNECTS_MAX: usize = 64;

/// Health checks under way at once. Each has a socket.
pub(super) const CHECKS_MAX: usize = 128;

/// A replica that is there accepts within a round trip of the bridge; a longer
/// wait means that packets are dropped.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// More than any answer's head that makes sense; also what is read at once.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;

const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer to a check is whole at once; one that never ends is let be.
const BODY_WAIT: Duration = Duration::from_millis(100);
