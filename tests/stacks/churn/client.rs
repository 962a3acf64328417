//! One request over a connection, and precisely what went wrong with it.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether another request may follow on the connection.
    pub(super) keeps: bool,
}

/// Why a request has no good answer, as its client sees it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Failure {
    Refused,
    Reset,
    /// Closed before the first byte of an answer.
    Closed,
    /// Closed within an answer.
    Truncated,
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
            Self::Status(status) => write!(to, "{status}"),
            Self::Timeout => write!(to, "timeout"),
            Self::WrongBody => write!(to, "wrong body"),
            Self::Misnamed => write!(to, "misnamed"),
            Self::Twice => write!(to, "executed twice"),
        }
    }
}

/// Opens a connection.
pub(super) async fn connect(at: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(at).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        _ => Failure::Reset,
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Whether a connection that rested can carry another request: the balancer has
/// neither closed it nor said anything unasked.
pub(super) fn rests(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Sends a request and reads its answer. An answer may come before all of the
/// request is sent.
pub(super) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Answer, Failure> {
    let (mut from, mut to) = stream.split();
    let mut read = std::pin::pin!(answer(&mut from));
    tokio::select! {
        answer = &mut read => answer.map(|answer| Answer { keeps: false, ..answer }),
        // One that cannot be sent may have been answered all the same.
        _ = to.write_all(request) => read.await,
    }
}

async fn answer(from: &mut (impl AsyncReadExt + Unpin)) -> Result<Answer, Failure> {
    let mut seen = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = find(&seen, b"\r\n\r\n") {
            break end + 4;
        }
        more(from, &mut seen).await?;
    };
    let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
    let status = text.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or(Failure::WrongBody)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let length = field("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or(Failure::WrongBody)?;
    while seen.len() < head + length {
        more(from, &mut seen).await?;
    }
    let keeps = field("connection") != Some("close") && seen.len() == head + length;
    Ok(Answer { status, body: seen.split_off(head), keeps })
}

async fn more(from: &mut (impl AsyncReadExt + Unpin), seen: &mut Vec<u8>) -> Result<(), Failure> {
    match from.read_buf(seen).await {
        Ok(0) => Err(cut(seen, Failure::Closed)),
        Ok(_) => Ok(()),
        Err(error) => Err(cut(seen, why(&error))),
    }
}

fn cut(seen: &[u8], whole: Failure) -> Failure {
    if seen.is_empty() { whole } else { Failure::Truncated }
}

fn why(error: &Error) -> Failure {
    if error.kind() == ErrorKind::ConnectionReset { Failure::Reset } else { Failure::Closed }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
