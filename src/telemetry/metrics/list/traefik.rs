//! What Traefik's dashboards ask for, as far as we count it. Left out is what
//! would have to be made up: methods, protocols, sizes.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::domain::lifecycle::State;
use crate::domain::pool::StatusClass;
use crate::telemetry::metrics::counters::Listener;
use crate::telemetry::metrics::list::{Kind, Metric};
use crate::telemetry::metrics::scene::{Answers, Durations, ROWS_MAX, Scene};

/// In the order of `/metrics` and its reference.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "traefik_service_requests",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                for class in StatusClass::ALL {
                    let count = pool.state.tally.requests(class);
                    to.add([&pool.label, code(class)], count as f64);
                }
            }
        }),
        labels: &["service", "code"],
        help: "`evenkeel_requests_total`; `code` is the first of its class, such as `200`.",
    },
    Metric {
        name: "traefik_service_request_duration_seconds",
        kind: Kind::Histogram(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add_durations([&pool.label], &Durations::of(&pool.state.tally.duration));
            }
        }),
        labels: &["service"],
        help: "`evenkeel_request_duration_seconds`, with its own buckets.",
    },
    Metric {
        name: "traefik_service_retries",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add([&pool.label], pool.state.efforts.retries_in_all() as f64);
            }
        }),
        labels: &["service"],
        help: "`evenkeel_retries_total` for all reasons.",
    },
    Metric {
        name: "traefik_service_server_up",
        kind: Kind::Gauge(|scene, to| {
            let mut seen = BTreeSet::new();
            let pools = scene.snapshot.pools.iter();
            let all = pools.flat_map(|pool| pool.endpoints.iter().map(move |it| (pool, it)));
            for (pool, endpoint) in all.take(ROWS_MAX) {
                let url = format!("{}://{}", endpoint.id.scheme, endpoint.id.address);
                let is_up = endpoint.vitals.state() == State::Ready;
                if seen.insert((&pool.label, url.clone())) {
                    to.add([&pool.label, &url], f64::from(u8::from(is_up)));
                }
            }
        }),
        labels: &["service", "url"],
        help: "1 for a replica that is ready, else 0.",
    },
    Metric {
        name: "traefik_entrypoint_requests",
        kind: Kind::Counter(|scene, to| {
            for (class, count) in in_all(scene).by_class() {
                to.add([ENTRY_POINT, code(class)], count as f64);
            }
        }),
        labels: &["entrypoint", "code"],
        help: "Requests of all pools, which are not counted by where they came in: `entrypoint` is `all`.",
    },
    Metric {
        name: "traefik_entrypoint_request_duration_seconds",
        kind: Kind::Histogram(|scene, to| {
            to.add_durations([ENTRY_POINT], &in_all(scene).durations);
        }),
        labels: &["entrypoint"],
        help: "Durations of the requests of all pools.",
    },
    Metric {
        name: "traefik_open_connections",
        kind: Kind::Gauge(|scene, to| {
            for listener in [Listener::Http, Listener::Https] {
                let open = scene.snapshot.counters.connections_open(listener);
                to.add([listener.as_str()], open as f64);
            }
        }),
        labels: &["entrypoint"],
        help: "`evenkeel_connections_open` of `http` and `https`.",
    },
    Metric {
        name: "traefik_config_reloads",
        kind: Kind::Counter(|scene, to| to.add([], scene.snapshot.generation as f64)),
        labels: &[],
        help: "`evenkeel_table_generation`.",
    },
    Metric {
        name: "traefik_config_last_reload_success",
        kind: Kind::Gauge(|scene, to| {
            let youngest = scene.snapshot.sources.iter().filter_map(|source| source.age).min();
            let at = youngest.and_then(|age| scene.snapshot.now.checked_sub(age));
            if let Some(Ok(at)) = at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH)) {
                to.add([], at.as_secs_f64());
            }
        }),
        labels: &[],
        help: "When all that a source sees was last applied, since the Unix epoch.",
    },
    Metric {
        name: "traefik_tls_certs_not_after",
        kind: Kind::Gauge(|scene, to| {
            for certificate in &scene.snapshot.certificates {
                let until = certificate.expires_at.duration_since(SystemTime::UNIX_EPOCH);
                let until = until.unwrap_or_default().as_secs_f64();
                to.add([&*certificate.name, certificate.origin], until);
            }
        }),
        labels: &["cn", "origin"],
        help: "`evenkeel_certificate_expiry_timestamp_seconds`.",
    },
];

fn in_all(scene: &Scene<'_>) -> Answers {
    let mut all = Answers::default();
    for pool in &scene.snapshot.pools {
        all.add(&Answers::of(&pool.state.tally));
    }
    all
}

/// Dashboards ask for `5..`, and compare with `200`.
fn code(class: StatusClass) -> &'static str {
    match class {
        StatusClass::Informational => "100",
        StatusClass::Success => "200",
        StatusClass::Redirection => "300",
        StatusClass::ClientError => "400",
        StatusClass::ServerError => "500",
    }
}

const ENTRY_POINT: &str = "all";
