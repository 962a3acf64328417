//! A service that decides.

use super::{Backend, Balancer, Client, before_pools, get, ok};

/// Says yes to who has the cookie, and sends all others to log in.
fn decider() -> Backend {
    Backend::answering(|seen| {
        if seen.field("cookie").as_deref() == Some("session=good") {
            b"HTTP/1.1 200 OK\r\nRemote-User: ann\r\nRemote-Groups: a\r\nRemote-Groups: b\r\n\
              X-Other: 1\r\nContent-Length: 2\r\n\r\nok"
                .to_vec()
        } else {
            b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nSet-Cookie: n=1\r\n\
              X-Internal: 1\r\nContent-Encoding: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nlog in"
                .to_vec()
        }
    })
}

fn guarded(decider: &Backend, backends: &[Backend]) -> Balancer {
    let labels = format!(
        "path = '/'\n'auth.forward' = 'http://{}/verify?x=1'\n\
         'auth.forward.headers' = 'Remote-User,Remote-Groups,Remote-Name'",
        decider.address
    );
    let other = Backend::answering(|_| ok("free"));
    before_pools(&[("web", backends, &labels), ("free", &[other], "path = '/free'")], &[])
}

#[test]
fn the_service_learns_what_is_asked_for_but_not_the_body() {
    let (decider, backends) = (decider(), [Backend::answering(|_| ok("hi"))]);
    let balancer = guarded(&decider, &backends);
    let request = "POST /a/../b?q=1 HTTP/1.1\r\nHost: shop.example\r\nCookie: session=good\r\n\
                   X-Forwarded-Uri: /forged\r\nX-Forwarded-Method: PUT\r\nContent-Length: 4\r\n\
                   If-None-Match: *\r\nRange: bytes=0-1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nbody";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    let asked = &decider.seen()[0];
    assert!(asked.head.starts_with("GET /verify?x=1 HTTP/1.1\r\n"), "{}", asked.head);
    assert!(asked.body.is_empty());
    for (field, value) in [
        ("host", Some(decider.address.to_string().as_str())),
        ("x-forwarded-method", Some("POST")),
        ("x-forwarded-uri", Some("/b?q=1")),
        ("x-forwarded-host", Some("shop.example")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("cookie", Some("session=good")),
        ("content-length", None),
        ("transfer-encoding", None),
        ("x-hop", None),
        ("if-none-match", None),
        ("range", None),
    ] {
        assert_eq!(asked.field(field).as_deref(), value, "{field}");
    }
    assert_eq!(backends[0].seen()[0].body, b"body");
}

#[test]
fn headers_of_its_yes_replace_those_that_the_client_has_forged() {
    let (decider, backends) = (decider(), [Backend::answering(|_| ok("hi"))]);
    let balancer = guarded(&decider, &backends);
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\nCookie: session=good\r\n\
                   Remote-User: root\r\nRemote_User: root\r\nremote-name: root\r\n\r\n";
    let mut client = Client::connect(balancer.http);
    for _ in 0..3 {
        client.send(request).answer();
    }
    assert!(!decider.seen()[0].head.contains("root"), "{}", decider.seen()[0].head);
    let seen = &backends[0].seen()[0];
    assert_eq!(seen.field("remote-user").as_deref(), Some("ann"));
    assert_eq!(seen.field("remote-groups").as_deref(), Some("a, b"));
    assert!(!seen.head.contains("root") && !seen.head.to_lowercase().contains("x-other"));
    let connections: Vec<_> = decider.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0], "its connection is kept");
}

#[test]
fn trailers_forge_no_header_of_its_yes() {
    let (decider, backends) = (decider(), [Backend::answering(|_| ok("hi"))]);
    let balancer = guarded(&decider, &backends);
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n";
    let body = "2\r\nhi\r\n0\r\nRemote-User: root\r\nRemote_Groups: root\r\n\r\n";
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        let request = format!("{head}Cookie: session=good\r\n\r\n{body}");
        assert_eq!(client.send(request).answer().text(), "hi");
    }
    for seen in backends[0].seen() {
        let text = String::from_utf8_lossy(&seen.body).into_owned() + &seen.head;
        assert!(text.contains("hi") && !text.contains("root"), "{text}");
    }
}

