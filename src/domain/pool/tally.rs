//! What a pool has served, in counters that only grow.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Requests by class of their answer, and how long they took.
#[derive(Debug, Default)]
pub struct Tally {
    classes: [AtomicU64; StatusClass::ALL.len()],
    pub duration: Histogram,
    retries: AtomicU64,
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

/// Durations in buckets, as Prometheus counts them.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

/// Upper bounds in microseconds: those of OpenTelemetry's HTTP conventions,
/// with finer ones below, where a proxy's own cost is seen.
pub const BUCKETS: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

impl Tally {
    /// Counts one request that has ended.
    pub fn record(&self, status: u16, took: Duration) {
        if let Some(count) = self.classes.get(StatusClass::of(status) as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.duration.record(took);
    }

    pub fn record_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub fn requests(&self, class: StatusClass) -> u64 {
        self.classes.get(class as usize).map_or(0, |count| count.load(Ordering::Relaxed))
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

impl Histogram {
    pub fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS.partition_point(|&bound| bound < took_us);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// How many fell into each bucket alone; the last is beyond every bound.
    pub fn counts(&self) -> [u64; BUCKETS.len() + 1] {
        array::from_fn(|place| {
            self.buckets.get(place).map_or(0, |bucket| bucket.load(Ordering::Relaxed))
        })
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Ordering::Relaxed)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_belongs_to_the_bucket_of_that_bound() {
        let histogram = Histogram::default();
        for took_us in [250, 251, 20_000_000] {
            histogram.record(Duration::from_micros(took_us));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[BUCKETS.len()]), (1, 1, 1));
        assert_eq!(histogram.sum_us(), 20_000_501);
    }

    #[test]
    fn every_status_has_a_class() {
        let tally = Tally::default();
        for status in [101, 204, 308, 404, 503, 999] {
            tally.record(status, Duration::ZERO);
        }
        let counted: Vec<_> = StatusClass::ALL.map(|class| tally.requests(class)).to_vec();
        assert_eq!(counted, [1, 1, 1, 1, 2]);
    }
}
