//! Asking a running balancer at its admin port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time;

/// What the balancer answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("nothing answers at {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("what listens at {address} does not answer as a balancer would: {source}")]
    Exchange { address: SocketAddr, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{address} has not answered within {}", humantime::format_duration(*.within))]
    TooLate { address: SocketAddr, within: Duration },
    #[error("cannot start asking")]
    Start(#[source] io::Error),
}

/// Gets `path` from the balancer whose admin port is `admin`, all of it `within`
/// that time.
pub(super) fn get(admin: SocketAddr, path: &str, within: Duration) -> Result<Answer, Unanswered> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let address = reachable(admin);
    runtime.map_err(Unanswered::Start)?.block_on(async {
        let answer = time::timeout(within, exchange(address, path));
        answer.await.unwrap_or(Err(Unanswered::TooLate { address, within }))
    })
}

/// Where to connect to reach what listens on `address`.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let loopback: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(loopback, address.port())
}

async fn exchange(address: SocketAddr, path: &str) -> Result<Answer, Unanswered> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| Unanswered::Connect { address, source })?;
    let failed = |source| Unanswered::Exchange { address, source };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
    // Its end is also told to whoever waits for the answer.
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await.map_err(failed)?.to_bytes();
    connection.abort();
    Ok(Answer { status, body })
}

/// The status of some ten thousand replicas.
const BODY_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in
            [("0.0.0.0:9", "127.0.0.1:9"), ("[::]:9", "[::1]:9"), ("10.0.0.1:9", "10.0.0.1:9")]
        {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}
