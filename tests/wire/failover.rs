//! What is sent again, and what is not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::balancer::wait_for;
use super::{Backend, Balancer, Client, before_all, get, ok};

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
fn a_body_is_kept_up_to_64_kib() {
    for (length, status) in [(65_536, 200), (65_537, 502)] {
        let (balancer, _backends) = one_of_two_hangs_up();
        let answers = (0..2)
            .map(|_| Client::connect(balancer.http).send(request("PUT", length)).answer().status);
        assert_eq!(answers.max(), Some(status), "{length}");
    }
}

#[test]
fn a_body_whose_replica_ends_in_its_middle_goes_on_at_another() {
    // It ends as soon as it has the head and the first bytes.
    let impatient = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = impatient.local_addr().unwrap();
    let met = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&met);
    std::thread::spawn(move || {
        for mut stream in impatient.incoming().map_while(Result::ok) {
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let well = Backend::answering(|_| ok("well"));
    let balancer = Balancer::start(&["--pool", &format!("web={address},{}", well.address)]);
    balancer.logged(&format!("address={address}"));
    balancer.logged(&format!("address={}", well.address));
    let whole = request("PUT", 30_000);
    for _ in 0..4 {
        let mut client = Client::connect(balancer.http);
        client.send(&whole[..1_000]);
        std::thread::sleep(Duration::from_millis(50));
        let answer = client.send(&whole[1_000..]).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    }
    assert!(met.load(Ordering::Relaxed) > 0, "it was asked too");
    assert!(well.seen().iter().all(|seen| seen.body == pattern(30_000)));
}

#[test]
fn what_a_replica_may_have_acted_on_is_not_sent_again() {
    // A method that is not idempotent, and a body too large to be kept.
    for (method, body) in [("POST", 0), ("POST", 100), ("PATCH", 100), ("PUT", 300_000)] {
        let backends = [hangs_up(), hangs_up()];
        let balancer = before_all(&backends);
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
    let balancer = before_all(&backends);
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
    let balancer = before_all(&backends);
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(answer.status, 502);
    let sent: usize = backends.iter().map(|backend| backend.seen().len()).sum();
    assert_eq!(sent, 3, "two retries after the first");
    assert!(balancer.access_logged(" 502 ").contains("upstream_reset"));
}

#[test]
fn a_pool_that_fails_is_not_finished_off_by_its_retries() {
    let backends: Vec<_> = (0..4).map(|_| hangs_up()).collect();
    let balancer = before_all(&backends);
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
    let balancer = before_all(std::slice::from_ref(&backend));
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "again"));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_replica_that_says_goodbye_to_an_idle_connection_costs_nothing() {
    let backend = Backend::scripted(|_, stream| {
        stream.write_all(&ok("well")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").unwrap();
        false
    });
    let balancer = before_all(std::slice::from_ref(&backend));
    let mut client = Client::connect(balancer.http);
    for _ in 0..5 {
        assert_eq!(client.send(get("/")).answer().text(), "well");
        std::thread::sleep(Duration::from_millis(40));
    }
}

#[test]
fn a_connection_is_used_again_after_trailers() {
    let backend = Backend::answering(|_| ok("well"));
    let balancer = before_all(std::slice::from_ref(&backend));
    let mut client = Client::connect(balancer.http);
    for _ in 0..3 {
        client.send("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
        client.send("Trailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n").answer();
    }
    assert!(backend.seen().iter().all(|seen| seen.connection == 0), "{:?}", backend.seen());
}

#[test]
fn a_client_that_leaves_an_upload_leaves_its_place_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let balancer = Balancer::start(&["--pool", &format!("web={nobody}")]);
    let mut client = Client::connect(balancer.http);
    client.send(&request("POST", 10_000)[..500]);
    wait_for(|| (waiting(&balancer) == 1).then_some(()));
    drop(client);
    let began = Instant::now();
    wait_for(|| (waiting(&balancer) == 0).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(5), "long before the hold is over");
}

#[test]
fn what_came_while_a_request_was_held_is_sent() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let balancer = Balancer::start(&["--pool", &format!("web={address}")]);
    let mut client = Client::connect(balancer.http);
    client.send(request("POST", 200_000));
    wait_for(|| (waiting(&balancer) == 1).then_some(()));
    let backend = Backend::at(address, |_, stream| stream.write_all(&ok("well")).is_ok());
    assert_eq!(client.answer().text(), "well");
    assert_eq!(backend.seen()[0].body, pattern(200_000));
}

#[test]
fn what_could_not_be_sent_again_takes_no_connection_that_may_be_about_to_end() {
    let backend = Backend::answering(|_| ok("well"));
    let balancer = before_all(std::slice::from_ref(&backend));
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

pub(super) fn waiting(balancer: &Balancer) -> usize {
    let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = Client::connect(balancer.admin).send(ask).answer().text();
    let line = metrics.lines().find(|line| line.starts_with("evenkeel_requests_waiting"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// The first of two replicas ends each connection once it has read a request.
fn one_of_two_hangs_up() -> (Balancer, [Backend; 2]) {
    let backends = [hangs_up(), Backend::answering(|_| ok("well"))];
    (before_all(&backends), backends)
}

fn hangs_up() -> Backend {
    Backend::scripted(|_, _| false)
}

fn request(method: &str, body: usize) -> Vec<u8> {
    let head = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n");
    [head.into_bytes(), pattern(body)].concat()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
