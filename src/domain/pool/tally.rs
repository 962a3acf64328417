//! What pools, their routes and their replicas have served, in counters that
//! only grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::lifecycle::Trouble;
use crate::domain::pool::Histogram;

/// Answers by their class, and how long they took.
#[derive(Debug, Default)]
pub struct Tally {
    classes: [AtomicU64; StatusClass::ALL.len()],
    pub duration: Histogram,
}

/// What became of the attempts at the replicas of one name in a pool, in all of
/// their lives: a container that starts again counts on.
#[derive(Debug, Default)]
pub struct ReplicaTally {
    attempts: AtomicU64,
    failures: AtomicU64,
    ejections: [AtomicU64; Trouble::ALL.len()],
    /// From when a request was sent, or its body last got on, to the head of the
    /// answer.
    pub answers: Tally,
}

/// How a pool has reached its replicas.
#[derive(Debug, Default)]
pub struct Efforts {
    retries: [AtomicU64; Retry::ALL.len()],
    opened: AtomicU64,
    reused: AtomicU64,
}

/// Why a request was sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retry {
    /// No connection could be made.
    Connect,
    /// None was made in time.
    Timeout,
    /// The replica did not prove who it is.
    Untrusted,
    /// The connection, or the stream, ended before an answer.
    Reset,
    /// The replica has said that it has not looked at the request.
    Refused,
    /// It was about to leave.
    Left,
    /// It gave an answer of `lb.retry.on`.
    Status,
}

/// The class of an answer (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusClass {
    Informational,
    Success,
    Redirection,
    ClientError,
    ServerError,
}

impl Tally {
    /// Counts one answer that has ended, or of which only the head counts.
    pub fn record(&self, status: u16, took: Duration) {
        self.count(status);
        self.duration.record(took);
    }

    /// Counts one answer whose time says nothing.
    pub fn count(&self, status: u16) {
        add(&self.classes, StatusClass::of(status) as usize);
    }

    pub fn requests(&self, class: StatusClass) -> u64 {
        load(&self.classes, class as usize)
    }
}

impl ReplicaTally {
    /// An attempt begins.
    pub fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// An attempt ended without an answer, by a fault of the replica.
    pub fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The replica was ejected for this, and not because it was about to leave.
    pub fn eject(&self, trouble: Trouble) {
        add(&self.ejections, trouble as usize);
    }

    pub fn ejections(&self, trouble: Trouble) -> u64 {
        load(&self.ejections, trouble as usize)
    }
}

impl Efforts {
    pub fn retry(&self, why: Retry) {
        add(&self.retries, why as usize);
    }

    pub fn retries(&self, why: Retry) -> u64 {
        load(&self.retries, why as usize)
    }

    /// Attempts after the first of a request.
    pub fn retries_in_all(&self) -> u64 {
        Retry::ALL.iter().map(|&why| self.retries(why)).sum()
    }

    /// A connection was found for an attempt.
    pub fn connected(&self, reused: bool) {
        let count = if reused { &self.reused } else { &self.opened };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that were opened for an attempt.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Attempts on a connection that had carried another one.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }
}

impl Retry {
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Untrusted,
        Self::Reset,
        Self::Refused,
        Self::Left,
        Self::Status,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Untrusted => "untrusted",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::Left => "left",
            Self::Status => "status",
        }
    }
}

impl StatusClass {
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
    ];

    /// Anything beyond 5xx is a server's error too (RFC 9110, section 15).
    pub fn of(status: u16) -> Self {
        match status {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

fn add(counts: &[AtomicU64], place: usize) {
    if let Some(count) = counts.get(place) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counts: &[AtomicU64], place: usize) -> u64 {
    counts.get(place).map_or(0, |count| count.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_class() {
        let tally = Tally::default();
        for status in [101, 204, 308, 404, 503, 999] {
            tally.record(status, Duration::ZERO);
        }
        let counted: Vec<_> = StatusClass::ALL.map(|class| tally.requests(class)).to_vec();
        assert_eq!(counted, [1, 1, 1, 1, 2]);
    }

    #[test]
    fn every_retry_is_counted_for_its_reason_alone() {
        let efforts = Efforts::default();
        for (times, why) in Retry::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| efforts.retry(why));
        }
        assert_eq!(Retry::ALL.map(|why| efforts.retries(why)), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(efforts.retries_in_all(), 21);
    }
}
