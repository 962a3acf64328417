//! How WebSockets end: at rest, by halves, and when a replica or the balancer
//! leaves.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::leaving::{GOING_AWAY, Stage, State};
use super::{Backend, Client, before, before_servers, get};

#[test]
fn any_byte_keeps_a_tunnel_alive_and_silence_ends_it() {
    let backend = echoing();
    let balancer = before_servers(&[backend.address], "timeout.tunnel = \"1s\"");
    let mut tunnel = Client::connect(balancer.http);
    assert_eq!(tunnel.send(SWITCH).answer().status, 101);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(tunnel.send(PING).exactly(PING.len()), PING, "after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(300));
    }
    let last = Instant::now();
    assert_eq!(tunnel.rest(), b"");
    assert!(last.elapsed() < Duration::from_secs(3), "{:?}", last.elapsed());
    balancer.access_logged("tunnel_silent");
}

#[test]
fn a_client_that_is_done_is_still_answered() {
    let backend = Backend::scripted(|_, stream| {
        stream.write_all(SWITCHED).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
        false
    });
    let balancer = before(&backend);
    let mut tunnel = Client::connect(balancer.http);
    assert_eq!(tunnel.send(SWITCH).answer().status, 101);
    tunnel.send(vec![7; 300_000]).shut(Shutdown::Write);
    assert_eq!(tunnel.rest(), b"300000 bytes");
    balancer.access_logged("/ws HTTP/1.1\" 101 ");
}

#[test]
fn websockets_are_closed_before_their_replica_is_killed_and_requests_go_on() {
    let stage = Stage::with(&["stuck", "well"], &[("lb.drain", "1m")], |_, container| {
        // It is known no sooner than the stop time-out, so that both are.
        let labels = container["Labels"].as_object_mut().unwrap();
        let port = labels.remove("lb.port").unwrap();
        let exposed = json!({format!("{}/tcp", port.as_str().unwrap()): {}});
        container["Ports"] = json!([]);
        let config = json!({"StopTimeout": 4, "ExposedPorts": exposed});
        container["Inspect"] = json!({"Id": container["Id"], "Config": config});
    });
    let mut tunnel = stage.until_at("stuck", |client| {
        assert_eq!(client.send(SWITCH).answer().status, 101);
    });
    let mut download = stage.until_at("stuck", |client| {
        client.send(get("/download"));
    });
    let began = Instant::now();
    stage.happens("stuck", "kill");
    stage.released("stuck", State::Draining);
    assert_eq!(tunnel.send(PING).exactly(PING.len()), PING, "it still works");
    assert_eq!(tunnel.exactly(4), GOING_AWAY);
    let took = began.elapsed();
    assert!((1_900..4_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(tunnel.send(CLOSE).rest(), b"");
    stage.balancer.access_logged("replica_stopping");
    assert!(!download.exactly(10_000).is_empty());
}

#[test]
fn when_the_balancer_stops_websockets_are_closed_before_its_deadline() {
    let (tell, told) = mpsc::channel();
    let backend = Backend::scripted(move |_, stream| {
        stream.write_all(SWITCHED).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        tell.send(heard).unwrap();
        false
    });
    let mut balancer = before(&backend);
    let mut tunnel = Client::connect(balancer.http);
    assert_eq!(tunnel.send(SWITCH).answer().status, 101);
    let began = Instant::now();
    balancer.terminate();
    assert_eq!(tunnel.exactly(4), GOING_AWAY);
    assert!(began.elapsed() > Duration::from_secs(5), "it had time to end by itself");
    assert_eq!(tunnel.send(CLOSE).rest(), b"", "its answer ends it");
    assert_eq!(balancer.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_millis(8_500), "{:?}", began.elapsed());
    balancer.access_logged("balancer_stopping");
    assert!(!balancer.has_logged("Stopped with connections still open"));

    let heard = told.recv_timeout(Duration::from_secs(5)).unwrap();
    let [0x88, 0x82, a, b, _, _, high, low] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(u16::from_be_bytes([high ^ a, low ^ b]), 1001, "the replica hears of it too");
}

/// A replica whose WebSockets send back the bytes that they get.
fn echoing() -> Backend {
    Backend::scripted(|_, stream| {
        stream.write_all(SWITCHED).unwrap();
        let mut heard = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut heard) {
            if stream.write_all(&heard[..count]).is_err() {
                break;
            }
        }
        false
    })
}

const SWITCH: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
/// A client's frames, whose masks change nothing.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe9";
const PING: &[u8] = b"\x89\x80\0\0\0\0";
