//! WebSockets and other changes of protocol.

use std::io::{Read, Write};

use super::{Backend, Client, before, ok};

const SWITCH: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[test]
fn an_upgrade_becomes_a_tunnel_both_ways() {
    let backend = Backend::scripted(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            .unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
        false
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    let answer = client.send(SWITCH).answer();
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert_eq!(answer.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(client.exactly(5), b"hello");
    // Looks like a request, and must pass as the bytes that it is.
    assert_eq!(client.send("GET ").exactly(4), b"GET ");
    assert!(client.rest().is_empty(), "the replica's end ends the tunnel");

    let seen = &backend.seen()[0];
    assert_eq!(seen.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(seen.field("connection").map(|it| it.to_lowercase()).as_deref(), Some("upgrade"));
    assert!(balancer.access_logged("/ws").contains("\" 101 "));
}

#[test]
fn bytes_sent_before_the_switch_wait_for_it() {
    let backend = Backend::answering(|seen| {
        assert!(seen.body.is_empty());
        ok("no switch")
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    // A request that hides behind an upgrade which the replica does not grant
    // is an ordinary next request, not a tunnel.
    let hidden = format!("{SWITCH}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.send(hidden).answer().text(), "no switch");
    assert_eq!(client.answer().text(), "no switch");
    let seen = backend.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].field("x-forwarded-for").as_deref(), Some("127.0.0.1"), "it was a request");
}

#[test]
fn an_h2c_upgrade_is_not_passed_on() {
    let backend = Backend::answering(|_| ok("plain"));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.answer().text(), "plain");
    let seen = &backend.seen()[0];
    for gone in ["upgrade", "http2-settings"] {
        assert_eq!(seen.field(gone), None, "{}", seen.head);
    }
}
