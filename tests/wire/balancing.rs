//! Which replica answers.

use std::collections::BTreeMap;

use super::{Backend, Balancer, Client, before_all, get, ok};

#[test]
fn round_robin_is_exact_over_all_workers() {
    let backends: Vec<_> =
        (0..3).map(|n| Backend::answering(move |_| ok(&n.to_string()))).collect();
    let balancer = before_all(&backends);
    let mut hits = BTreeMap::<String, u32>::new();
    // A connection each, so that both workers take part.
    for _ in 0..30 {
        let answer = Client::connect(balancer.http).send(get("/")).answer();
        *hits.entry(answer.text()).or_default() += 1;
    }
    assert_eq!(hits.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn a_replica_that_refuses_costs_a_retry_and_not_the_request() {
    let backends: Vec<_> = (0..2).map(|_| Backend::answering(|_| ok("alive"))).collect();
    // Bound and never accepting: its backlog lets the probe in at first.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    let pool = format!("web={},{},{address}", backends[0].address, backends[1].address);
    let balancer = Balancer::start(&["--pool", &pool]);
    balancer.logged(&address.to_string());
    drop(gone);
    for _ in 0..20 {
        let answer = Client::connect(balancer.http).send(get("/")).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "alive"));
    }
}

#[test]
fn a_replica_that_ended_an_idle_connection_costs_nothing() {
    // It closes after each answer without saying so, as servers do whose
    // keep-alive time is over.
    let backend = Backend::scripted(|_, stream| {
        use std::io::Write;
        stream.write_all(&ok("once")).unwrap();
        false
    });
    let balancer = before_all(std::slice::from_ref(&backend));
    let mut client = Client::connect(balancer.http);
    for _ in 0..50 {
        assert_eq!(client.send(get("/")).answer().text(), "once");
    }
}
