//! How many connections one client may hold.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Backend, Balancer, Client, admin, get, ok, wait_for};

#[test]
fn a_client_holds_as_many_connections_as_it_may_over_all_workers() {
    let backend = Backend::answering(|_| ok(""));
    let balancer = limited(&backend, &[]);
    let mut open: Vec<_> = (0..3).map(|_| served(balancer.http)).collect();
    for _ in 0..5 {
        assert!(Client::connect(balancer.http).try_send(get("/")).rest().is_empty());
    }
    assert!(balancer.logged("holds as many as").contains("client=127.0.0.1"));
    let refused = "evenkeel_connections_refused_total{reason=\"client\"} 5\n";
    assert!(admin(&balancer, "/metrics").text().contains(refused));
    // The others are not disturbed, and one that leaves makes room.
    assert_eq!(open[0].send(get("/")).answer().status, 200);
    open.pop();
    wait_for(|| {
        let answer = Client::connect(balancer.http).try_send(get("/")).rest_within(SOON);
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn who_speaks_for_many_holds_any_number() {
    let backend = Backend::answering(|_| ok(""));
    let balancer = limited(&backend, &["--trusted-proxies", "127.0.0.0/8"]);
    let open: Vec<_> = (0..6).map(|_| served(balancer.http)).collect();
    assert_eq!(open.len(), 6);
}

#[test]
fn whom_a_proxy_announces_is_counted_by_its_own_address() {
    let backend = Backend::answering(|_| ok(""));
    let balancer = limited(&backend, &["--proxy-protocol", "127.0.0.0/8"]);
    let announced = |client: &str| {
        let mut connection = Client::connect(balancer.http);
        connection.try_send(format!("PROXY TCP4 {client} 192.0.2.9 1 80\r\n{}", get("/")));
        connection
    };
    let mut open: Vec<_> = (0..3).map(|_| announced("192.0.2.1")).collect();
    assert!(open.iter_mut().all(|it| it.answer().status == 200));
    assert!(announced("192.0.2.1").rest().is_empty());
    assert!(balancer.logged("holds as many as").contains("client=192.0.2.1"));
    assert_eq!(announced("192.0.2.2").answer().status, 200);
    open.pop();
    wait_for(|| {
        let answer = announced("192.0.2.1").rest_within(SOON);
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn the_admin_port_answers_whatever_clients_hold() {
    let backend = Backend::answering(|_| ok(""));
    let balancer = limited(&backend, &[]);
    let _open: Vec<_> = (0..3).map(|_| served(balancer.http)).collect();
    for _ in 0..10 {
        assert_eq!(admin(&balancer, "/healthz").status, 200);
    }
}

fn limited(backend: &Backend, args: &[&str]) -> Balancer {
    let pool = format!("web={}", backend.address);
    let balancer =
        Balancer::start(&[&["--pool", &pool, "--connections-per-client", "3"], args].concat());
    balancer.logged("Replica ready");
    balancer
}

fn served(to: SocketAddr) -> Client {
    let mut client = Client::connect(to);
    assert_eq!(client.send(get("/")).answer().status, 200);
    client
}

const SOON: Duration = Duration::from_millis(500);
