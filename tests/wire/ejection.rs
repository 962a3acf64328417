//! Replicas that fail requests lose them for a while.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::balancer::wait_for;
use super::failover::waiting;
use super::{Backend, Client, admin, before_servers, before_these, get, ok};

#[test]
fn a_replica_that_fails_is_ejected_and_tried_by_one_request_at_a_time() {
    let (well, (ill, says)) = (Backend::answering(|_| ok("well")), answering("ill", 503));
    let settings = "retry.on = 503\nmax_fails = 2\nfail_timeout = \"1s\"";
    let balancer = before_these(&[&well, &ill], settings);
    let ask = || Client::connect(balancer.http).send(get("/")).answer();
    let answers: Vec<_> = (0..20).map(|_| ask()).collect();
    let told = balancer.logged("Replica ejected");
    let ejected = Instant::now();
    assert!(answers.iter().all(|it| (it.status, it.text().as_str()) == (200, "well")));
    assert_eq!(ill.seen().len(), 2, "and none after that");
    assert!(told.contains("reason=\"status\"") && told.contains("lasts=1s"), "{told}");
    assert!(told.contains(&ill.address.to_string()), "{told}");
    let status = admin(&balancer, "/api/v1/status").text();
    assert!(status.contains("\"state\":\"ejected\""), "{status}");

    // The one on trial is not answered for now; nobody else goes there.
    says.store(0, Ordering::Relaxed);
    wait_for(|| (ejected.elapsed() >= Duration::from_secs(1)).then_some(()));
    let mut tried = Client::connect(balancer.http);
    tried.send(get("/tried"));
    wait_for(|| (ill.seen().len() == 3).then_some(()));
    assert!((0..20).all(|_| ask().text() == "well"));
    assert_eq!(ill.seen().len(), 3);
    says.store(200, Ordering::Relaxed);
    assert_eq!(tried.answer().text(), "ill");
    balancer.logged("Replica back in service");
    wait_for(|| (ask().text() == "ill").then_some(()));
    let metrics = admin(&balancer, "/metrics").text();
    let counted = format!("replica=\"{}\",reason=\"status\"}} 1", ill.address);
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn a_trial_that_fails_costs_nobody_a_failure_and_ejects_for_longer() {
    let (well, (ill, _)) = (Backend::answering(|_| ok("well")), answering("ill", 503));
    let settings = "retry.on = \"5xx\"\nmax_fails = 1\nfail_timeout = \"200ms\"";
    let balancer = before_these(&[&well, &ill], settings);
    let mut client = Client::connect(balancer.http);
    for lasts in ["lasts=200ms", "lasts=400ms", "lasts=600ms"] {
        wait_for(|| {
            assert_eq!(client.send(get("/")).answer().text(), "well");
            balancer.has_logged(lasts).then_some(())
        });
    }
    assert_eq!(ill.seen().len(), 3);
}

#[test]
fn every_way_to_fail_a_request_counts() {
    let hangs_up = || Backend::scripted(|_, _| false);
    let silent = || {
        Backend::scripted(|_, _| {
            thread::sleep(Duration::from_secs(5));
            false
        })
    };
    for (ill, reason) in [(hangs_up(), "reset"), (silent(), "timeout")] {
        let well = Backend::answering(|_| ok("well"));
        let settings = "max_fails = 3\ntimeout.response = \"100ms\"";
        let balancer = before_these(&[&well, &ill], settings);
        let told = wait_for(|| {
            Client::connect(balancer.http).send(get("/")).answer();
            balancer.has_logged("Replica ejected").then(|| balancer.logged("Replica ejected"))
        });
        assert!(told.contains(&format!("reason=\"{reason}\"")), "{told}");
        assert_eq!(ill.seen().len(), 3, "{reason}");
    }
}

#[test]
fn a_replica_that_cannot_be_connected_to_is_ejected() {
    let well = Backend::answering(|_| ok("well"));
    let ill = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = ill.local_addr().unwrap();
    let balancer = before_servers(&[well.address, address], "max_fails = 1");
    drop(ill);
    let told = wait_for(|| {
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().text(), "well");
        balancer.has_logged("Replica ejected").then(|| balancer.logged("Replica ejected"))
    });
    assert!(told.contains("reason=\"connect\""), "{told}");
}

