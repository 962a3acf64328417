//! What two parsers could read in two ways is refused, and the line is closed.

use super::{Backend, Balancer, Client, before, get, ok};

#[test]
fn ambiguous_requests_are_refused_and_never_reach_a_replica() {
    let backend = Backend::answering(|_| ok("reached"));
    let balancer = before(&backend);
    let cases: &[(&str, u16)] = &[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET http://other.example/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", 400),
    ];
    for (request, status) in cases {
        let mut client = Client::connect(balancer.http);
        let answer = client.try_send(request).try_send(get("/after")).answer();
        assert_eq!(answer.status, *status, "{request:?}\n{}", answer.head);
        assert_eq!(answer.field("connection").as_deref(), Some("close"), "{request:?}");
        assert!(client.rest().is_empty(), "{request:?}");
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
}

#[test]
fn connect_is_refused() {
    let backend = Backend::answering(|_| ok("reached"));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    let status = client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").answer().status;
    assert!((400..=599).contains(&status), "{status}");
    assert!(backend.seen().is_empty());
}

#[test]
fn a_head_may_have_a_hundred_fields_and_32_kib_and_no_more() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let with = |fields: usize, length: usize| {
        let fields: String =
            (0..fields).map(|n| format!("X-{n}: {}\r\n", "v".repeat(length))).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    for (request, status) in
        [(with(90, 10), 200), (with(110, 1), 431), (with(20, 1500), 200), (with(20, 2000), 431)]
    {
        assert_eq!(Client::connect(balancer.http).try_send(request).answer().status, status);
    }
}

#[test]
fn a_broken_chunk_ends_the_connection_and_is_not_passed_on_as_whole() {
    let backend = Backend::answering(|_| ok("whole"));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    client.try_send(
        "POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    );
    let text = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(!text.contains("whole"), "{text}");
    assert!(balancer.access_logged("/bad").contains("end=bad_chunk_size"));
    assert_still_ready(&balancer);
}

#[test]
fn a_client_that_breaks_off_its_upload_costs_the_replica_nothing() {
    let backend = Backend::answering(|_| ok("whole"));
    let balancer = before(&backend);
    for _ in 0..5 {
        let mut client = Client::connect(balancer.http);
        client.send("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    }
    assert!(balancer.access_logged("/half").contains("end=client_closed"));
    assert_still_ready(&balancer);
}

fn assert_still_ready(balancer: &Balancer) {
    let metrics = Client::connect(balancer.admin)
        .send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .answer()
        .text();
    let ready = r#"evenkeel_endpoints{pool="web",state="ready"} 1"#;
    assert!(metrics.contains(ready), "{metrics}");
    let failures = metrics.lines().find(|it| it.starts_with("evenkeel_endpoint_failures_total"));
    assert!(failures.is_some_and(|line| line.ends_with(" 0")), "{failures:?}");
}

#[test]
fn a_path_that_two_readers_would_route_apart_is_refused() {
    let (open, admin) = (Backend::answering(|_| ok("open")), Backend::answering(|_| ok("admin")));
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pools = format!(
        "[pools.open]\nservers = [\"{}\"]\n[pools.admin]\nservers = [\"{}\"]\npath = \"/admin\"\n",
        open.address, admin.address
    );
    std::fs::write(file.path(), pools).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    for backend in [&open, &admin] {
        balancer.logged(&backend.address.to_string());
    }
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(get("/admin/x")).answer().text(), "admin");
    assert_eq!(client.send(get("/x/../admin")).answer().text(), "admin");
    for path in ["/%2fadmin", "//admin", "/x%2f..%2fadmin", "\\admin", "/x/..%5cadmin"] {
        let answer = Client::connect(balancer.http).send(get(path)).answer();
        assert_eq!(answer.status, 400, "{path}");
    }
}

#[test]
fn an_unknown_host_is_404_without_a_word_about_the_inside() {
    let backend = Backend::answering(|_| ok("hi"));
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pools =
        format!("[pools.web]\nservers = [\"{}\"]\nhost = \"shop.example\"\n", backend.address);
    std::fs::write(file.path(), pools).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    let answer =
        client.send("GET / HTTP/1.1\r\nHost: other\r\nAccept: application/json\r\n\r\n").answer();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("request_id") && !answer.text().contains("127.0.0.1"));
    assert_eq!(client.send(get("/")).answer().status, 200, "the connection lives on");
}
