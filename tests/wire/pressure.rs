//! What is given up as memory runs out.

use super::{Backend, Client, admin, before_pools, get, ok, wait_for};

#[test]
fn without_memory_nothing_new_is_taken_and_the_admin_port_still_answers() {
    let backends = [Backend::answering(|_| ok(""))];
    // Less than the process has when it starts.
    let balancer = before_pools(&[("web", &backends, "")], &["--memory-limit", "1MiB"]);
    assert!(balancer.logged("Memory runs out").contains("limit=1048576"));
    let line = "evenkeel_memory_pressure{level=\"critical\"} 1\n";
    wait_for(|| admin(&balancer, "/metrics").text().contains(line).then_some(()));
    assert!(Client::connect(balancer.http).try_send(get("/")).rest().is_empty());
    let refused = "evenkeel_connections_refused_total{reason=\"memory\"} ";
    assert!(admin(&balancer, "/metrics").text().contains(refused));
    assert_eq!(admin(&balancer, "/healthz").status, 200);
}

#[test]
fn with_memory_enough_nothing_is_given_up() {
    let backends = [Backend::answering(|_| ok(""))];
    let balancer = before_pools(&[("web", &backends, "")], &["--memory-limit", "10GiB"]);
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 200);
    let line = "evenkeel_memory_pressure{level=\"none\"} 1\n";
    assert!(admin(&balancer, "/metrics").text().contains(line));
    assert!(!balancer.has_logged("Memory runs"));
}
