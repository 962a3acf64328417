//! What the access log says of a request.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use http::Version;

use crate::domain::http::trace_context::TraceId;

/// One request, when it has ended. Text is taken as it came and escaped where
/// it is written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// When its head had been read.
    pub time: SystemTime,
    /// The client, which behind a trusted proxy is not the peer.
    pub client: IpAddr,
    /// Who has given the right password.
    pub user: Option<&'a str>,
    /// Empty, as is `target`, where the request could not be read.
    pub method: &'a str,
    /// As it was sent, with its query; credentials are masked when it is written.
    pub target: &'a [u8],
    pub version: Version,
    /// None of a clear connection.
    pub tls: Option<Tls<'a>>,
    /// 0 if no answer was begun.
    pub status: u16,
    /// Of the bodies, without heads.
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// As `target`.
    pub referer: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
    pub request_id: Option<&'a str>,
    /// Of the client's, if it said so.
    pub trace: Option<TraceId>,
    /// The pool's label.
    pub pool: Option<&'a str>,
    pub project: Option<&'a str>,
    pub service: Option<&'a str>,
    pub replica: Option<&'a str>,
    /// The container's id, shown by its first 12 digits as Docker does.
    pub container: Option<&'a str>,
    /// The replica of the last attempt.
    pub upstream: Option<SocketAddr>,
    pub attempts: u32,
    /// The last attempt went over a connection that had been used before.
    pub reused: bool,
    /// Held until a replica was ready, in microseconds.
    pub wait_us: u64,
    /// Until there was a connection to the replica, in microseconds, of all
    /// attempts; none without any.
    pub connect_us: Option<u64>,
    /// From there to the head of the answer, in microseconds.
    pub first_byte_us: Option<u64>,
    /// What we have taken until then, and after it, in microseconds.
    pub overhead_us: u64,
    /// To the last byte of the answer, in microseconds.
    pub total_us: u64,
    /// Why it ended: `ok`, `no_route`, `client_closed`, …
    pub end: &'static str,
}

/// How the client's connection is encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// The name that the client asked for in the handshake, if any.
    pub sni: Option<&'a str>,
}
