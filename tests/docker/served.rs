//! The real binary behind a daemon that fails: what it serves, and what it says of it.

use serde_json::json;

use super::false_daemon::{FalseDaemon, container, event, in_state};
use crate::support::http;
use crate::wire::{Backend, Balancer, ok, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_docker_is_away_traffic_goes_on_and_everybody_can_see_how_old_the_world_is() {
    let backend = Backend::answering(|_| ok("served"));
    let mut daemon = FalseDaemon::start();
    let mut replica = container("api-1", 0);
    replica["Ports"] = json!([{"PrivatePort": backend.address.port(), "Type": "tcp"}]);
    replica["NetworkSettings"]["Networks"]["net"]["IPAddress"] = "127.0.0.1".into();
    daemon.set_containers([replica.clone()]);
    let address = format!("unix://{}", daemon.socket().display());
    let balancer = tokio::task::spawn_blocking(move || Balancer::start_with_docker(&address, &[]));
    let balancer = balancer.await.unwrap();
    let admin = |path: &str| http::get(balancer.admin, path, &[]).unwrap();
    let served = || http::get(balancer.http, "/", &[]).unwrap().status;
    let readyz = |text: &str| {
        let readyz = wait_for(|| Some(admin("/readyz")).filter(|it| it.body.contains(text)));
        assert_eq!(readyz.status, 200, "{}", readyz.body);
        readyz.body
    };
    readyz("docker: connected, last seen ");
    assert_eq!(served(), 200);

    daemon.stop();
    let told = readyz("docker: away, last seen ");
    assert!(told.contains("there is no socket at ") && told.contains("hint: "), "{told}");
    assert!(admin("/metrics").body.contains("evenkeel_source_connected{source=\"docker\"} 0"));
    // It grows: nothing was seen since.
    wait_for(|| (age(&admin("/metrics").body) >= 1.5).then_some(()));
    let told = readyz("docker: away, last seen ");
    assert!(!told.contains("last seen 0s ago"), "{told}");
    assert_eq!(served(), 200);

    daemon.set_containers([in_state(replica.clone(), "exited", "Exited (0)")]);
    daemon.listen();
    readyz("docker: connected, last seen 0s ago");
    assert!(admin("/metrics").body.contains("evenkeel_source_connected{source=\"docker\"} 1"));
    wait_for(|| admin("/api/v1/status").body.contains("\"gone\"").then_some(()));
    daemon.set_containers([replica]);
    daemon.say(&event("api-1", "start", 1));
    assert_eq!(served(), 200, "held until it is back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_is_shown_by_the_status() {
    let daemon = FalseDaemon::start();
    let mut odd = container("odd", 2);
    odd["State"] = 5.into();
    daemon.set_containers([odd]);
    let address = format!("unix://{}", daemon.socket().display());
    let balancer = tokio::task::spawn_blocking(move || Balancer::start_with_docker(&address, &[]));
    let balancer = balancer.await.unwrap();
    let told = wait_for(|| {
        let status = http::get(balancer.admin, "/api/v1/status", &[]).unwrap().body;
        status.contains("what Docker lists of it cannot be read").then_some(status)
    });
    assert!(told.contains("odd") && told.contains("docker inspect"), "{told}");
    balancer.logged("what Docker lists of it cannot be read");
}

/// The age of Docker's world, in seconds.
fn age(metrics: &str) -> f64 {
    let name = "evenkeel_source_age_seconds{source=\"docker\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the age is told").parse().unwrap()
}
