//! The samples of one metric.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use crate::domain::pool::{BUCKETS, Histogram};

/// The samples of one metric, in the order of their labels. Samples with the
/// same labels are added up, so that no label set can appear twice.
#[derive(Debug)]
pub(super) struct Samples<T>(BTreeMap<Vec<String>, T>);

/// A histogram at one moment.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: [u64; BUCKETS.len() + 1],
    sum_us: u64,
}

/// What can be written as samples of a metric.
pub(super) trait Sample: Default {
    fn add(&mut self, other: Self);
    fn encode(&self, encoder: &mut MetricEncoder<'_>, counter: bool) -> fmt::Result;
}

impl<T: Sample> Samples<T> {
    pub(super) fn add<const N: usize>(&mut self, labels: [&str; N], sample: T) {
        let labels = labels.map(str::to_owned).to_vec();
        self.0.entry(labels).or_default().add(sample);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes all samples, with `names` for their labels.
    pub(super) fn encode(
        &self,
        names: &[&'static str],
        counter: bool,
        encoder: &mut MetricEncoder<'_>,
    ) -> fmt::Result {
        self.0.iter().try_for_each(|(values, sample)| {
            if names.is_empty() {
                return sample.encode(encoder, counter);
            }
            let labels: Vec<_> =
                names.iter().copied().zip(values.iter().map(String::as_str)).collect();
            sample.encode(&mut encoder.encode_family(&labels)?, counter)
        })
    }
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl Sample for f64 {
    fn add(&mut self, other: Self) {
        *self += other;
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>, counter: bool) -> fmt::Result {
        match (whole(*self), counter) {
            (Some(whole), true) => encoder.encode_counter::<NoLabelSet, _, u64>(&whole, None),
            (Some(whole), false) => encoder.encode_gauge(&whole),
            (None, true) => encoder.encode_counter::<NoLabelSet, _, u64>(self, None),
            (None, false) => encoder.encode_gauge(self),
        }
    }
}

impl From<&Histogram> for Durations {
    fn from(histogram: &Histogram) -> Self {
        Self { counts: histogram.counts(), sum_us: histogram.sum_us() }
    }
}

impl Sample for Durations {
    fn add(&mut self, other: Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_us += other.sum_us;
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>, _counter: bool) -> fmt::Result {
        let bounds = BUCKETS.iter().map(|&bound_us| seconds(bound_us)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.counts).collect();
        // The count is that of the buckets, which are read one by one while
        // requests go on: a scrape must agree with itself.
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.sum_us), count, &buckets, None)
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

/// The number without its fraction, if it has none and is exact.
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..WHOLE_MAX).contains(&number)).then_some(number as u64)
}

/// 2^53: beyond it `f64` skips whole numbers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
