//! The HTTP/2 front (RFC 9113): the h2 crate's frames and streams behind a gate
//! that counts what a client sends.
//!
//! h2 keeps the protocol; how long and how much a client may take is kept here.

mod account;
mod date;
mod gate;
mod head;
mod send;
mod serve;
mod stall;
mod stream;
mod tunnel_stream;

use std::time::Duration;

pub(super) use serve::serve;

/// How long and how much a client may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Limits {
    /// Until the preface and the first SETTINGS are there.
    preface: Duration,
    /// From the first frame of a head to the end of its last.
    head: Duration,
    /// Without a stream.
    idle: Duration,
    /// Between two pieces of a request's body, while somebody wants them.
    body_idle: Duration,
    /// After which an answer is reset of which the client takes next to nothing,
    /// and a connection is cut that takes no byte.
    stall: Duration,
    /// After which a connection is ended on which no answer gets on, when the
    /// next one is reset.
    connection_stall: Duration,
    /// Until a client that was told that we close has closed its side.
    farewell: Duration,
    /// To tell a client why its connection ends.
    last_words: Duration,
    /// Streams at once.
    streams: u32,
    /// Decoded fields of one head or one set of trailers, in bytes as RFC 9113
    /// §6.5.2 counts them: more than we take, so that those that are too large
    /// are refused as others are. h2 answers larger ones itself, without a word,
    /// and cuts off who sends four times as much.
    head_bytes: u32,
    /// What a client may send of one body before it is taken, in bytes.
    stream_window: u32,
    /// The same of all bodies of a connection: enough for all of them, since bodies
    /// that nobody takes must not hold up the others. A connection costs as much
    /// as its client has sent of it.
    connection_window: u32,
    /// What small DATA frames that wait may cost beside their bytes, which is as
    /// many bytes as each has fewer than 256: whole windows of small messages.
    small_frames: usize,
    /// Of one answer, unsent, in bytes.
    stream_buffer: usize,
    /// Of all answers of a connection, unsent, in bytes.
    connection_buffer: usize,
    /// Streams that we have reset and of which more may be on its way.
    resets_remembered: usize,
    /// Streams that the client has reset before we came to them.
    resets_pending: usize,
    /// Requests of one connection; then the client has to open another.
    requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            preface: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            connection_stall: Duration::from_secs(60),
            farewell: Duration::from_secs(5),
            last_words: Duration::from_secs(1),
            streams: STREAMS,
            head_bytes: 64 * 1024,
            stream_window: STREAM_WINDOW,
            connection_window: STREAMS * STREAM_WINDOW,
            small_frames: 16 * 1024 * 1024,
            stream_buffer: 64 * 1024,
            connection_buffer: 1024 * 1024,
            resets_remembered: 100,
            resets_pending: 20,
            requests: 100_000,
        }
    }
}

const STREAMS: u32 = 100;

/// So little that all streams may have it, and so much that one gets on over a
/// long line.
const STREAM_WINDOW: u32 = 128 * 1024;

#[cfg(test)]
mod tests;
