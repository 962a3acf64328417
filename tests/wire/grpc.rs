//! gRPC calls: answers of our own, and deadlines.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, admin, before, before_servers, before_with, ok, wait_for};

#[test]
fn a_call_that_fails_is_told_so_in_its_head_alone() {
    let backend = Backend::answering(|_| ok("never"));
    let balancer = before_with(&[backend], "host = \"a\"");
    let mut client = Client::connect(balancer.http);
    let answer = client.send(call("elsewhere", "")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{}", answer.head);
    assert_eq!(answer.field("content-type").as_deref(), Some("application/grpc"));
    assert_eq!(answer.field("grpc-status").as_deref(), Some("12"));
    let message = answer.field("grpc-message").unwrap();
    let told = message.strip_prefix("There is no service at this address. [no_route; request ");
    let id = told.and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    assert!(id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()), "{message}");
    let line = balancer.access_logged("no_route");
    assert!(line.contains("\" 200 "), "{line}");
    let metrics = admin(&balancer, "/metrics").text();
    assert!(metrics.contains("{reason=\"no_route\"} 1"), "{metrics}");
}

#[test]
fn grpc_web_is_answered_as_http_is() {
    let backend = Backend::answering(|_| ok("never"));
    let balancer = before_with(&[backend], "host = \"a\"");
    let call = call("elsewhere", "").replace("application/grpc", "application/grpc-web+proto");
    let answer = Client::connect(balancer.http).send(call).answer();
    assert_eq!((answer.status, answer.field("grpc-status")), (404, None));
}

#[test]
fn who_calls_too_often_is_told_when_to_come_back() {
    let balancer = before_with(&[Backend::answering(|_| ok("once"))], "rate = \"1/s\"");
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(call("a", "")).answer().text(), "once");
    let answer = client.send(call("a", "")).answer();
    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("8")));
    let wait: u32 = answer.field("grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    assert_eq!(answer.field("retry-after"), None);
}

#[test]
fn at_its_deadline_a_call_is_over_for_the_client_and_the_replica() {
    let (tell, ended) = mpsc::channel();
    let backend = Backend::scripted(move |_, stream| {
        // Never answers; notes when its connection ends.
        let ended = stream.peek(&mut [0]);
        tell.send(ended.is_ok_and(|count| count == 0)).unwrap();
        false
    });
    let balancer = before(&backend);
    let begun = Instant::now();
    let answer = Client::connect(balancer.http).send(call("a", "grpc-timeout: 300m\r\n")).answer();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((answer.status, answer.field("grpc-status").as_deref()), (200, Some("4")));
    assert!(ended.recv_timeout(Duration::from_secs(5)).unwrap(), "it was broken off");
    let timeout = backend.seen()[0].field("grpc-timeout").unwrap();
    let left = timeout.strip_suffix('u').map(|micros| micros.parse::<u32>().unwrap());
    // As it came, unless the machine is slow.
    assert!(timeout == "300m" || left.is_some_and(|micros| micros < 300_000), "{timeout}");
    balancer.access_logged("deadline_exceeded");
}

#[test]
fn a_call_that_was_held_is_passed_on_with_the_time_that_is_left() {
    let address: SocketAddr = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        port.local_addr().unwrap()
    };
    let balancer = Balancer::start(&["--pool", &format!("web={address}")]);
    let mut client = Client::connect(balancer.http);
    let begun = Instant::now();
    client.send(call("a", "grpc-timeout: 9S\r\n"));
    // It must have come before there is anybody to serve it.
    wait_for(|| (begun.elapsed() >= Duration::from_millis(200)).then_some(()));
    let backend = Backend::at(address, |_, stream| stream.write_all(&ok("at last")).is_ok());
    assert_eq!(client.answer().text(), "at last");
    let left = backend.seen()[0].field("grpc-timeout").unwrap();
    let micros: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..8_900_000).contains(&micros), "{left}");
}

#[test]
fn a_call_that_is_held_for_too_long_is_told_so_at_its_deadline() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let balancer = Balancer::start(&["--pool", &format!("web={nobody}")]);
    let answer = Client::connect(balancer.http).send(call("a", "grpc-timeout: 200m\r\n")).answer();
    assert_eq!(answer.field("grpc-status").as_deref(), Some("4"), "{}", answer.head);
}

#[test]
fn a_deadline_of_the_client_s_counts_where_it_is_later_than_the_pool_s() {
    let backend = Backend::scripted(|_, stream| {
        std::thread::sleep(Duration::from_millis(600));
        stream.write_all(&ok("late")).is_ok()
    });
    let balancer = before_servers(&[backend.address], "timeout.response = \"200ms\"");
    let mut client = Client::connect(balancer.http);
    let answer = client.send(call("a", "grpc-timeout: 8S\r\n")).answer();
    assert_eq!(answer.text(), "late", "{}", answer.head);
    let answer = client.send(call("a", "")).answer();
    assert_eq!(answer.field("grpc-status").as_deref(), Some("4"), "{}", answer.head);
    balancer.access_logged("response_timeout");
}

/// A call without messages, to `host`, with these fields beside.
fn call(host: &str, fields: &str) -> String {
    format!(
        "POST /a.B/C HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\nContent-Type: application/grpc\r\n\
         {fields}Content-Length: 0\r\n\r\n"
    )
}
