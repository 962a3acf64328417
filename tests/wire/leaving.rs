//! Replicas that stop, die and pause while they are busy, told by a daemon that
//! the test scripts.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::balancer::wait_for;
use super::{Backend, Balancer, Client, get, ok};
use crate::docker::false_daemon::{FalseDaemon, container, event, in_state};

const SWITCH: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_request_in_flight_moves_on_when_its_replica_dies_or_is_paused() {
    for action in ["die", "pause"] {
        let stage = Stage::set(&["stuck", "well"], &[]);
        let mut client = stage.send_to("stuck", &get("/"));
        let began = Instant::now();
        stage.happens("stuck", action);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "well"), "{action}");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(500), "before the next sweep; {action}: {took:?}");
    }
}

#[test]
fn a_replica_that_ends_is_not_told_of_as_ejected() {
    let stage = Stage::set(&["stuck", "well"], &[("lb.max_fails", "1")]);
    let mut client = stage.send_to("stuck", &get("/snap"));
    let began = Instant::now();
    stage.release.store(true, Ordering::Relaxed);
    // It has hung up, which the engine tells a moment later.
    assert_eq!(client.answer().text(), "well");
    stage.happens("stuck", "die");
    wait_for(|| (began.elapsed() > Duration::from_millis(700)).then_some(()));
    assert!(!stage.balancer.has_logged("Replica ejected"));
}

#[test]
fn a_post_that_its_replica_took_fails_once_and_clearly_when_that_dies() {
    let stage = Stage::set(&["stuck", "well"], &[]);
    let mut client = stage.send_to("stuck", POST);
    let before = stage.backend("well").seen().len();
    stage.happens("stuck", "die");
    let answer = client.answer();
    assert_eq!(answer.status, 502);
    assert!(stage.balancer.access_logged(" 502 ").contains("upstream_gone"));
    assert_eq!(stage.backend("well").seen().len(), before, "it is not sent again");
}

#[test]
fn a_post_waits_for_its_paused_replica() {
    let stage = Stage::set(&["stuck", "well"], &[]);
    let mut client = stage.send_to("stuck", POST);
    stage.happens("stuck", "pause");
    stage.released("stuck", State::Paused);
    stage.release.store(true, Ordering::Relaxed);
    assert_eq!(client.answer().text(), "stuck");
}

#[test]
fn a_replica_with_its_stop_signal_gets_nothing_new_and_finishes_what_it_has() {
    let stage = Stage::set(&["stuck", "well"], &[]);
    let mut client = stage.send_to("stuck", &get("/slow"));
    stage.happens("stuck", "kill");
    stage.released("stuck", State::Draining);
    let before = stage.backend("stuck").seen().len();
    for _ in 0..10 {
        assert_eq!(Client::connect(stage.balancer.http).send(get("/")).answer().text(), "well");
    }
    assert_eq!(stage.backend("stuck").seen().len(), before);
    stage.release.store(true, Ordering::Relaxed);
    assert_eq!(client.answer().text(), "stuck");
}

