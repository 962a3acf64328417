//! Writing metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0.
//!
//! A thousand replicas are thirty thousand lines, so that every line is written
//! where it stays.

use std::fmt::{Display, Write};

use crate::domain::pool::BUCKETS;
use crate::telemetry::metrics::Exposition;
use crate::telemetry::metrics::list::{Kind, Metric};
use crate::telemetry::metrics::scene::{Durations, Scene};

/// What a scrape is answered with.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    exposition: Exposition,
    /// The upper bounds of buckets, as they are written.
    bounds: Vec<String>,
}

/// Writes the samples of one metric. No two may have the same labels.
#[derive(Debug)]
pub(super) struct Samples<'a> {
    page: &'a mut Page,
    metric: &'static Metric,
    begun: bool,
    /// Those of the sample that is being written.
    labels: String,
}

impl Page {
    pub(super) fn new(exposition: Exposition, bytes: usize) -> Self {
        let bounds = BUCKETS.iter().map(|&bound_us| seconds(bound_us)).chain([f64::INFINITY]);
        let bounds = bounds.map(|bound| match bound {
            f64::INFINITY => "+Inf".to_owned(),
            // With a point, as OpenMetrics wants it.
            bound => format!("{bound:?}"),
        });
        Self { text: String::with_capacity(bytes), exposition, bounds: bounds.collect() }
    }

    /// Writes a metric, if it has a sample.
    pub(super) fn add(&mut self, metric: &'static Metric, scene: &Scene<'_>) {
        let mut samples = Samples { page: self, metric, begun: false, labels: String::new() };
        let (Kind::Counter(read) | Kind::Gauge(read) | Kind::Histogram(read)) = metric.kind;
        read(scene, &mut samples);
    }

    pub(super) fn finish(mut self) -> String {
        if self.exposition == Exposition::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        // OpenMetrics names the counter and Prometheus its samples.
        let suffix = match (metric.kind, self.exposition) {
            (Kind::Counter(_), Exposition::Prometheus) => "_total",
            (Kind::Counter(_) | Kind::Gauge(_) | Kind::Histogram(_), _) => "",
        };
        let Metric { name, help, kind, .. } = metric;
        self.write(format_args!("# HELP {name}{suffix} {help}\n"));
        self.write(format_args!("# TYPE {name}{suffix} {}\n", kind.as_str()));
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: [&str; 2], value: impl Display) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let [first, more] = labels;
        if !(first.is_empty() && more.is_empty()) {
            let comma = if first.is_empty() || more.is_empty() { "" } else { "," };
            for piece in ["{", first, comma, more, "}"] {
                self.text.push_str(piece);
            }
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(what);
    }
}

impl Samples<'_> {
    /// Adds a sample of a counter or a gauge.
    pub(super) fn add<const N: usize>(&mut self, values: [&str; N], number: f64) {
        self.begin(&values);
        let suffix = if matches!(self.metric.kind, Kind::Counter(_)) { "_total" } else { "" };
        self.page.sample(self.metric.name, suffix, [&self.labels, ""], number);
    }

    /// Adds a sample of a histogram.
    pub(super) fn add_durations<const N: usize>(&mut self, values: [&str; N], of: &Durations) {
        self.begin(&values);
        let (name, labels) = (self.metric.name, self.labels.as_str());
        let mut count = 0;
        let mut bound = String::new();
        for at in 0..self.page.bounds.len() {
            count += of.counts.get(at).unwrap_or(&0);
            bound.clear();
            bound.push_str("le=\"");
            bound.push_str(self.page.bounds.get(at).map_or("", String::as_str));
            bound.push('"');
            self.page.sample(name, "_bucket", [&bound, labels], count);
        }
        self.page.sample(name, "_sum", [labels, ""], seconds(of.sum_us));
        // The count is that of the buckets, which are read one by one while
        // requests go on: a scrape must agree with itself.
        self.page.sample(name, "_count", [labels, ""], count);
    }

    fn begin(&mut self, values: &[&str]) {
        if !self.begun {
            self.begun = true;
            self.page.head(self.metric);
        }
        self.labels.clear();
        for (name, value) in self.metric.labels.iter().zip(values) {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            escape(value, &mut self.labels);
            self.labels.push('"');
        }
    }
}

/// Names of containers and files may hold anything.
fn escape(value: &str, to: &mut String) {
    for piece in value.split_inclusive(['\\', '"', '\n']) {
        let mut ordinary = piece.chars();
        let escaped = match ordinary.next_back() {
            Some('\\') => r"\\",
            Some('"') => r#"\""#,
            Some('\n') => r"\n",
            _ => {
                to.push_str(piece);
                continue;
            }
        };
        to.push_str(ordinary.as_str());
        to.push_str(escaped);
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}
