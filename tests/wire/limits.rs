//! Replicas that take so many requests at once, and those who wait for a place.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::balancer::wait_for;
use super::{Backend, Balancer, Client, admin, before_these, get, ok};

#[test]
fn who_waits_for_a_place_is_served_in_the_order_of_arrival_over_all_workers() {
    let (replica, next) = stepwise();
    let balancer = before_these(&[&replica], "max_conns = 1");
    let paths: Vec<_> = (0..10).map(|number| format!("/{number}")).collect();
    // A connection each, so that both workers take part.
    let mut clients: Vec<_> = (0..)
        .zip(&paths)
        .map(|(before, path)| {
            let mut client = Client::connect(balancer.http);
            client.send(get(path));
            wait_for(|| (replica.seen().len() == 1 && queued(&balancer) == before).then_some(()));
            client
        })
        .collect();
    for client in &mut clients {
        next.send(()).unwrap();
        assert_eq!(client.answer().status, 200);
    }
    let seen: Vec<_> =
        replica.seen().iter().map(|it| it.head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(seen, paths);
    assert_eq!(queued(&balancer), 0);
}

#[test]
fn no_replica_ever_has_more_requests_than_it_may() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (Arc::clone(&now), Arc::clone(&most));
    let replica = Backend::answering(move |_| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(2));
        inside.fetch_sub(1, Ordering::SeqCst);
        ok("well")
    });
    let balancer = before_these(&[&replica], "max_conns = 3");
    let http = balancer.http;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::connect(http);
                for _ in 0..20 {
                    assert_eq!(client.send(get("/")).answer().status, 200);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(most.load(Ordering::SeqCst), 3, "as many as it may, and no more");
}

#[test]
fn a_replica_that_is_full_is_passed_over() {
    let (busy, next) = stepwise();
    let idle = Backend::answering(|_| ok("idle"));
    let balancer = before_these(&[&busy, &idle], "max_conns = 1");
    let mut first = Client::connect(balancer.http);
    let mut held = Vec::new();
    // By turns one of the first two goes there.
    wait_for(|| {
        let mut client = Client::connect(balancer.http);
        client.send(get("/"));
        wait_for(|| (busy.seen().len() + idle.seen().len() > held.len()).then_some(()));
        held.push(client);
        (busy.seen().len() == 1).then_some(())
    });
    for _ in 0..6 {
        assert_eq!(first.send(get("/")).answer().text(), "idle");
    }
    next.send(()).unwrap();
    assert_eq!(held.last_mut().unwrap().answer().text(), "step");
}

#[test]
fn the_queue_has_a_bound() {
    for (bound, waits) in [(2, 2), (0, 0)] {
        let (replica, next) = stepwise();
        let balancer = before_these(&[&replica], &format!("max_conns = 1\nqueue = {bound}"));
        let mut clients: Vec<_> = (0..=waits)
            .map(|before| {
                let mut client = Client::connect(balancer.http);
                client.send(get("/"));
                wait_for(|| {
                    (replica.seen().len() == 1 && queued(&balancer) == before).then_some(())
                });
                client
            })
            .collect();
        let began = Instant::now();
        let refused = Client::connect(balancer.http).send(get("/")).answer();
        assert_eq!(refused.status, 503);
        assert!(refused.field("retry-after").is_some());
        assert!(began.elapsed() < Duration::from_secs(2), "it is told at once");
        assert!(balancer.access_logged(" 503 ").contains("queue_full"));
        for client in &mut clients {
            next.send(()).unwrap();
            assert_eq!(client.answer().text(), "step");
        }
    }
}

#[test]
fn nobody_waits_for_a_place_longer_than_the_hold() {
    let (replica, next) = stepwise();
    let balancer = before_these(&[&replica], "max_conns = 1\nhold = \"300ms\"");
    let mut first = Client::connect(balancer.http);
    first.send(get("/"));
    wait_for(|| (replica.seen().len() == 1).then_some(()));
    let began = Instant::now();
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    let took = began.elapsed();
    assert_eq!(answer.status, 503);
    assert!(answer.field("retry-after").is_some());
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
    assert!(balancer.access_logged(" 503 ").contains("queue_timeout"));
    next.send(()).unwrap();
    assert_eq!(first.answer().text(), "step");
    assert_eq!(replica.seen().len(), 1);
}

#[test]
fn the_time_that_a_replica_takes_is_no_wait() {
    let asked = AtomicUsize::new(0);
    let replica = Backend::scripted(move |_, stream| {
        let (takes, answers) = match asked.fetch_add(1, Ordering::SeqCst) {
            0 => (300, true),
            1 => (1200, false),
            // Nor on another connection.
            2 => (0, false),
            _ => (0, true),
        };
        thread::sleep(Duration::from_millis(takes));
        answers && stream.write_all(&ok("well")).is_ok()
    });
    let balancer = before_these(&[&replica], "max_conns = 1\nhold = \"1s\"");
    let mut clients = [(); 2].map(|()| Client::connect(balancer.http));
    for client in &mut clients {
        client.send(get("/"));
        wait_for(|| (!replica.seen().is_empty()).then_some(()));
    }
    let [first, queued] = clients.each_mut().map(|client| client.answer().text());
    assert_eq!((first.as_str(), queued.as_str()), ("well", "well"));
    assert_eq!(replica.seen().len(), 4);
}

#[test]
fn a_body_that_is_too_large_is_refused_while_it_waits() {
    let (replica, next) = stepwise();
    let balancer = before_these(&[&replica], "max_conns = 1\nbody_limit = \"10B\"");
    let mut first = Client::connect(balancer.http);
    first.send(get("/"));
    wait_for(|| (replica.seen().len() == 1).then_some(()));
    let mut large = Client::connect(balancer.http);
    large.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    wait_for(|| (queued(&balancer) == 1).then_some(()));
    assert_eq!(large.send("b\r\n01234567890\r\n").answer().status, 413);
    next.send(()).unwrap();
    assert_eq!(first.answer().text(), "step");
}

#[test]
fn a_client_that_leaves_the_queue_leaves_its_place_to_the_next() {
    let (replica, next) = stepwise();
    let balancer = before_these(&[&replica], "max_conns = 1");
    let mut clients: Vec<_> = (0..3)
        .map(|before| {
            let mut client = Client::connect(balancer.http);
            client.send(get(&format!("/{before}")));
            wait_for(|| (replica.seen().len() == 1 && queued(&balancer) == before).then_some(()));
            client
        })
        .collect();
    drop(clients.remove(1));
    wait_for(|| (queued(&balancer) == 1).then_some(()));
    for client in &mut clients {
        next.send(()).unwrap();
        assert_eq!(client.answer().text(), "step");
    }
    assert!(replica.seen()[1].head.starts_with("GET /2 "));
}

/// A replica that answers a request for each word that it is sent.
fn stepwise() -> (Backend, Sender<()>) {
    let (next, steps) = channel();
    let steps = Mutex::new(steps);
    let replica = Backend::answering(move |_| {
        let _ = steps.lock().unwrap().recv_timeout(Duration::from_secs(15));
        ok("step")
    });
    (replica, next)
}

fn queued(balancer: &Balancer) -> usize {
    let metrics = admin(balancer, "/metrics").text();
    let line = metrics.lines().find(|line| line.starts_with("evenkeel_requests_queued"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap()
}
