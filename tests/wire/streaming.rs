//! Bodies: framing kept, streamed both ways, cut when they break.

use std::io::Write;
use std::thread;
use std::time::Duration;

use super::{Backend, Client, before, get, ok};

#[test]
fn a_sized_body_arrives_whole() {
    let backend = Backend::answering(|seen| ok(&seen.body.len().to_string()));
    let balancer = before(&backend);
    let body = vec![b'x'; 300_000];
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = Client::connect(balancer.http).send(head).send(&body).answer();
    assert_eq!(answer.text(), "300000");
    assert_eq!(backend.seen()[0].body, body);
}

#[test]
fn a_chunked_body_stays_chunked_with_its_trailers_both_ways() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
          2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
            .to_vec()
    });
    let balancer = before(&backend);
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Check\r\n\r\n3\r\nabc\r\n0\r\nX-Check: 9\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.text().to_lowercase(), "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");
    let sent = String::from_utf8(backend.seen()[0].body.clone()).unwrap().to_lowercase();
    assert_eq!(sent, "3\r\nabc\r\n0\r\nx-check: 9\r\n\r\n");
}

#[test]
fn pieces_of_an_answer_arrive_as_they_are_made() {
    let backend = Backend::scripted(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .unwrap();
        // The second piece comes only once the client has read the first.
        let mut go = [0];
        let _ = stream.peek(&mut go);
        thread::sleep(Duration::from_millis(300));
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        false
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    client.send(get("/"));
    let began = std::time::Instant::now();
    let head = client.exactly(1);
    let mut so_far = head;
    while !so_far.ends_with(b"5\r\nfirst\r\n") {
        so_far.extend(client.exactly(1));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "the first piece waited for the second");
}

#[test]
fn a_head_request_gets_the_length_and_no_body() {
    let backend =
        Backend::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec());
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.answer_to_head();
        assert_eq!(answer.field("content-length").as_deref(), Some("5000"));
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let backend = Backend::answering(|seen| {
        let status = if seen.head.contains("/304") { "304 Not Modified" } else { "204 No Content" };
        format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n").into_bytes()
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    for (path, status) in [("/304", 304), ("/204", 204), ("/304", 304)] {
        assert_eq!(client.send(get(path)).answer().status, status);
    }
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_never_ended_as_if_whole() {
    let backend = Backend::scripted(|seen, stream| {
        let framing = if seen.head.contains("/chunked") {
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"
        } else {
            "Content-Length: 10\r\n\r\nabc"
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}").as_bytes()).unwrap();
        false
    });
    let balancer = before(&backend);
    let cut = Client::connect(balancer.http).send(get("/chunked")).rest();
    assert!(!cut.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&cut));
    let cut = Client::connect(balancer.http).send(get("/sized")).rest();
    assert!(!cut.is_empty() && !cut.ends_with(b"abcdefghij"));
    assert!(balancer.access_logged("/sized").contains("upstream_broke_off"));
}

#[test]
fn a_client_is_told_to_continue_before_it_sends_its_body() {
    let backend = Backend::answering(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("abc").answer().text(), "abc");
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let backend = Backend::answering(|seen| ok(seen.head.split(' ').nth(1).unwrap()));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    client.send(["/1", "/2", "/3"].map(get).concat());
    for expected in ["/1", "/2", "/3"] {
        assert_eq!(client.answer().text(), expected);
    }
}

#[test]
fn connections_to_a_replica_are_used_again() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    for _ in 0..5 {
        assert_eq!(client.send(get("/")).answer().status, 200);
    }
    assert_eq!(backend.seen().last().unwrap().connection, 0);
}

#[test]
fn a_get_with_a_chunked_body_keeps_it() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        assert_eq!(client.send(request).answer().status, 200);
    }
    assert_eq!(backend.seen()[1].body, b"3\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_comes_before_the_upload_ends_is_passed_on_at_once() {
    // The scripted replicas read a whole request first; this one speaks at once.
    let early = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = early.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in early.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                use std::io::Read;
                if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    let refused = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
                    let _ = stream.write_all(refused.as_bytes());
                    // It keeps the connection and takes nothing more.
                    thread::sleep(Duration::from_secs(5));
                }
            });
        }
    });
    let balancer = super::Balancer::start(&["--pool", &format!("web={address}")]);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    assert_eq!(client.answer().status, 413);
    // A stranger's request must not be given the connection that is still busy.
    let mut other = Client::connect(balancer.http);
    assert_eq!(other.send(get("/")).answer().status, 413);
    let metrics = Client::connect(balancer.admin)
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .answer()
        .text();
    assert!(metrics.contains(r#"state="ready"} 1"#), "{metrics}");
}

#[test]
fn the_log_tells_a_whole_answer_from_one_that_was_cut() {
    let backend = Backend::answering(|seen| {
        if seen.head.contains("/chunked") {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()
        } else if seen.head.contains("/close") {
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end".to_vec()
        } else {
            ok("sized")
        }
    });
    let balancer = before(&backend);
    for path in ["/chunked", "/close", "/sized"] {
        Client::connect(balancer.http).send(get(path)).answer();
        assert!(balancer.access_logged(path).contains("end=ok"), "{path}");
    }
}

#[test]
fn a_replica_that_speaks_http_1_0_is_not_sent_a_second_request_on_the_same_connection() {
    let backend = Backend::answering(|seen| {
        let length = seen.body.len();
        let body = length.to_string();
        let head = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length:";
        format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for _ in 0..3 {
        client.send(request).answer();
    }
    let seen = backend.seen();
    assert!(seen.iter().all(|it| it.body == b"3\r\nabc\r\n0\r\n\r\n"), "{seen:?}");
    assert_eq!(seen.last().unwrap().connection, 2);
}

#[test]
fn a_length_beside_a_transfer_encoding_of_a_replica_is_dropped() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nwhole\r\n0\r\n\r\n"
            .to_vec()
    });
    let balancer = before(&backend);
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(answer.field("content-length"), None, "{}", answer.head);
    assert!(answer.text().contains("whole"));
}
