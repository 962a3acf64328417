//! The connections of the clients: of one request at a time, or of many.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::client::http1::{exchange, rests};
use crate::support::client::http2::{Http2, Lost};
use crate::support::client::{Answer, Failure, connect, tls};
use crate::support::engine::set;

/// How the clients come, and what the replicas are spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speaks {
    /// HTTP/1.1 in the clear, all the way.
    Http1,
    /// HTTP/2 over TLS, and to replicas HTTP/1.1.
    Http2,
    /// HTTP/2 over TLS, and to replicas HTTP/2 in the clear.
    Http2Throughout,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) target: String,
    /// Each a whole line.
    pub(super) fields: String,
    pub(super) body_bytes: usize,
}

/// Connections to one balancer, those that rest among them.
pub(super) struct Lines {
    at: SocketAddr,
    kind: Kind,
}

enum Kind {
    Http1(Mutex<VecDeque<TcpStream>>),
    Http2(TlsConnector, Mutex<VecDeque<Http2>>),
}

impl Speaks {
    /// What `EVK_CHURN_PROTO` asks for.
    pub(super) fn chosen() -> Self {
        match set("EVK_CHURN_PROTO").as_deref() {
            None | Some("http1") => Self::Http1,
            Some("h2") => Self::Http2,
            Some("h2c") => Self::Http2Throughout,
            Some(other) => {
                panic!("EVK_CHURN_PROTO is `{other}`; it may be `http1`, `h2` or `h2c`")
            }
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http2Throughout => "HTTP/2 throughout",
        }
    }

    /// As `lb.scheme` has it.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Http1 | Self::Http2 => "http",
            Self::Http2Throughout => "h2c",
        }
    }
}

impl Lines {
    pub(super) fn new(at: SocketAddr, speaks: Speaks) -> Self {
        let kind = match speaks {
            Speaks::Http1 => Kind::Http1(Mutex::default()),
            Speaks::Http2 | Speaks::Http2Throughout => {
                Kind::Http2(tls::connector(b"h2"), Mutex::default())
            }
        };
        Self { at, kind }
    }

    /// Sends a request over a connection that rests or, if it is to be `fresh`,
    /// over one of its own.
    pub(super) async fn exchange(&self, asked: &Asked, fresh: bool) -> Result<Answer, Failure> {
        match &self.kind {
            Kind::Http1(resting) => {
                let rested = (!fresh).then(|| rested(resting)).flatten();
                let mut stream = match rested {
                    Some(stream) => stream,
                    None => connect(self.at).await?,
                };
                let answer = exchange(&mut stream, &asked.http1(fresh)).await?;
                if answer.keeps && !fresh {
                    rest(resting, stream);
                }
                Ok(answer)
            }
            Kind::Http2(tls, shared) => {
                for _ in 0..TRIES {
                    let line = self.shared(tls, shared, fresh).await?;
                    match line.exchange(asked.http2(), asked.body()).await {
                        Ok(answer) => return Ok(answer),
                        // As a browser does it.
                        Err(Lost::Unprocessed) => {}
                        Err(Lost::Failed(failure)) => return Err(failure),
                    }
                }
                Err(Failure::Refused)
            }
        }
    }

    /// The connection whose turn it is; a further one as long as there are few.
    async fn shared(
        &self,
        tls: &TlsConnector,
        shared: &Mutex<VecDeque<Http2>>,
        fresh: bool,
    ) -> Result<Http2, Failure> {
        if !fresh {
            let mut shared = shared.lock().unwrap();
            shared.retain(|line| !line.is_over());
            if shared.len() >= SHARED_MAX {
                shared.rotate_left(1);
                return Ok(shared[0].clone());
            }
        }
        let line = Http2::connect(self.at, tls).await?;
        if !fresh {
            shared.lock().unwrap().push_back(line.clone());
        }
        Ok(line)
    }
}

/// The connection that rested longest, so that all of them live.
fn rested(resting: &Mutex<VecDeque<TcpStream>>) -> Option<TcpStream> {
    let mut resting = resting.lock().unwrap();
    while let Some(stream) = resting.pop_front() {
        if rests(&stream) {
            return Some(stream);
        }
    }
    None
}

fn rest(resting: &Mutex<VecDeque<TcpStream>>, stream: TcpStream) {
    let mut resting = resting.lock().unwrap();
    if resting.len() < RESTING_MAX {
        resting.push_back(stream);
    }
}

impl Asked {
    fn http1(&self, fresh: bool) -> Vec<u8> {
        let Self { method, target, fields, body_bytes } = self;
        let connection = if fresh { "close" } else { "keep-alive" };
        let length = match body_bytes {
            0 => String::new(),
            bytes => format!("Content-Length: {bytes}\r\n"),
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: churn\r\nConnection: {connection}\r\n{fields}{length}\r\n"
        );
        let mut whole = head.into_bytes();
        whole.extend_from_slice(&self.body());
        whole
    }

    fn http2(&self) -> Request<()> {
        let mut request =
            Request::builder().method(self.method).uri(format!("https://churn{}", self.target));
        for (name, value) in self.fields.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        if self.body_bytes > 0 {
            request = request.header("content-length", self.body_bytes);
        }
        request.body(()).unwrap()
    }

    fn body(&self) -> Bytes {
        vec![b'x'; self.body_bytes].into()
    }
}

/// As many connections as a busy front of browsers keeps.
const RESTING_MAX: usize = 32;
/// Few, so that many requests share one.
const SHARED_MAX: usize = 4;
/// Of a request that was not processed.
const TRIES: usize = 3;
