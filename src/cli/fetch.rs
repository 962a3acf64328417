//! Asking a running balancer at its admin port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::time;

use crate::config::Token;

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

/// The balancer that is asked, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balancer<'a> {
    /// Its admin port.
    pub(super) admin: SocketAddr,
    pub(super) token: Option<&'a Token>,
    pub(super) within: Duration,
}

impl Balancer<'_> {
    pub(super) fn get(self, path: &str) -> Result<Answer, Unanswered> {
        self.ask(Request::get(path).body(Bytes::new()))
    }

    /// Posts JSON.
    pub(super) fn post(self, path: &str, json: Vec<u8>) -> Result<Answer, Unanswered> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        self.ask(request.body(json.into()))
    }

    /// Where `path` is, for a message.
    pub(super) fn url(self, path: &str) -> String {
        format!("http://{}{path}", reachable(self.admin))
    }

    fn ask(self, request: http::Result<Request<Bytes>>) -> Result<Answer, Unanswered> {
        let (address, within) = (reachable(self.admin), self.within);
        let failed = |source| Unanswered::Exchange { address, source };
        let mut request = request.map_err(|error| failed(error.into()))?;
        let mut set = |name, text: &str| -> Result<(), http::Error> {
            let mut value = HeaderValue::from_str(text)?;
            value.set_sensitive(name == AUTHORIZATION);
            request.headers_mut().insert(name, value);
            Ok(())
        };
        set(HOST, &address.to_string()).map_err(|error| failed(error.into()))?;
        set(CONNECTION, "close").map_err(|error| failed(error.into()))?;
        if let Some(token) = self.token {
            let bearer = format!("Bearer {}", token.secret());
            set(AUTHORIZATION, &bearer).map_err(|error| failed(error.into()))?;
        }
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Unanswered::Start)?.block_on(async {
            let answer = time::timeout(within, exchange(address, request));
            answer.await.unwrap_or(Err(Unanswered::TooLate { address, within }))
        })
    }
}

impl Unanswered {
    pub(super) fn hint(&self) -> &'static str {
        "start the balancer, or say where its admin port is with --admin ADDR (EVENKEEL_ADMIN)"
    }
}

impl Answer {
    /// What to do about an answer that is none of those asked for.
    pub(super) fn hint(&self, command: &str) -> String {
        match self.status {
            StatusCode::UNAUTHORIZED => {
                "give the balancer and this command the same --admin-token-file \
                 (EVENKEEL_ADMIN_TOKEN_FILE)"
                    .to_owned()
            }
            StatusCode::FORBIDDEN => format!(
                "without a token only loopback may ask this: run it where the balancer runs, such \
                 as `docker exec lb evenkeel {command}`, or give both an --admin-token-file"
            ),
            _ => "see that --admin names the admin port of a balancer of this version".to_owned(),
        }
    }
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

async fn exchange(address: SocketAddr, request: Request<Bytes>) -> Result<Answer, Unanswered> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| Unanswered::Connect { address, source })?;
    let failed = |source| Unanswered::Exchange { address, source };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
    // Its end is also told to whoever waits for the answer.
    let connection = tokio::spawn(connection);
    let request = request.map(Full::new);
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