#[test]
fn its_no_is_what_the_client_gets() {
    let (decider, backends) = (decider(), [Backend::answering(|_| ok("hi"))]);
    let balancer = guarded(&decider, &backends);
    let mut client = Client::connect(balancer.http);
    let answer = client.send(get("/")).answer();
    assert_eq!((answer.status, answer.text().as_str()), (302, "log in"));
    for (field, value) in [
        ("location", Some("https://login.example/")),
        ("set-cookie", Some("n=1")),
        ("content-type", Some("text/plain")),
        ("content-encoding", Some("x")),
        ("x-internal", None),
    ] {
        assert_eq!(answer.field(field).as_deref(), value, "{field}");
    }
    let head = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer_to_head();
    assert_eq!(head.status, 302);
    assert_eq!(client.send(get("/")).answer().status, 302);
    assert!(backends[0].seen().is_empty());
    assert!(balancer.access_logged(" 302 ").ends_with("end=auth_refused"));
}

#[test]
fn a_service_that_is_down_or_fails_closes_its_own_route_alone() {
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing =
        Backend::answering(|_| b"HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbug".to_vec());
    let large = Backend::answering(|_| {
        let body = "x".repeat(64 * 1024 + 1);
        format!("HTTP/1.1 403 X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    for decider in [down, failing.address, large.address] {
        let backends = [Backend::answering(|_| ok("hi"))];
        let labels = format!("path = '/'\n'auth.forward' = 'http://{decider}/'");
        let other = Backend::answering(|_| ok("free"));
        let pools = [("web", &backends[..], labels.as_str()), ("free", &[other], "path = '/free'")];
        let balancer = before_pools(&pools, &[]);
        let mut client = Client::connect(balancer.http);
        let answer = client.send(get("/")).answer();
        assert_eq!(answer.status, 503);
        assert!(!answer.text().contains("bug"));
        assert_eq!(client.send(get("/free")).answer().text(), "free");
        assert!(backends[0].seen().is_empty());
        assert!(balancer.access_logged(" 503 ").ends_with("end=auth_unavailable"));
    }
}

#[test]
fn a_service_that_hangs_is_waited_for_five_seconds() {
    let hangs = Backend::scripted(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(30));
        false
    });
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = guarded(&hangs, &backends);
    let began = std::time::Instant::now();
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 503);
    let took = began.elapsed().as_millis();
    assert!((4900..8000).contains(&took), "{took} ms");
}

#[test]
fn a_connection_that_the_service_has_closed_costs_nobody_an_answer() {
    let decider = Backend::scripted(|_, stream| {
        let _ = std::io::Write::write_all(stream, b"HTTP/1.1 204 No Content\r\n\r\n");
        false
    });
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = guarded(&decider, &backends);
    let mut client = Client::connect(balancer.http);
    for _ in 0..20 {
        assert_eq!(client.send(get("/")).answer().status, 200);
    }
}

#[test]
fn a_question_that_comes_back_to_us_ends_there() {
    let backends = [Backend::answering(|_| ok("hi"))];
    // It answers by asking us, as a name that leads back to us would.
    let target = std::sync::Arc::new(std::sync::OnceLock::<std::net::SocketAddr>::new());
    let told = std::sync::Arc::clone(&target);
    let loops = Backend::answering(move |seen| {
        let mut client = Client::connect(*told.get().unwrap());
        let answer = client.send(&seen.head).answer();
        assert_eq!(answer.status, 503);
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let balancer = guarded(&loops, &backends);
    target.set(balancer.http).unwrap();
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 403);
    assert_eq!(loops.seen().len(), 1);
}
