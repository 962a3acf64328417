//! Metrics, read from counters when somebody asks; a request registers nothing.

mod counters;
mod list;
mod process;
mod samples;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

pub use counters::{Counters, Listener, OpenConnection, Refused};

pub use process::Process;

use crate::domain::names::SourceName;
use crate::domain::pool::Pool;
use crate::telemetry::metrics::list::METRICS;

/// All that the metrics are read from, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub version: &'static str,
    pub started_at: SystemTime,
    /// How many routing tables there were before the one in use.
    pub generation: u64,
    /// The pools of the table in use.
    pub pools: Vec<Arc<Pool>>,
    pub sources: Vec<Source>,
    /// At most one for each name and origin.
    pub certificates: Vec<Certificate>,
    pub problems: usize,
    pub access_log_dropped: u64,
    pub counters: Arc<Counters>,
    pub process: Process,
}

/// A source as metrics show it.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: SourceName,
    pub connected: bool,
    /// Since its last whole observation was applied; none before the first.
    pub age: Option<Duration>,
}

/// A certificate as metrics show it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The first that it is for.
    pub name: String,
    pub origin: &'static str,
    pub expires_at: SystemTime,
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes every metric that has a sample. Fails only if a value
/// cannot be written, which no value of ours can.
pub fn render(snapshot: Snapshot, exposition: Exposition) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut open_metrics = String::new();
    text::encode(&mut open_metrics, &registry)?;
    Ok(match exposition {
        Exposition::OpenMetrics => open_metrics,
        Exposition::Prometheus => prometheus_text(&open_metrics),
    })
}

/// The table of all metrics, as `docs/metrics.md` holds it.
pub fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            metric.full_name(),
            metric.kind.as_str(),
            labels.join(", "),
            metric.help
        ));
    }
    page
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS.iter().try_for_each(|metric| metric.encode(self, &mut encoder))
    }
}

/// The same samples in Prometheus' older format, in which a counter's metadata
/// carries its `_total` and nothing follows the last sample.
fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let metadata = ["# HELP ", "# TYPE "].into_iter().find_map(|keyword| {
            let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
            Some((keyword, METRICS.iter().find(|metric| metric.name == name)?, rest))
        });
        match metadata {
            Some((keyword, metric, rest)) => {
                text.push_str(&format!("{keyword}{} {rest}", metric.full_name()));
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

const REFERENCE_HEAD: &str = "\
# Metrics

`GET /metrics` on the admin address answers in Prometheus' text format 0.0.4, or
in OpenMetrics 1.0.0 when `Accept` asks for it. Counters only grow; those of a
pool live as long as the pool, those of a replica as long as its container runs.
Replicas of one name in one pool are added up. Durations are in seconds.

This page is generated from `src/telemetry/metrics/list.rs`; after a change
there run `UPDATE_DOCS=1 cargo test --lib metrics`.

| name | type | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests;
