//! What is sent again, and what is not.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::balancer::wait_for;
use super::{Backend, Balancer, Client, get, ok};

#[test]
fn a_request_whose_replica_hangs_up_is_answered_by_another() {
    for (method, body) in [("GET", 0), ("PUT", 10), ("DELETE", 0), ("PUT", 60_000)] {
        let (balancer, backends) = one_of_two_hangs_up();
        for _ in 0..4 {
            let answer = Client::connect(balancer.http).send(request(method, body)).answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "well"), "{method} {body}");
        }
        let whole = backends[1].seen().iter().all(|seen| seen.body == pattern(body));
        assert!(whole, "{method} {body}: every byte comes again");
        assert!(!backends[0].seen().is_empty(), "it was asked too");
    }
}

#[test]
fn a_chunked_body_is_sent_again_as_it_was() {
    let (balancer, backends) = one_of_two_hangs_up();
    for _ in 0..4 {
        let mut client = Client::connect(balancer.http);
        client.send("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
        client.send("Trailer: X-Sum\r\n\r\n");
        client.send("3\r\nabc\r\n");
        std::thread::sleep(Duration::from_millis(20));
        let answer = client.send("4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n").answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    }
    for seen in backends[1].seen() {
        let text = String::from_utf8(seen.body).unwrap();
        let (data, trailers) = text.split_once("0\r\n").unwrap();
        let data: String = data.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(data, "abcdefg", "{text:?}");
        assert_eq!(trailers.to_lowercase(), "x-sum: 7\r\n\r\n");
    }
}

#[test]
fn what_a_replica_may_have_acted_on_is_not_sent_again() {
    // A method that is not idempotent, and a body too large to be kept.
    for (method, body) in [("POST", 0), ("POST", 100), ("PATCH", 100), ("PUT", 300_000)] {
        let backends = [hangs_up(), hangs_up()];
        let balancer = balancer(&backends);
        let answer = Client::connect(balancer.http).send(request(method, body)).answer();
        assert_eq!(answer.status, 502, "{method} {body}");
        let sent: usize = backends.iter().map(|backend| backend.seen().len()).sum();
        assert_eq!(sent, 1, "{method} {body}");
        assert!(balancer.access_logged(" 502 ").contains("upstream_reset"));
    }
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    let begun = || {
        Backend::scripted(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap();
            false
        })
    };
    let backends = [begun(), begun()];
    let balancer = balancer(&backends);
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 502);
    assert_eq!(backends.iter().map(|backend| backend.seen().len()).sum::<usize>(), 1);
}

#[test]
fn a_post_that_no_replica_took_goes_elsewhere() {
    let well = Backend::answering(|_| ok("well"));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = format!("web={},{}", gone.local_addr().unwrap(), well.address);
    let balancer = Balancer::start(&["--pool", &pool]);
    balancer.logged(&gone.local_addr().unwrap().to_string());
    balancer.logged(&format!("address={}", well.address));
    drop(gone);
    for _ in 0..4 {
        let answer = Client::connect(balancer.http).send(request("POST", 100)).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    }
    assert!(well.seen().iter().all(|seen| seen.body == pattern(100)));
}

#[test]
fn attempts_at_replicas_that_all_hang_up_are_counted() {
    let backends: Vec<_> = (0..6).map(|_| hangs_up()).collect();
    let balancer = balancer(&backends);
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(answer.status, 502);
    let sent: usize = backends.iter().map(|backend| backend.seen().len()).sum();
    assert_eq!(sent, 3, "two retries after the first");
    assert!(balancer.access_logged(" 502 ").contains("upstream_reset"));
}

#[test]
fn a_pool_that_fails_is_not_finished_off_by_its_retries() {
    let backends: Vec<_> = (0..4).map(|_| hangs_up()).collect();
    let balancer = balancer(&backends);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let http = balancer.http;
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let answer = Client::connect(http).send(get("/")).answer();
                    assert_eq!(answer.status, 502);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let sent: usize = backends.iter().map(|backend| backend.seen().len()).sum();
    assert!((201..=310).contains(&sent), "{sent} attempts for 200 requests");
}

#[test]
fn places_to_wait_are_bounded_and_left_with_the_client() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pool = format!("[pools.web]\nservers = [\"{nobody}\"]\nhold_max = 2\n");
    let pool = pool.replace("hold_max", "hold.max");
    std::fs::write(file.path(), pool).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    let held = || waiting(&balancer);
    let waits: Vec<_> = (0..2)
        .map(|_| {
            let mut client = Client::connect(balancer.http);
            client.send(get("/"));
            client
        })
        .collect();
    wait_for(|| (held() == 2).then_some(()));
    let began = Instant::now();
    let refused = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(refused.status, 503);
    assert!(refused.field("retry-after").is_some());
    assert!(began.elapsed() < Duration::from_secs(1), "it is told at once");
    drop(waits);
    wait_for(|| (held() == 0).then_some(()));
}

#[test]
fn those_who_wait_are_served_once_a_replica_returns() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // It takes the first request down with it, and serves again after that.
    let backend = Backend::scripted(move |_, stream| {
        counted.fetch_add(1, Ordering::Relaxed) > 0 && stream.write_all(&ok("again")).is_ok()
    });
    let balancer = balancer(std::slice::from_ref(&backend));
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "again"));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn what_could_not_be_sent_again_takes_no_connection_that_may_be_about_to_end() {
    let backend = Backend::answering(|_| ok("well"));
    let balancer = balancer(std::slice::from_ref(&backend));
    let mut client = Client::connect(balancer.http);
    client.send(get("/")).answer();
    client.send(request("POST", 10)).answer();
    std::thread::sleep(Duration::from_millis(1_100));
    client.send(request("POST", 10)).answer();
    let mut connections: Vec<_> = backend.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    std::thread::sleep(Duration::from_millis(1_100));
    client.send(get("/")).answer();
    connections = backend.seen().iter().map(|seen| seen.connection).collect();
    assert!(connections[3] < 2, "{connections:?}");
}

fn waiting(balancer: &Balancer) -> usize {
    let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = Client::connect(balancer.admin).send(ask).answer().text();
    let line = metrics.lines().find(|line| line.starts_with("evenkeel_requests_waiting"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// The first of two replicas ends each connection once it has read a request.
fn one_of_two_hangs_up() -> (Balancer, [Backend; 2]) {
    let backends = [hangs_up(), Backend::answering(|_| ok("well"))];
    (balancer(&backends), backends)
}

fn hangs_up() -> Backend {
    Backend::scripted(|_, _| false)
}

fn balancer(backends: &[Backend]) -> Balancer {
    let addresses: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
    let balancer = Balancer::start(&["--pool", &format!("web={}", addresses.join(","))]);
    for address in &addresses {
        balancer.logged(&format!("address={address}"));
    }
    balancer
}

fn request(method: &str, body: usize) -> Vec<u8> {
    let head = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n");
    [head.into_bytes(), pattern(body)].concat()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
