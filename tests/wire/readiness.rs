//! Health checks and slow start, as clients meet them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::balancer::wait_for;
use super::{Backend, Balancer, Client, get, ok};

#[test]
fn a_replica_that_listens_gets_nothing_until_its_health_check_passes() {
    let (replica, up) = checked("late", 503);
    let (_file, balancer) = before(&[&replica], "health.path = \"/up\"");
    wait_for(|| (checks(&replica) >= 5).then_some(()));
    let mut client = Client::connect(balancer.http);
    client.send(get("/held"));
    // It is asked on and on, and the request waits.
    let asked = checks(&replica);
    wait_for(|| (checks(&replica) >= asked + 20).then_some(()));
    assert_eq!(requests(&replica), 0);
    assert!(status(&balancer).contains("its health check has not passed yet: it answered 503"));

    up.store(200, Ordering::Relaxed);
    assert_eq!(client.answer().text(), "late");
    let check = replica.seen().into_iter().find(|it| it.head.contains(" /up ")).unwrap();
    assert_eq!(check.field("user-agent").as_deref(), Some("evenkeel-health"));
    assert_eq!(check.field("host"), Some(replica.address.to_string()));
    assert_eq!(check.field("connection").as_deref(), Some("close"));
}

#[test]
fn a_replica_that_fails_its_checks_is_left_out_until_it_passes_again() {
    let ((steady, _), (flaky, up)) = (checked("steady", 200), checked("flaky", 200));
    let settings = "health = { path = \"/up\", interval = \"100ms\", fall = 2, rise = 2 }";
    let (_file, balancer) = before(&[&steady, &flaky], settings);
    until_ready(&balancer, &[&steady, &flaky]);

    up.store(500, Ordering::Relaxed);
    wait_for(|| {
        status(&balancer).contains("it fails its health check: it answered 500").then_some(())
    });
    let before = requests(&flaky);
    let answers: Vec<_> = (0..20).map(|_| ask(balancer.http)).collect();
    assert!(answers.iter().all(|it| it == "steady"), "{answers:?}");
    assert_eq!(requests(&flaky), before);

    up.store(204, Ordering::Relaxed);
    wait_for(|| (ask(balancer.http) == "flaky").then_some(()));
}

#[test]
fn one_failed_check_takes_no_replica_out() {
    let (replica, up) = checked("only", 200);
    let settings = "health = { path = \"/up\", interval = \"100ms\", fall = 100 }";
    let (_file, balancer) = before(&[&replica], settings);
    until_ready(&balancer, &[&replica]);
    up.store(500, Ordering::Relaxed);
    let asked = checks(&replica);
    wait_for(|| (checks(&replica) >= asked + 3).then_some(()));
    assert!(status(&balancer).contains("it is ready; its last health check: it answered 500"));
    assert_eq!(ask(balancer.http), "only");
}

#[test]
fn the_only_replica_serves_at_last_though_it_fails_its_checks() {
    let (replica, up) = checked("only", 200);
    let settings = "health = { path = \"/up\", interval = \"100ms\", fall = 1 }";
    let (_file, balancer) = before(&[&replica], settings);
    until_ready(&balancer, &[&replica]);
    up.store(500, Ordering::Relaxed);
    wait_for(|| status(&balancer).contains("it fails its health check").then_some(()));
    assert_eq!(ask(balancer.http), "only");
}

#[test]
fn a_new_replica_gets_less_than_its_share_at_first_and_all_of_it_in_time() {
    let ((old, _), (new, up)) = (checked("old", 200), checked("new", 503));
    let ramp = Duration::from_secs(4);
    let (_file, balancer) = before(&[&old, &new], "slow_start = \"4s\"\nhealth.path = \"/up\"");
    until_ready(&balancer, &[&old]);
    let old_is_up = Instant::now() + ramp;
    wait_for(|| (Instant::now() > old_is_up).then_some(()));
    let began = Instant::now();
    up.store(200, Ordering::Relaxed);
    until_ready(&balancer, &[&new]);

    let early = shares(balancer.http, 200);
    // Of two, one that is a part of the way up has about that part of a half;
    // chance gets a tenth of all.
    let way = began.elapsed().div_duration_f64(ramp).clamp(0.1, 1.0);
    let most = 200.0 * (way / (1.0 + way) + 0.1);
    assert!(early["new"] > 0 && (early["new"] as f64) < most, "{early:?} of {most}");
    wait_for(|| (began.elapsed() > ramp + Duration::from_secs(1)).then_some(()));
    assert_eq!(shares(balancer.http, 40)["new"], 20);
}

/// A replica that answers checks with the status of the moment, and all else
/// with its name.
fn checked(name: &'static str, status: u16) -> (Backend, Arc<AtomicU16>) {
    let up = Arc::new(AtomicU16::new(status));
    let held = Arc::clone(&up);
    let backend = Backend::answering(move |seen| match seen.head.contains(" /up ") {
        true => format!(
            "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            held.load(Ordering::Relaxed)
        )
        .into_bytes(),
        false => ok(name),
    });
    (backend, up)
}

fn before(replicas: &[&Backend], settings: &str) -> (NamedTempFile, Balancer) {
    let file = NamedTempFile::with_suffix(".toml").unwrap();
    let servers: Vec<_> = replicas.iter().map(|it| format!("\"{}\"", it.address)).collect();
    let pool = format!("[pools.web]\nservers = [{}]\n{settings}\n", servers.join(", "));
    std::fs::write(file.path(), pool).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    (file, balancer)
}

fn until_ready(balancer: &Balancer, replicas: &[&Backend]) {
    for replica in replicas {
        balancer.logged(&format!("address={}", replica.address));
    }
}

fn checks(replica: &Backend) -> usize {
    replica.seen().iter().filter(|it| it.head.contains(" /up ")).count()
}

fn requests(replica: &Backend) -> usize {
    replica.seen().len() - checks(replica)
}

fn ask(balancer: SocketAddr) -> String {
    Client::connect(balancer).send(get("/")).answer().text()
}

/// How many of so many requests each replica answers.
fn shares(balancer: SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::from([("old".to_owned(), 0), ("new".to_owned(), 0)]);
    let mut client = Client::connect(balancer);
    for _ in 0..count {
        *shares.entry(client.send(get("/")).answer().text()).or_default() += 1;
    }
    shares
}

fn status(balancer: &Balancer) -> String {
    let request = "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    Client::connect(balancer.admin).send(request).answer().text()
}
