//! What the data plane counts, as a scrape shows it.

use super::balancer::wait_for;
use super::{Backend, Client, admin, before_pools, before_servers, get, ok};

#[test]
fn a_replica_is_seen_by_its_own_answers_and_connections() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before_servers(&[backend.address], "");
    let mut client = Client::connect(balancer.http);
    (0..3).for_each(|_| assert_eq!(client.send(get("/")).answer().status, 200));
    let replica = format!("pool=\"web\",replica=\"{}\"", backend.address);
    let metrics = admin(&balancer, "/metrics").text();
    for line in [
        format!("evenkeel_endpoint_requests_total{{{replica}}} 3"),
        format!("evenkeel_endpoint_answers_total{{{replica},code=\"2xx\"}} 3"),
        format!("evenkeel_endpoint_response_seconds_count{{{replica}}} 3"),
        format!("evenkeel_endpoint_failures_total{{{replica}}} 0"),
        "evenkeel_upstream_connections_opened_total{pool=\"web\"} 1".to_owned(),
        "evenkeel_upstream_connections_reused_total{pool=\"web\"} 2".to_owned(),
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line} in {metrics}");
    }
    assert!(!metrics.contains("evenkeel_route_requests_total"), "it has one route alone");
    let idle = "evenkeel_upstream_connections_idle 1";
    wait_for(|| admin(&balancer, "/metrics").text().lines().any(|it| it == idle).then_some(()));
}

#[test]
fn routes_of_a_pool_are_counted_apart() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before_pools(&[("web", &[backend], "path = \"/a, /b\"")], &[]);
    for path in ["/a", "/b/1", "/b/2"] {
        assert_eq!(Client::connect(balancer.http).send(get(path)).answer().status, 200);
    }
    let counted = |route: &str, count| {
        let line = format!(
            "evenkeel_route_requests_total{{pool=\"web\",route=\"{route}\",code=\"2xx\"}} {count}"
        );
        wait_for(|| admin(&balancer, "/metrics").text().lines().any(|it| it == line).then_some(()));
    };
    counted("*/a/*", 1);
    counted("*/b/*", 2);
}
