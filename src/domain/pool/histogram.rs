//! Durations, counted so that they can be added up and compared.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
}