#[test]
fn the_last_replica_serves_on_while_it_stops() {
    let stage = Stage::set(&["well"], &[]);
    stage.happens("well", "kill");
    stage.released("well", State::Draining);
    let began = Instant::now();
    assert_eq!(Client::connect(stage.balancer.http).send(get("/")).answer().text(), "well");
    assert!(began.elapsed() < Duration::from_millis(800), "at once: {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(Client::connect(stage.balancer.http).send(POST).answer().text(), "well");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900), "after a second: {took:?}");
}

#[test]
fn the_last_replica_serves_on_though_it_breaks_one_request_off() {
    let stage = Stage::set(&["stuck"], &[("lb.hold", "2s")]);
    stage.release.store(true, Ordering::Relaxed);
    stage.happens("stuck", "kill");
    stage.released("stuck", State::Draining);
    let mut broken = Client::connect(stage.balancer.http);
    broken.send(get("/break"));
    assert_eq!(Client::connect(stage.balancer.http).send(get("/")).answer().text(), "stuck");
    assert_eq!(broken.answer().status, 503, "it has been everywhere");
    assert_eq!(Client::connect(stage.balancer.http).send(get("/")).answer().text(), "stuck");
}

#[test]
fn a_request_without_an_answer_has_the_time_to_drain_and_no_more() {
    let stage = Stage::set(&["stuck"], &[("lb.drain", "500ms")]);
    let mut client = stage.send_to("stuck", POST);
    let began = Instant::now();
    stage.happens("stuck", "kill");
    assert_eq!(client.answer().status, 502);
    let took = began.elapsed().as_millis();
    assert!((400..4_000).contains(&took), "{took} ms");
}

#[test]
fn what_a_replica_breaks_off_since_it_leaves_is_not_held_against_it() {
    for leaves in [true, false] {
        let stage = Stage::set(&["stuck", "well"], &[("lb.max_fails", "1")]);
        let mut client = stage.send_to("stuck", &get("/snap"));
        if leaves {
            stage.happens("stuck", "kill");
            stage.released("stuck", State::Draining);
        }
        stage.release.store(true, Ordering::Relaxed);
        assert_eq!(client.answer().text(), "well");
        if leaves {
            assert!(!stage.balancer.has_logged("Replica ejected"));
        } else {
            assert!(stage.balancer.logged("Replica ejected").contains("stuck"));
        }
    }
}

#[test]
fn the_only_replica_is_ejected_where_a_backup_is_ready() {
    let labels = [("lb.max_fails", "1"), ("lb.fail_timeout", "1s")];
    let stage = Stage::set(&["well", "spare"], &labels);
    let ask = || Client::connect(stage.balancer.http).send(get("/")).answer().text();
    assert_eq!(ask(), "well");
    // It is broken off here and there.
    Client::connect(stage.balancer.http).send(get("/break")).answer();
    assert!(stage.balancer.logged("Replica ejected").contains("replica=well"));
    let ejected = Instant::now();
    assert!((0..5).all(|_| ask() == "spare"));
    wait_for(|| (ejected.elapsed() >= Duration::from_secs(1)).then_some(()));
    wait_for(|| (ask() == "well").then_some(()));
    wait_for(|| (!stage.status().contains("\"state\":\"ejected\"")).then_some(()));
}

#[test]
fn a_pause_that_is_over_when_it_is_heard_of_takes_nothing_away() {
    let stage = Stage::set(&["well"], &[("lb.hold", "3s")]);
    stage.daemon.say_raw(&format!(
        "{}\n{}",
        stage.event("well", "pause"),
        stage.event("well", "unpause")
    ));
    // Whatever was heard first, the next request comes after both.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(Client::connect(stage.balancer.http).send(get("/")).answer().text(), "well");
}

#[test]
fn a_tunnel_ends_soon_after_its_replica_died() {
    let stage = Stage::set(&["stuck"], &[]);
    let mut client = Client::connect(stage.balancer.http);
    assert_eq!(client.send(SWITCH).answer().status, 101);
    stage.happens("stuck", "die");
    let began = Instant::now();
    assert_eq!(client.rest(), GOING_AWAY);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    stage.balancer.access_logged("upstream_gone");
}

#[test]
fn tunnels_and_downloads_have_the_time_to_drain_and_no_more() {
    let stage = Stage::set(&["stuck", "well"], &[("lb.drain", "2s")]);
    let mut tunnel = stage.until_at("stuck", |client| {
        assert_eq!(client.send(SWITCH).answer().status, 101);
    });
    let mut download = stage.until_at("stuck", |client| {
        client.send(get("/download"));
    });
    stage.happens("stuck", "kill");
    stage.released("stuck", State::Draining);
    let began = Instant::now();
    assert_eq!(tunnel.send(b"\x82\x04ping").exactly(6), b"\x82\x04ping", "it still works");
    assert_eq!(tunnel.exactly(4), GOING_AWAY);
    assert_eq!(tunnel.rest(), b"", "who does not answer a close is cut");
    let took = began.elapsed();
    assert!((1_000..6_000).contains(&took.as_millis()), "{took:?}");
    let text = String::from_utf8(download.rest()).unwrap();
    assert!(!text.ends_with("0\r\n\r\n"), "a cut is seen as one");
    stage.balancer.access_logged("drain_over");
}

#[test]
fn what_a_replica_sent_before_it_died_arrives() {
    let stage = Stage::set(&["well"], &[]);
    let mut client = Client::connect(stage.balancer.http);
    let begun = client.send(get("/large")).exactly(1_000).len();
    stage.happens("well", "die");
    stage.released("well", State::Gone);
    assert_eq!(client.exactly(LARGE - begun).len() + begun, LARGE);
}

#[test]
fn a_change_of_one_pool_leaves_the_tunnels_of_others_alone() {
    let stage = Stage::set(&["well", "other"], &[]);
    let mut tunnel = Client::connect(stage.balancer.http);
    assert_eq!(tunnel.send(SWITCH.replace("/ws", "/other/ws")).answer().status, 101);
    for action in ["kill", "die", "destroy"] {
        stage.happens("well", action);
    }
    stage.forgotten("well");
    assert_eq!(tunnel.send("ping").exactly(4), b"ping");
}

/// A balancer before a daemon of our own, whose containers are replicas on
/// loopback.
pub(super) struct Stage {
    pub(super) balancer: Balancer,
    backends: Vec<(&'static str, Backend)>,
    containers: Mutex<Vec<Value>>,
    daemon: FalseDaemon,
    runtime: Runtime,
    /// Events so far.
    told: AtomicI64,
    /// Until it is set, `stuck` gives no answers.
    release: Arc<AtomicBool>,
}

/// As the status of the balancer names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Ready,
    Draining,
    Paused,
    Gone,
}

impl State {
    /// What follows an event.
    pub(super) fn of(action: &str) -> Self {
        match action {
            "kill" => Self::Draining,
            "pause" => Self::Paused,
            _ => Self::Gone,
        }
    }
}

impl Stage {
    /// Replicas with these names in one pool, `spare` as its backup, but `other`
    /// in one of its own.
    pub(super) fn set(names: &[&'static str], labels: &[(&str, &str)]) -> Self {
        Self::with(names, labels, |_, _| {})
    }

    /// As `set`, with containers that differ in more than their names.
    pub(super) fn with(
        names: &[&'static str],
        labels: &[(&str, &str)],
        differ: impl Fn(&str, &mut Value),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let daemon = {
            let _inside = runtime.enter();
            FalseDaemon::start()
        };
        let release = Arc::new(AtomicBool::new(false));
        let backends: Vec<_> =
            names.iter().map(|&name| (name, replica(name, Arc::clone(&release)))).collect();
        let containers: Vec<_> = backends
            .iter()
            .map(|(name, backend)| {
                let mut container = container(name, 1);
                let networks = &mut container["NetworkSettings"]["Networks"];
                networks["net"]["IPAddress"] = "127.0.0.1".into();
                let labels: Vec<_> = labels
                    .iter()
                    .chain(match *name {
                        "other" => &[("lb.pool", "other"), ("lb.path", "/other")][..],
                        "spare" => &[("lb.pool", "web"), ("lb.backup", "true")],
                        _ => &[("lb.pool", "web")],
                    })
                    .collect();
                container["Labels"] =
                    labels.into_iter().map(|(key, value)| (*key, *value)).collect();
                container["Labels"]["lb.port"] = backend.address.port().to_string().into();
                differ(name, &mut container);
                container
            })
            .collect();
        daemon.set_containers(containers.clone());
        let docker = format!("unix://{}", daemon.socket().display());
        let balancer = Balancer::start_with_docker(&docker, &[]);
        for (_, backend) in &backends {
            balancer.logged(&format!("address={}", backend.address));
        }
        let containers = Mutex::new(containers);
        let told = AtomicI64::new(0);
        Self { balancer, backends, containers, daemon, runtime, told, release }
    }

    pub(super) fn backend(&self, name: &str) -> &Backend {
        &self.backends.iter().find(|(it, _)| *it == name).unwrap().1
    }

    /// Sends requests until the one that is with `name`, which does not answer.
    fn send_to(&self, name: &str, request: &str) -> Client {
        self.until_at(name, |client| {
            client.send(request);
        })
    }

    /// A client whose request is with `name`.
    pub(super) fn until_at(&self, name: &str, ask: impl Fn(&mut Client)) -> Client {
        let backend = self.backend(name);
        let before = backend.seen().len();
        loop {
            let all: usize = self.backends.iter().map(|(_, it)| it.seen().len()).sum();
            let mut client = Client::connect(self.balancer.http);
            ask(&mut client);
            let now = || self.backends.iter().map(|(_, it)| it.seen().len()).sum::<usize>();
            wait_for(|| (now() > all).then_some(()));
            if backend.seen().len() > before {
                return client;
            }
        }
    }

    /// Tells the balancer, by an event and then by the list.
    pub(super) fn happens(&self, name: &str, action: &str) {
        let mut containers = self.containers.lock().unwrap();
        let place = containers.iter().position(|it| it["Names"][0] == format!("/{name}")).unwrap();
        match action {
            "die" => {
                containers[place] = in_state(containers[place].clone(), "exited", "Exited (0)")
            }
            "pause" => {
                containers[place] = in_state(containers[place].clone(), "paused", "Up (Paused)");
            }
            "start" => {
                containers[place] = in_state(containers[place].clone(), "running", "Up 1 second");
            }
            "destroy" => drop(containers.remove(place)),
            _ => {}
        }
        let _inside = self.runtime.enter();
        self.daemon.set_containers(containers.clone());
        self.daemon.say(&self.event(name, action));
    }

    fn event(&self, name: &str, action: &str) -> Value {
        let mut event = event(name, action, 1 + self.told.fetch_add(1, Ordering::Relaxed));
        event["Actor"]["Attributes"]["signal"] = json!("15");
        event
    }

    /// Waits until the balancer holds the replica for such.
    pub(super) fn released(&self, name: &str, state: State) {
        let state = format!("{state:?}").to_lowercase();
        wait_for(|| {
            let status: Value = serde_json::from_str(&self.status()).unwrap();
            let pools = status["pools"].as_array().unwrap().clone();
            let replicas = pools.iter().flat_map(|pool| pool["replicas"].as_array().unwrap());
            let mut named = replicas.filter(|it| it["name"] == name);
            named
                .any(|it| it["state"] == state || state == "gone" && it["state"] == "unreachable")
                .then_some(())
        });
    }

    /// Waits until the balancer knows nothing of the replica.
    pub(super) fn forgotten(&self, name: &str) {
        wait_for(|| (!self.status().contains(&format!("\"{name}\""))).then_some(()));
    }

    fn status(&self) -> String {
        let ask = "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        Client::connect(self.balancer.admin).send(ask).answer().text()
    }
}

fn replica(name: &'static str, release: Arc<AtomicBool>) -> Backend {
    Backend::scripted(move |seen, stream| {
        if seen.head.contains("/ws ") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).unwrap();
            let mut heard = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut heard) {
                if stream.write_all(&heard[..count]).is_err() {
                    break;
                }
            }
            return false;
        }
        if seen.head.contains("/break ") {
            return false;
        }
        if seen.head.contains("/download ") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            while stream.write_all(b"1\r\nx\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return false;
        }
        let body = if seen.head.contains("/large ") { "x".repeat(LARGE) } else { name.to_owned() };
        // It lets go in the end, so that no thread outlives the test by much.
        for _ in 0..3_000 {
            if name != "stuck" || release.load(Ordering::Relaxed) {
                if name == "stuck" && seen.head.contains("/snap ") {
                    return false;
                }
                return stream.write_all(&ok(&body)).is_ok();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    })
}

/// A close frame of 1001.
pub(super) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// More than sockets and buffers hold.
const LARGE: usize = 20 << 20;
