//! Metrics, read from counters when somebody asks; a request registers nothing.

mod counters;
mod list;
mod pace;
mod page;
mod process;
mod scene;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use counters::{Counters, Listener, OpenConnection, Refused};
pub use pace::Pace;
pub use process::Process;

use crate::domain::names::SourceName;
use crate::domain::pool::Pool;
use crate::domain::routing::Departure;
use crate::telemetry::metrics::list::{Metric, metrics, traefik};
use crate::telemetry::metrics::page::Page;
use crate::telemetry::metrics::scene::Scene;

/// All that the metrics are read from, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub version: &'static str,
    pub started_at: SystemTime,
    pub now: SystemTime,
    /// How many routing tables there were before the one in use.
    pub generation: u64,
    /// The pools of the table in use.
    pub pools: Vec<Arc<Pool>>,
    /// Replicas that have left of late.
    pub departed: Vec<Departure>,
    pub sources: Vec<Source>,
    /// At most one for each name and origin.
    pub certificates: Vec<Certificate>,
    pub problems: usize,
    pub access_log_dropped: u64,
    pub counters: Arc<Counters>,
    pub process: Process,
    /// Whether to show all of it under Traefik's names too.
    pub traefik: bool,
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

/// Writes every metric that has a sample.
pub fn render(snapshot: &Snapshot, exposition: Exposition) -> String {
    let scene = Scene::of(snapshot);
    let rows = scene.replicas.len() + scene.routes.len() + snapshot.pools.len();
    let mut page = Page::new(exposition, PAGE_BYTES + rows * ROW_BYTES);
    let aliases = snapshot.traefik.then(traefik);
    metrics().chain(aliases.into_iter().flatten()).for_each(|metric| page.add(metric, &scene));
    page.finish()
}

/// The tables of all metrics, as `docs/metrics.md` begins with them.
pub fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    metrics().for_each(|metric| page.push_str(&row(metric)));
    page.push_str(TRAEFIK_HEAD);
    traefik().for_each(|metric| page.push_str(&row(metric)));
    page
}

fn row(metric: &Metric) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let (name, kind) = (metric.full_name(), metric.kind.as_str());
    format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), metric.help)
}

/// What a page has without pools.
const PAGE_BYTES: usize = 16 << 10;

/// Of a replica with common names.
const ROW_BYTES: usize = 4 << 10;

const REFERENCE_HEAD: &str = "\
# Metrics

`GET /metrics` on the admin address answers in Prometheus' text format 0.0.4, or
in OpenMetrics 1.0.0 when `Accept` asks for it. Counters only grow; those of a
pool live as long as the pool. Replicas of one name in one pool are counted as
one, so that a container that starts again counts on; what a replica did before
it left is shown for five more minutes. Beyond 2,000 replicas, and beyond 2,000
routes, the rest is added up as `(other)`. Durations are in seconds.

These tables are generated from `src/telemetry/metrics/list`; after a change
there run `UPDATE_DOCS=1 cargo test --lib the_reference_is_current`.

| name | type | labels | meaning |
|---|---|---|---|
";

const TRAEFIK_HEAD: &str = "
## Traefik's names

With `--metrics-traefik on` dashboards and alerts that were made for Traefik find
these too. `service` is the pool. What is not counted here is left out: the labels
`method`, `protocol`, `sans` and `serial`, durations by `code`, and sizes. A
dashboard that asks for the buckets 0.3 and 1.2 finds none: 0.25 and 1.0 are near.

| name | type | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests;
