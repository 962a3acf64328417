//! Metrics of the process: its clients, its sources, itself.

use std::time::SystemTime;

use crate::domain::http::http2::ledger::Abuse;
use crate::domain::pressure::Level;
use crate::telemetry::metrics::counters::{Listener, Refused};
use crate::telemetry::metrics::list::{Kind, Metric};
use crate::telemetry::metrics::scene::Durations;

/// In the order of `/metrics` and its reference.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "evenkeel_build_info",
        kind: Kind::Gauge(|scene, to| to.add([scene.snapshot.version], 1.0)),
        labels: &["version"],
        help: "Always 1; the version is in its label.",
    },
    Metric {
        name: "evenkeel_answers",
        kind: Kind::Counter(|scene, to| {
            for (reason, count) in scene.snapshot.counters.answers() {
                to.add([reason], count as f64);
            }
        }),
        labels: &["reason"],
        help: "Answers that the balancer made itself, by reason as in the access log.",
    },
    Metric {
        name: "evenkeel_connections",
        kind: Kind::Counter(|scene, to| {
            for listener in Listener::ALL {
                to.add([listener.as_str()], scene.snapshot.counters.connections(listener) as f64);
            }
        }),
        labels: &["listener"],
        help: "Client connections accepted.",
    },
    Metric {
        name: "evenkeel_connections_open",
        kind: Kind::Gauge(|scene, to| {
            for listener in Listener::ALL {
                to.add(
                    [listener.as_str()],
                    scene.snapshot.counters.connections_open(listener) as f64,
                );
            }
        }),
        labels: &["listener"],
        help: "Client connections that are open.",
    },
    Metric {
        name: "evenkeel_proxy_protocol_refused",
        kind: Kind::Counter(|scene, to| {
            to.add([], scene.snapshot.counters.introductions_refused() as f64);
        }),
        labels: &[],
        help: "Connections closed since they came from `--proxy-protocol` addresses without a \
               right PROXY header.",
    },
    Metric {
        name: "evenkeel_http2_refused",
        kind: Kind::Counter(|scene, to| {
            for abuse in Abuse::ALL {
                to.add([abuse.reason()], scene.snapshot.counters.http2_refusals(abuse) as f64);
            }
        }),
        labels: &["reason"],
        help: "HTTP/2 connections that were ended for what their client did, or did not do in time.",
    },
    Metric {
        name: "evenkeel_connections_refused",
        kind: Kind::Counter(|scene, to| {
            for why in Refused::ALL {
                to.add([why.as_str()], scene.snapshot.counters.connections_refused(why) as f64);
            }
        }),
        labels: &["reason"],
        help: "Client connections closed as soon as they were accepted, since the client had as \
               many as it may (`client`) or memory ran short (`memory`); and how often none could \
               be accepted, since a worker had as many as it takes (`full`) or the process has no \
               more descriptors (`shortage`): those wait.",
    },
    Metric {
        name: "evenkeel_memory_pressure",
        kind: Kind::Gauge(|scene, to| {
            let level = scene.snapshot.counters.pressure.level();
            for each in Level::ALL {
                to.add([each.as_str()], f64::from(u8::from(each == level)));
            }
        }),
        labels: &["level"],
        help: "1 for the level in force: `high` takes no new connections, `critical` no new \
               requests either.",
    },
    Metric {
        name: "evenkeel_tls_handshakes",
        kind: Kind::Counter(|scene, to| {
            for (resumed, value) in [(false, "no"), (true, "yes")] {
                to.add([value], scene.snapshot.counters.handshakes(resumed) as f64);
            }
        }),
        labels: &["resumed"],
        help: "TLS handshakes with clients that were completed; one that is resumed costs a fraction.",
    },
    Metric {
        name: "evenkeel_tls_handshakes_failed",
        kind: Kind::Counter(|scene, to| {
            for (reason, count) in scene.snapshot.counters.handshakes_failed() {
                to.add([reason], count as f64);
            }
        }),
        labels: &["reason"],
        help: "TLS handshakes with clients that came to nothing, by reason.",
    },
    Metric {
        name: "evenkeel_access_log_dropped",
        kind: Kind::Counter(|scene, to| to.add([], scene.snapshot.access_log_dropped as f64)),
        labels: &[],
        help: "Lines of the access log that were lost because its reader was too slow.",
    },
    Metric {
        name: "evenkeel_source_connected",
        kind: Kind::Gauge(|scene, to| {
            for source in &scene.snapshot.sources {
                to.add([source.name.as_str()], f64::from(u8::from(source.connected)));
            }
        }),
        labels: &["source"],
        help: "1 while a source of containers can be heard, else 0.",
    },
    Metric {
        name: "evenkeel_source_age_seconds",
        kind: Kind::Gauge(|scene, to| {
            for source in &scene.snapshot.sources {
                if let Some(age) = source.age {
                    to.add([source.name.as_str()], age.as_secs_f64());
                }
            }
        }),
        labels: &["source"],
        help: "Time since all that a source sees was last applied; none before the first time.",
    },
    Metric {
        name: "evenkeel_event_lag_seconds",
        kind: Kind::Histogram(|scene, to| {
            to.add_durations([], &Durations::of(&scene.snapshot.counters.pace.lag));
        }),
        labels: &[],
        help: "From a Docker event, by the daemon's clock, to the routing table that has what it changed.",
    },
    Metric {
        name: "evenkeel_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge(|scene, to| {
            for certificate in &scene.snapshot.certificates {
                let until = certificate.expires_at.duration_since(SystemTime::UNIX_EPOCH);
                let until = until.unwrap_or_default().as_secs_f64();
                to.add([&*certificate.name, certificate.origin], until);
            }
        }),
        labels: &["name", "origin"],
        help: "When a certificate ends, since the Unix epoch, by the first name that it is for.",
    },
    Metric {
        name: "evenkeel_table_generation",
        kind: Kind::Gauge(|scene, to| to.add([], scene.snapshot.generation as f64)),
        labels: &[],
        help: "Routing tables that there were before the one in use.",
    },
    Metric {
        name: "evenkeel_table_build_seconds",
        kind: Kind::Histogram(|scene, to| {
            to.add_durations([], &Durations::of(&scene.snapshot.counters.pace.build));
        }),
        labels: &[],
        help: "To plan what the sources see and to put the plan into force.",
    },
    Metric {
        name: "evenkeel_problems",
        kind: Kind::Gauge(|scene, to| to.add([], scene.snapshot.problems as f64)),
        labels: &[],
        help: "Mistakes that a person can mend; `evenkeel status` lists them with their remedies.",
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge(|scene, to| {
            if let Ok(since) = scene.snapshot.started_at.duration_since(SystemTime::UNIX_EPOCH) {
                to.add([], since.as_secs_f64());
            }
        }),
        labels: &[],
        help: "When the process started, since the Unix epoch.",
    },
    Metric {
        name: "process_cpu_seconds",
        kind: Kind::Counter(|scene, to| {
            if let Some(seconds) = scene.snapshot.process.cpu_seconds {
                to.add([], seconds);
            }
        }),
        labels: &[],
        help: "User and system CPU time that the process used.",
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge(|scene, to| {
            if let Some(bytes) = scene.snapshot.process.resident_bytes {
                to.add([], bytes as f64);
            }
        }),
        labels: &[],
        help: "Memory of the process that is in RAM.",
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge(|scene, to| {
            if let Some(count) = scene.snapshot.process.open_fds {
                to.add([], count as f64);
            }
        }),
        labels: &[],
        help: "File descriptors that the process has open.",
    },
];
