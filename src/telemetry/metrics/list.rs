//! The one list of metrics: what is not here does not exist.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use crate::domain::http::http2::ledger::Abuse;
use crate::domain::lifecycle::{State, Trouble};
use crate::domain::pool::{Endpoint, StatusClass};
use crate::domain::pressure::Level;
use crate::telemetry::metrics::Snapshot;
use crate::telemetry::metrics::counters::{Listener, Refused};
use crate::telemetry::metrics::samples::{Durations, Samples};

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
    Counter(fn(&Snapshot, &mut Samples<f64>)),
    Gauge(fn(&Snapshot, &mut Samples<f64>)),
    Histogram(fn(&Snapshot, &mut Samples<Durations>)),
}

/// Every metric that we offer, in the order of `/metrics` and its reference.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "evenkeel_build_info",
        kind: Kind::Gauge(|snapshot, to| to.add([snapshot.version], 1.0)),
        labels: &["version"],
        help: "Always 1; the version is in its label.",
    },
    Metric {
        name: "evenkeel_requests",
        kind: Kind::Counter(|snapshot, to| {
            for pool in &snapshot.pools {
                for class in StatusClass::ALL {
                    let count = pool.state.tally.requests(class);
                    to.add([&pool.name.to_string(), class.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "code"],
        help: "Requests that have ended, by the class of their answer.",
    },
    Metric {
        name: "evenkeel_request_duration_seconds",
        kind: Kind::Histogram(|snapshot, to| {
            for pool in &snapshot.pools {
                to.add([&pool.name.to_string()], Durations::from(&pool.state.tally.duration));
            }
        }),
        labels: &["pool"],
        help: "From a request's head to the last byte of its answer.",
    },
    Metric {
        name: "evenkeel_retries",
        kind: Kind::Counter(|snapshot, to| {
            for pool in &snapshot.pools {
                to.add([&pool.name.to_string()], pool.state.tally.retries() as f64);
            }
        }),
        labels: &["pool"],
        help: "Attempts after the first of a request.",
    },
    Metric {
        name: "evenkeel_requests_waiting",
        kind: Kind::Gauge(|snapshot, to| {
            for pool in &snapshot.pools {
                to.add([&pool.name.to_string()], f64::from(pool.state.waiting()));
            }
        }),
        labels: &["pool"],
        help: "Requests that are held until a replica is ready.",
    },
    Metric {
        name: "evenkeel_requests_queued",
        kind: Kind::Gauge(|snapshot, to| {
            for pool in &snapshot.pools {
                to.add([&pool.name.to_string()], f64::from(pool.state.queue.waiting()));
            }
        }),
        labels: &["pool"],
        help: "Requests that wait for a place, since every ready replica has its `max_conns`.",
    },
    Metric {
        name: "evenkeel_endpoints",
        kind: Kind::Gauge(|snapshot, to| {
            for pool in &snapshot.pools {
                let name = pool.name.to_string();
                for state in State::ALL {
                    to.add([&name, state.as_str()], 0.0);
                }
                for endpoint in &pool.endpoints {
                    to.add([&name, endpoint.vitals.state().as_str()], 1.0);
                }
            }
        }),
        labels: &["pool", "state"],
        help: "Replicas of a pool by state; requests go to those that are ready.",
    },
    Metric {
        name: "evenkeel_endpoint_requests",
        kind: Kind::Counter(|snapshot, to| {
            each_endpoint(snapshot, to, |it| it.vitals.attempts() as f64);
        }),
        labels: &["pool", "replica"],
        help: "Attempts that were sent to a replica.",
    },
    Metric {
        name: "evenkeel_endpoint_failures",
        kind: Kind::Counter(|snapshot, to| {
            each_endpoint(snapshot, to, |it| it.vitals.failures() as f64);
        }),
        labels: &["pool", "replica"],
        help: "Attempts that ended without a whole answer from the replica.",
    },
    Metric {
        name: "evenkeel_endpoint_ejections",
        kind: Kind::Counter(|snapshot, to| {
            for pool in &snapshot.pools {
                let name = pool.name.to_string();
                for endpoint in &pool.endpoints {
                    for trouble in Trouble::ALL {
                        let count = endpoint.vitals.ejections(trouble) as f64;
                        to.add([&name, &*endpoint.name, trouble.as_str()], count);
                    }
                }
            }
        }),
        labels: &["pool", "replica", "reason"],
        help: "How often a replica was taken out of service for requests that it failed, by how \
               it failed the last of them.",
    },
    Metric {
        name: "evenkeel_endpoint_in_flight",
        kind: Kind::Gauge(|snapshot, to| {
            each_endpoint(snapshot, to, |it| f64::from(it.vitals.in_flight()));
        }),
        labels: &["pool", "replica"],
        help: "Requests that a replica is working on.",
    },
    Metric {
        name: "evenkeel_answers",
        kind: Kind::Counter(|snapshot, to| {
            for (reason, count) in snapshot.counters.answers() {
                to.add([reason], count as f64);
            }
        }),
        labels: &["reason"],
        help: "Answers that the balancer made itself, by reason as in the access log.",
    },
    Metric {
        name: "evenkeel_connections",
        kind: Kind::Counter(|snapshot, to| {
            for listener in Listener::ALL {
                to.add([listener.as_str()], snapshot.counters.connections(listener) as f64);
            }
        }),
        labels: &["listener"],
        help: "Client connections accepted.",
    },
    Metric {
        name: "evenkeel_connections_open",
        kind: Kind::Gauge(|snapshot, to| {
            for listener in Listener::ALL {
                to.add([listener.as_str()], snapshot.counters.connections_open(listener) as f64);
            }
        }),
        labels: &["listener"],
        help: "Client connections that are open.",
    },
    Metric {
        name: "evenkeel_proxy_protocol_refused",
        kind: Kind::Counter(|snapshot, to| {
            to.add([], snapshot.counters.introductions_refused() as f64);
        }),
        labels: &[],
        help: "Connections closed since they came from `--proxy-protocol` addresses without a \
               right PROXY header.",
    },
    Metric {
        name: "evenkeel_http2_refused",
        kind: Kind::Counter(|snapshot, to| {
            for abuse in Abuse::ALL {
                to.add([abuse.reason()], snapshot.counters.http2_refusals(abuse) as f64);
            }
        }),
        labels: &["reason"],
        help: "HTTP/2 connections that were ended for what their client did, or did not do in time.",
    },
    Metric {
        name: "evenkeel_connections_refused",
        kind: Kind::Counter(|snapshot, to| {
            for why in Refused::ALL {
                to.add([why.as_str()], snapshot.counters.connections_refused(why) as f64);
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
        kind: Kind::Gauge(|snapshot, to| {
            let level = snapshot.counters.pressure.level();
            for each in Level::ALL {
                to.add([each.as_str()], f64::from(u8::from(each == level)));
            }
        }),
        labels: &["level"],
        help: "1 for the level in force: `high` takes no new connections, `critical` no new \
               requests either.",
    },
    Metric {
        name: "evenkeel_tls_handshakes_failed",
        kind: Kind::Counter(|snapshot, to| {
            for (reason, count) in snapshot.counters.handshakes_failed() {
                to.add([reason], count as f64);
            }
        }),
        labels: &["reason"],
        help: "TLS handshakes with clients that came to nothing, by reason.",
    },
    Metric {
        name: "evenkeel_access_log_dropped",
        kind: Kind::Counter(|snapshot, to| to.add([], snapshot.access_log_dropped as f64)),
        labels: &[],
        help: "Lines of the access log that were lost because its reader was too slow.",
    },
    Metric {
        name: "evenkeel_source_connected",
        kind: Kind::Gauge(|snapshot, to| {
            for source in &snapshot.sources {
                to.add([source.name.as_str()], f64::from(u8::from(source.connected)));
            }
        }),
        labels: &["source"],
        help: "1 while a source of containers can be heard, else 0.",
    },
    Metric {
        name: "evenkeel_source_age_seconds",
        kind: Kind::Gauge(|snapshot, to| {
            for source in &snapshot.sources {
                if let Some(age) = source.age {
                    to.add([source.name.as_str()], age.as_secs_f64());
                }
            }
        }),
        labels: &["source"],
        help: "Time since all that a source sees was last applied; none before the first time.",
    },
    Metric {
        name: "evenkeel_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge(|snapshot, to| {
            for certificate in &snapshot.certificates {
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
        kind: Kind::Gauge(|snapshot, to| to.add([], snapshot.generation as f64)),
        labels: &[],
        help: "Routing tables that there were before the one in use.",
    },
    Metric {
        name: "evenkeel_problems",
        kind: Kind::Gauge(|snapshot, to| to.add([], snapshot.problems as f64)),
        labels: &[],
        help: "Mistakes that a person can mend; `evenkeel status` lists them with their remedies.",
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge(|snapshot, to| {
            if let Ok(since) = snapshot.started_at.duration_since(SystemTime::UNIX_EPOCH) {
                to.add([], since.as_secs_f64());
            }
        }),
        labels: &[],
        help: "When the process started, since the Unix epoch.",
    },
    Metric {
        name: "process_cpu_seconds",
        kind: Kind::Counter(|snapshot, to| {
            if let Some(seconds) = snapshot.process.cpu_seconds {
                to.add([], seconds);
            }
        }),
        labels: &[],
        help: "User and system CPU time that the process used.",
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge(|snapshot, to| {
            if let Some(bytes) = snapshot.process.resident_bytes {
                to.add([], bytes as f64);
            }
        }),
        labels: &[],
        help: "Memory of the process that is in RAM.",
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge(|snapshot, to| {
            if let Some(count) = snapshot.process.open_fds {
                to.add([], count as f64);
            }
        }),
        labels: &[],
        help: "File descriptors that the process has open.",
    },
];

impl Metric {
    /// The name of its samples, as queries spell it.
    pub(super) fn full_name(&self) -> String {
        match self.kind {
            Kind::Counter(_) => format!("{}_total", self.name),
            Kind::Gauge(_) | Kind::Histogram(_) => self.name.to_owned(),
        }
    }

    pub(super) fn encode(
        &self,
        snapshot: &Snapshot,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let mut numbers = Samples::default();
        let mut durations = Samples::default();
        let (metric_type, counter) = match self.kind {
            Kind::Counter(read) => {
                read(snapshot, &mut numbers);
                (MetricType::Counter, true)
            }
            Kind::Gauge(read) => {
                read(snapshot, &mut numbers);
                (MetricType::Gauge, false)
            }
            Kind::Histogram(read) => {
                read(snapshot, &mut durations);
                (MetricType::Histogram, false)
            }
        };
        if numbers.is_empty() && durations.is_empty() {
            return Ok(());
        }
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        numbers.encode(self.labels, counter, &mut encoder)?;
        durations.encode(self.labels, counter, &mut encoder)
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

fn each_endpoint(snapshot: &Snapshot, to: &mut Samples<f64>, read: impl Fn(&Endpoint) -> f64) {
    for pool in &snapshot.pools {
        let name = pool.name.to_string();
        for endpoint in &pool.endpoints {
            to.add([&name, &endpoint.name], read(endpoint));
        }
    }
}
