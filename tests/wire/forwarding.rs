//! What reaches the replica, and what comes back.

use super::{Backend, Balancer, Client, before, get, ok};

#[test]
fn the_replica_learns_who_asked_and_for_what() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let answer = Client::connect(balancer.http).send(get("/a?b=c")).answer();
    assert_eq!((answer.status, answer.text()), (200, "hi".to_owned()));

    let seen = &backend.seen()[0];
    assert!(seen.head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", seen.head);
    for (field, value) in [
        ("host", "shop.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "80"),
    ] {
        assert_eq!(seen.field(field).as_deref(), Some(value), "{field}");
    }
    assert!(seen.field("x-request-id").is_some_and(|id| id.len() >= 16));
}

#[test]
fn forwarding_headers_of_strangers_are_replaced() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let forged = "GET / HTTP/1.1\r\nHost: a.example:8080\r\nX-Forwarded-For: 6.6.6.6\r\n\
                  X_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                  Forwarded: for=6.6.6.6\r\nClient-Cert: :x:\r\nX-Request-Id: forged\r\n\r\n";
    Client::connect(balancer.http).send(forged).answer();

    let seen = &backend.seen()[0];
    assert!(!seen.head.contains("6.6.6.6") && !seen.head.contains("forged"), "{}", seen.head);
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.field("x-forwarded-port").as_deref(), Some("8080"));
    assert_eq!(seen.field("client-cert"), None);
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let backend = Backend::answering(|_| ok("hi"));
    let pool = format!("web={}", backend.address);
    let balancer = Balancer::start(&["--pool", &pool, "--trusted-proxies", "127.0.0.0/8"]);
    balancer.logged("Replica ready");
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.7\r\n\
                   X-Forwarded-Proto: https\r\nX-Request-Id: abc\r\n\r\n";
    Client::connect(balancer.http).send(request).answer();

    let seen = &backend.seen()[0];
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(seen.field("x-real-ip").as_deref(), Some("203.0.113.7"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.field("x-request-id").as_deref(), Some("abc"));
    assert!(balancer.access_logged("203.0.113.7").contains("abc"));
}

#[test]
fn hop_by_hop_fields_end_here_both_ways() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
          X-Stays: yes\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    });
    let balancer = before(&backend);
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: X-Private\r\nX-Private: 1\r\n\
                   Keep-Alive: timeout=5\r\nTE: gzip, trailers\r\nProxy: http://evil\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    for gone in ["x-hop", "keep-alive"] {
        assert_eq!(answer.field(gone), None, "{}", answer.head);
    }
    assert_eq!(answer.field("x-stays").as_deref(), Some("yes"));

    let seen = &backend.seen()[0];
    for gone in ["x-private", "keep-alive", "proxy"] {
        assert_eq!(seen.field(gone), None, "{}", seen.head);
    }
    assert_eq!(seen.field("te").as_deref(), Some("trailers"));
}

#[test]
fn the_path_is_forwarded_in_normal_form_and_the_query_untouched() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    Client::connect(balancer.http).send(get("/a/./%62/../c%2fd?x=%2e%2E//")).answer();
    assert!(
        backend.seen()[0].head.starts_with("GET /a/c%2Fd?x=%2e%2E// "),
        "{}",
        backend.seen()[0].head
    );
}

#[test]
fn an_absolute_target_is_forwarded_in_origin_form() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let request = "GET http://shop.example/x?y HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    Client::connect(balancer.http).send(request).answer();
    assert!(backend.seen()[0].head.starts_with("GET /x?y HTTP/1.1\r\n"));
}

#[test]
fn an_http_1_0_client_is_served_and_the_replica_spoken_to_in_1_1() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()
    });
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    let answer = client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").answer();
    assert_eq!(answer.field("transfer-encoding"), None, "{}", answer.head);
    assert_eq!(answer.body, b"abc");
    assert!(backend.seen()[0].head.starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn the_access_log_names_the_replica_and_its_address() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    Client::connect(balancer.http).send(get("/logged?a=b")).answer();
    let line = balancer.access_logged("/logged?a=b");
    assert!(line.contains(&format!("upstream={}", backend.address)), "{line}");
    assert!(line.contains("\" 200 2 "), "{line}");
}

#[test]
fn an_http_1_0_request_without_a_host_reaches_the_replica_with_one() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let answer = Client::connect(balancer.http).send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(answer.status, 200);
    assert_eq!(backend.seen()[0].field("host"), Some(backend.address.to_string()));
}

#[test]
fn trailers_cannot_say_who_the_client_is() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Forwarded-For, X-Sum\r\n\r\n\
                   0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 1\r\n\r\n";
    Client::connect(balancer.http).send(request).answer();
    let body = String::from_utf8(backend.seen()[0].body.clone()).unwrap().to_lowercase();
    assert!(body.contains("x-sum: 1") && !body.contains("6.6.6.6"), "{body}");
}
