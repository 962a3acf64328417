//! The HTTP/2 front (RFC 9113): the h2 crate's frames and streams behind a gate
//! that counts what a client sends.
//!
//! h2 keeps the protocol; how long and how much a client may take is kept here.

mod account;
mod date;
mod head;
mod send;
mod serve;
mod stream;
mod tunnel_stream;

use std::time::Duration;

pub(super) use serve::serve;

/// How long and how much a client may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Limits {
    /// Until the preface and the first SETTINGS are there.
    preface: Duration,
    /// Without a stream.
    idle: Duration,
    /// Between two pieces of a request's body, while somebody wants them.
    body_idle: Duration,
    /// After which an answer is reset of which the client takes nothing.
    stall: Duration,
    /// Streams at once.
    streams: u32,
    /// Decoded fields of one head or one set of trailers, in bytes as RFC 9113
    /// §6.5.2 counts them.
    head_bytes: u32,
    /// What a client may send of one body before it is taken, in bytes.
    stream_window: u32,
    /// The same of all bodies of a connection.
    connection_window: u32,
    /// Of one answer, unsent, in bytes.
    stream_buffer: usize,
    /// Of all answers of a connection, unsent, in bytes.
    connection_buffer: usize,
    /// Requests of one connection; then the client has to open another.
    requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            preface: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            streams: 100,
            head_bytes: 32 * 1024,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            stream_buffer: 64 * 1024,
            connection_buffer: 1024 * 1024,
            requests: 10_000,
        }
    }
}
