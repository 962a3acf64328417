//! What is given up as memory runs out.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, admin, before, before_pools, get, ok, wait_for};

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
    assert!(balancer.logged("Memory is watched").contains("limit=10737418240"));
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 200);
    let line = "evenkeel_memory_pressure{level=\"none\"} 1\n";
    assert!(admin(&balancer, "/metrics").text().contains(line));
    assert!(!balancer.has_logged("Memory runs"));
}

#[test]
fn short_memory_ends_what_rests_and_leaves_what_is_under_way() {
    let backend = Backend::scripted(|_, stream| {
        stream.write_all(SWITCHED).unwrap();
        let mut heard = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut heard) {
            if stream.write_all(&heard[..count]).is_err() {
                break;
            }
        }
        false
    });
    let resting = Backend::answering(|_| ok(""));
    let limit = resident(&before(&backend)) * 100 / 70;
    let (backends, resting) = ([backend], [resting]);
    let pools: [(&str, &[Backend], &str); 2] =
        [("ws", &backends, "host = \"a\""), ("web", &resting, "host = \"shop.example\"")];
    let balancer = before_pools(&pools, &["--memory-limit", &format!("{}KiB", limit / 1024)]);
    let mut idle = Client::connect(balancer.http);
    assert_eq!(idle.send(get("/")).answer().status, 200);
    let mut tunnels = Vec::new();
    while !balancer.has_logged("Memory runs short") {
        assert!(tunnels.len() < 1000, "{} of {limit}", resident(&balancer));
        for _ in 0..4 {
            let mut tunnel = Client::connect(balancer.http);
            if !tunnel.try_send(SWITCH).has_more() {
                // It came a moment too late.
                break;
            }
            assert_eq!(tunnel.answer().status, 101);
            tunnels.push(tunnel);
        }
        // Memory is looked at four times a second.
        let looked = Instant::now() + Duration::from_millis(300);
        let is_noticed = || {
            resident(&balancer) * 100 / limit < 86
                || balancer.has_logged("Memory runs short")
                || Instant::now() > looked
        };
        wait_for(|| is_noticed().then_some(()));
    }
    assert!(idle.rest().is_empty());
    // Longer than those have that carry nothing, and than stopping leaves them.
    let until = Instant::now() + Duration::from_secs(9);
    while Instant::now() < until {
        for tunnel in &mut tunnels {
            assert_eq!(tunnel.send(PING).exactly(PING.len()), PING);
        }
    }
    assert!(!balancer.has_logged("Memory runs out"));
}

/// What a balancer holds of memory, in bytes.
pub(super) fn resident(balancer: &Balancer) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", balancer.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

const SWITCH: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
/// A client's frame, whose mask changes nothing.
const PING: &[u8] = b"\x89\x80\0\0\0\0";
