//! Clients that tell precisely what went wrong.

pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod tls;

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether another request may follow on the connection.
    pub(crate) keeps: bool,
    /// That it sets, with its attributes.
    pub(crate) cookie: Option<String>,
}

/// Why a request has no good answer, as its client sees it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Failure {
    Refused,
    Reset,
    /// Closed before the first byte of an answer.
    Closed,
    /// Closed within an answer.
    Truncated,
    /// There was no TLS handshake.
    Handshake,
    Status(u16),
    Timeout,
    /// It is no answer to this request.
    WrongBody,
    /// Answered by another replica than the access log names.
    Misnamed,
    /// Executed more than once.
    Twice,
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => write!(to, "refused"),
            Self::Reset => write!(to, "reset"),
            Self::Closed => write!(to, "closed"),
            Self::Truncated => write!(to, "truncated"),
            Self::Handshake => write!(to, "no handshake"),
            Self::Status(status) => write!(to, "{status}"),
            Self::Timeout => write!(to, "timeout"),
            Self::WrongBody => write!(to, "wrong body"),
            Self::Misnamed => write!(to, "misnamed"),
            Self::Twice => write!(to, "executed twice"),
        }
    }
}

/// Opens a connection.
pub(crate) async fn connect(at: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(at).await.map_err(|error| {
        if error.kind() == ErrorKind::ConnectionRefused { Failure::Refused } else { Failure::Reset }
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