#[test]
fn requests_that_are_held_since_all_are_down_are_served_by_an_ejected_replica_too() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.each_ref().map(|it| it.local_addr().unwrap());
    let balancer = before_servers(&addresses, "max_fails = 1\nfail_timeout = \"1h\"");
    drop(listeners);
    let clients: Vec<_> = (0..8)
        .map(|before| {
            let mut client = Client::connect(balancer.http);
            client.send(get("/"));
            // One after the other, so that the first still finds a replica in
            // service and the other can be ejected.
            wait_for(|| (waiting(&balancer) > before).then_some(()));
            client
        })
        .collect();
    let told = balancer.logged("Replica ejected");
    let ejected = addresses.into_iter().find(|it| told.contains(&it.to_string())).unwrap();
    let began = Instant::now();
    let _back = Backend::at(ejected, |_, stream| stream.write_all(&ok("back")).is_ok());
    for mut client in clients {
        assert_eq!(client.answer().text(), "back");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn the_last_replica_in_service_stays() {
    let backends = [answering("a", 503).0, answering("b", 503).0];
    let settings = "retry.on = 503\nmax_fails = 2\nfail_timeout = \"1m\"";
    let balancer = before_these(&[&backends[0], &backends[1]], settings);
    for _ in 0..20 {
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 503);
    }
    balancer.logged("Replica ejected");
    let asked = backends.each_ref().map(|it| it.seen().len());
    assert!(asked.contains(&2), "{asked:?}: one is ejected");
    let status = admin(&balancer, "/api/v1/status").text();
    assert_eq!(status.matches("\"state\":\"ejected\"").count(), 1, "{status}");
}

#[test]
fn a_client_that_leaves_is_no_failure_of_its_replica() {
    let (slow, says) = answering("slow", 0);
    let well = Backend::answering(|_| ok("well"));
    let balancer = before_these(&[&slow, &well], "max_fails = 1");
    wait_for(|| {
        let asked = (slow.seen().len(), well.seen().len());
        let mut client = Client::connect(balancer.http);
        client.send(get("/"));
        wait_for(|| ((slow.seen().len(), well.seen().len()) != asked).then_some(()));
        (slow.seen().len() == 5).then_some(())
    });
    wait_for(|| {
        let metrics = admin(&balancer, "/metrics").text();
        let in_flight = format!("in_flight{{pool=\"web\",replica=\"{}\"}} 0", slow.address);
        metrics.contains(&in_flight).then_some(())
    });
    says.store(200, Ordering::Relaxed);
    assert!(!balancer.has_logged("Replica ejected"));
}

#[test]
fn with_max_fails_0_nobody_is_ejected() {
    let (well, ill) = (Backend::answering(|_| ok("well")), Backend::scripted(|_, _| false));
    let balancer = before_these(&[&well, &ill], "max_fails = 0");
    wait_for(|| {
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().text(), "well");
        (ill.seen().len() >= 10).then_some(())
    });
    assert!(!balancer.has_logged("Replica ejected"));
}

/// A replica that answers with the status of the moment; 0 has its clients wait.
fn answering(name: &'static str, status: u16) -> (Backend, Arc<AtomicU16>) {
    let says = Arc::new(AtomicU16::new(status));
    let held = Arc::clone(&says);
    let backend = Backend::answering(move |_| {
        let status = wait_for(|| Some(held.load(Ordering::Relaxed)).filter(|it| *it > 0));
        format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{name}", name.len()).into_bytes()
    });
    (backend, says)
}
