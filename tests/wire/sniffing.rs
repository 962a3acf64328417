//! HTTP/1 and HTTP/2 on one clear port.

use std::time::{Duration, Instant};

use super::{Backend, Client, before, get, ok};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn http_1_is_served_wherever_its_first_bytes_end() {
    let balancer = before(&Backend::answering(|_| ok("")));
    for head in ["GET / HTTP/1.1", "POST / HTTP/1.1", "PROPFIND / HTTP/1.1"] {
        let request = format!("{head}\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n");
        let mut client = Client::connect(balancer.http);
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.answer().status, 200, "{head}");
        assert_eq!(client.send(get("/again")).answer().status, 200);
    }
}

#[test]
fn a_preface_that_breaks_off_is_a_request_that_is_refused() {
    let balancer = before(&Backend::answering(|_| ok("")));
    // Once its line is whole, it is a version that HTTP/1 does not have.
    for (end, status) in [(4, 400), (10, 400), (18, 505), (23, 505)] {
        let mut client = Client::connect(balancer.http);
        client.send(&PREFACE[..end]);
        assert_eq!(client.send("X\r\n\r\n").answer().status, status, "{end}");
    }
}

#[test]
fn silent_connections_do_not_keep_us_from_stopping() {
    let mut balancer = before(&Backend::answering(|_| ok("")));
    let _silent = Client::connect(balancer.http);
    let mut partial = Client::connect(balancer.http);
    partial.send(&PREFACE[..10]);
    let began = Instant::now();
    balancer.terminate();
    assert_eq!(balancer.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
