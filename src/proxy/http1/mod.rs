//! The HTTP/1 front: hyper's connection behind a gate over the client's bytes.
//!
//! hyper reads messages; the gate decides what hyper hides: strict framing, and
//! how long a client may take. Whatever replaces hyper here replaces both.

pub(super) mod clock;
pub mod gate;
pub mod linger;
mod serve;
pub mod turn;

use std::time::Duration;

pub(super) use serve::serve;

use crate::domain::http::framing::HEAD_BYTES_MAX;

/// How long and how much a client may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From the first byte of a head to its last.
    pub head_timeout: Duration,
    /// Between the end of an answer and the next head; before the first too.
    pub idle_timeout: Duration,
    /// After which a connection between requests keeps no buffers.
    pub rest_after: Duration,
    /// Between two bytes of a request body, while somebody wants them.
    pub body_idle: Duration,
    /// A write that makes no progress.
    pub write_stall: Duration,
    /// Largest request head, in bytes; [`HEAD_BYTES_MAX`] at the most.
    pub head_bytes_max: usize,
    /// How long a client is heard after an early answer.
    pub linger_time: Duration,
    /// How much is read from it in that time.
    pub linger_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            rest_after: Duration::from_secs(1),
            body_idle: Duration::from_secs(60),
            write_stall: Duration::from_secs(30),
            head_bytes_max: HEAD_BYTES_MAX,
            linger_time: Duration::from_secs(1),
            linger_bytes_max: 64 * 1024,
        }
    }
}
