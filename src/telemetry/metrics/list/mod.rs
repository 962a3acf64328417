//! The one list of metrics: what is not here does not exist.

mod process;
mod traefik;
mod traffic;

use crate::telemetry::metrics::page::Samples;
use crate::telemetry::metrics::scene::Scene;

/// One metric: what it is called and where its samples come from.
#[derive(Debug)]
pub(super) struct Metric {
    /// Without the `_total` that ends a counter's name.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// A sentence that ends with its full stop.
    pub(super) help: &'static str,
}

/// What a metric's samples mean, and how they are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter(fn(&Scene<'_>, &mut Samples<'_>)),
    Gauge(fn(&Scene<'_>, &mut Samples<'_>)),
    Histogram(fn(&Scene<'_>, &mut Samples<'_>)),
}

/// Every metric of ours, in the order of `/metrics` and its reference.
pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    traffic::METRICS.iter().chain(process::METRICS)
}

/// The same under the names that Traefik gives them.
pub(super) fn traefik() -> impl Iterator<Item = &'static Metric> {
    traefik::METRICS.iter()
}

impl Metric {
    /// The name of its samples, as queries spell it.
    pub(super) fn full_name(&self) -> String {
        match self.kind {
            Kind::Counter(_) => format!("{}_total", self.name),
            Kind::Gauge(_) | Kind::Histogram(_) => self.name.to_owned(),
        }
    }
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}
