//! Metrics of pools, routes and replicas.

use crate::domain::lifecycle::{State, Trouble};
use crate::domain::pool::{Retry, StatusClass};
use crate::telemetry::metrics::list::{Kind, Metric};
use crate::telemetry::metrics::scene::Durations;

/// In the order of `/metrics` and its reference.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "evenkeel_requests",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                for class in StatusClass::ALL {
                    let count = pool.state.tally.requests(class);
                    to.add([&pool.label, class.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "code"],
        help: "Requests that have ended, by the class of their answer.",
    },
    Metric {
        name: "evenkeel_request_duration_seconds",
        kind: Kind::Histogram(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add_durations([&pool.label], &Durations::of(&pool.state.tally.duration));
            }
        }),
        labels: &["pool"],
        help: "From a request's head to the last byte of its answer; tunnels are left out.",
    },
    Metric {
        name: "evenkeel_requests_in_flight",
        kind: Kind::Gauge(|scene, to| {
            for pool in &scene.snapshot.pools {
                let in_flight = pool.endpoints.iter().map(|it| f64::from(it.vitals.in_flight()));
                to.add([&pool.label], in_flight.sum());
            }
        }),
        labels: &["pool"],
        help: "Requests that the replicas of a pool are working on.",
    },
    Metric {
        name: "evenkeel_route_requests",
        kind: Kind::Counter(|scene, to| {
            for route in &scene.routes {
                for (class, count) in route.answers.by_class() {
                    to.add([route.pool, route.name, class.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "route", "code"],
        help: "As `evenkeel_requests_total`, for each host with each path of a pool that has several.",
    },
    Metric {
        name: "evenkeel_route_request_duration_seconds",
        kind: Kind::Histogram(|scene, to| {
            for route in &scene.routes {
                to.add_durations([route.pool, route.name], &route.answers.durations);
            }
        }),
        labels: &["pool", "route"],
        help: "As `evenkeel_request_duration_seconds`, for each host with each path of a pool that has several.",
    },
    Metric {
        name: "evenkeel_retries",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                for why in Retry::ALL {
                    let count = pool.state.efforts.retries(why);
                    to.add([&pool.label, why.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "reason"],
        help: "Attempts after the first of a request, by what became of the one before.",
    },
    Metric {
        name: "evenkeel_requests_waiting",
        kind: Kind::Gauge(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add([&pool.label], f64::from(pool.state.waiting()));
            }
        }),
        labels: &["pool"],
        help: "Requests that are held until a replica is ready.",
    },
    Metric {
        name: "evenkeel_requests_queued",
        kind: Kind::Gauge(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add([&pool.label], f64::from(pool.state.queue.waiting()));
            }
        }),
        labels: &["pool"],
        help: "Requests that wait for a place, since every ready replica has its `max_conns`.",
    },
    Metric {
        name: "evenkeel_endpoints",
        kind: Kind::Gauge(|scene, to| {
            for pool in &scene.snapshot.pools {
                let states = || pool.endpoints.iter().map(|it| it.vitals.state());
                for state in State::ALL {
                    let count = states().filter(|it| *it == state).count();
                    to.add([&pool.label, state.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "state"],
        help: "Replicas of a pool by state; requests go to those that are ready.",
    },
    Metric {
        name: "evenkeel_endpoint_requests",
        kind: Kind::Counter(|scene, to| {
            for replica in &scene.replicas {
                to.add([replica.pool, replica.name], replica.attempts as f64);
            }
        }),
        labels: &["pool", "replica"],
        help: "Attempts that were sent to a replica.",
    },
    Metric {
        name: "evenkeel_endpoint_answers",
        kind: Kind::Counter(|scene, to| {
            for replica in &scene.replicas {
                for (class, count) in replica.answers.by_class() {
                    to.add([replica.pool, replica.name, class.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "replica", "code"],
        help: "Attempts that a replica has answered, by class. What another replica may better is counted too.",
    },
    Metric {
        name: "evenkeel_endpoint_response_seconds",
        kind: Kind::Histogram(|scene, to| {
            for replica in &scene.replicas {
                to.add_durations([replica.pool, replica.name], &replica.answers.durations);
            }
        }),
        labels: &["pool", "replica"],
        help: "A replica's own time: from when a request was sent, or its body last got on, to the head of the answer.",
    },
    Metric {
        name: "evenkeel_endpoint_failures",
        kind: Kind::Counter(|scene, to| {
            for replica in &scene.replicas {
                to.add([replica.pool, replica.name], replica.failures as f64);
            }
        }),
        labels: &["pool", "replica"],
        help: "Attempts that ended without an answer, by a fault of the replica.",
    },
    Metric {
        name: "evenkeel_endpoint_ejections",
        kind: Kind::Counter(|scene, to| {
            for replica in &scene.replicas {
                for (trouble, count) in Trouble::ALL.into_iter().zip(replica.ejections) {
                    to.add([replica.pool, replica.name, trouble.as_str()], count as f64);
                }
            }
        }),
        labels: &["pool", "replica", "reason"],
        help: "How often a replica was taken out of service for requests that it failed, by how \
               it failed the last of them.",
    },
    Metric {
        name: "evenkeel_endpoint_in_flight",
        kind: Kind::Gauge(|scene, to| {
            for replica in &scene.replicas {
                to.add([replica.pool, replica.name], replica.in_flight as f64);
            }
        }),
        labels: &["pool", "replica"],
        help: "Requests that a replica is working on.",
    },
    Metric {
        name: "evenkeel_upstream_connections_opened",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add([&pool.label], pool.state.efforts.opened() as f64);
            }
        }),
        labels: &["pool"],
        help: "Attempts for which a connection to a replica was opened.",
    },
    Metric {
        name: "evenkeel_upstream_connections_reused",
        kind: Kind::Counter(|scene, to| {
            for pool in &scene.snapshot.pools {
                to.add([&pool.label], pool.state.efforts.reused() as f64);
            }
        }),
        labels: &["pool"],
        help: "Attempts on a connection to a replica that was open already.",
    },
    Metric {
        name: "evenkeel_upstream_connections_idle",
        kind: Kind::Gauge(|scene, to| {
            to.add([], scene.snapshot.counters.idle_upstream() as f64);
        }),
        labels: &[],
        help: "Connections to replicas by HTTP/1.1 that wait for a request, counted every few seconds.",
    },
];
