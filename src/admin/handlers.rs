//! An answer for each address.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::admin::accept::prefers;
use crate::admin::{Admin, certificates, readiness, status, view};
use crate::domain::world::SourceHealth;
use crate::telemetry::metrics::{Exposition, Process, Snapshot, Source, render};

/// What there is to read here.
pub(super) async fn index(State(admin): State<Admin>) -> String {
    format!(
        "evenkeel {}\n\n\
         /healthz        we run\n\
         /readyz         whether traffic may be sent here, and what each source says\n\
         /metrics        for Prometheus\n\
         /api/v1/status  pools, replicas, certificates, problems and sources, as JSON\n\n\
         POST, for whoever may read, with a body of `application/json`:\n\n\
         /api/v1/explain            what becomes of {{\"url\": \"http://shop.example/\"}}\n\
         /api/v1/explain/container  why {{\"name\": \"shop-web-1\"}} gets requests, or none\n\n\
         POST, over loopback or with `Authorization: Bearer TOKEN`, with a body such as\n\
         {{\"replicas\": [\"shop-web-1\"]}} as `application/json`:\n\n\
         /api/v1/drain    these replicas finish what they have and get nothing new\n\
         /api/v1/undrain  they serve again\n",
        admin.version
    )
}

/// Answers as long as this process does.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when traffic may be sent here, else 503.
pub(super) async fn readyz(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let readiness = readiness::readiness(&admin.overview.borrow(), Instant::now());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if prefers(&headers, "application/json", "text/plain") {
        (status, Json(readiness)).into_response()
    } else {
        (status, readiness::text(&readiness)).into_response()
    }
}

/// Prometheus' text format, or OpenMetrics for those who prefer it.
pub(super) async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let exposition = if prefers(&headers, "application/openmetrics-text", "text/plain") {
        Exposition::OpenMetrics
    } else {
        Exposition::Prometheus
    };
    // Events and probes do not wait for the lines of a thousand replicas.
    let written = spawn_blocking(move || render(&admin.snapshot(), exposition)).await;
    match written {
        Ok(text) => ([(CONTENT_TYPE, exposition.content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "The metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// All that there is to know.
pub(super) async fn status(State(mut admin): State<Admin>) -> Json<view::Status> {
    let overview = Arc::clone(&admin.overview.borrow());
    let now = Instant::now();
    let table = Arc::clone(admin.table.current());
    Json(view::Status {
        version: admin.version.to_owned(),
        uptime_seconds: now.duration_since(admin.started).as_secs_f64(),
        generation: table.generation(),
        ready: overview.has_first_world() && !overview.stopping,
        stopping: overview.stopping,
        pools: status::pools(&overview.plan, table.pools()),
        certificates: certificates::shown(&admin.certificates(), today()),
        problems: overview.problems.iter().map(status::problem).collect(),
        sources: readiness::sources(&overview, now),
        access_log_dropped: admin.access_log.dropped(),
    })
}

#[expect(clippy::disallowed_methods, reason = "it is told how many days are left")]
fn today() -> SystemTime {
    SystemTime::now()
}

pub(super) async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not found: / lists what there is\n")
}

/// Says of every answer that it is of the moment, and what it says it is.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Admin {
    fn snapshot(mut self) -> Snapshot {
        let overview = Arc::clone(&self.overview.borrow());
        let table = self.table.current();
        let now = Instant::now();
        let sources = overview.sources.iter().map(|source| Source {
            name: source.name.clone(),
            connected: matches!(source.health, Some(SourceHealth::Connected { .. })),
            age: source.seen_at.map(|at| now.duration_since(at)),
        });
        Snapshot {
            version: self.version,
            started_at: self.started_at,
            now: today(),
            generation: table.generation(),
            pools: table.pools().map(Arc::clone).collect(),
            departed: table.departed().filter(|it| it.is_shown(now.into_std())).cloned().collect(),
            sources: sources.collect(),
            certificates: certificates::measured(&self.certificates()),
            problems: overview.problems.len(),
            access_log_dropped: self.access_log.dropped(),
            counters: Arc::clone(&self.counters),
            process: Process::read(),
            traefik: self.metrics_traefik,
        }
    }
}
