//! Redirects, and paths that replicas see otherwise.

use super::{Backend, Client, before_with, configured, get, ok};

#[test]
fn a_redirect_repeats_what_its_target_asks_for() {
    let backends = [Backend::answering(|_| ok("reached"))];
    for (labels, target, status, location) in [
        (
            r#"redirect = "https://new.example{path}?{query}""#,
            "/a%7Eb/../c?d=e",
            308,
            "https://new.example/c?d=e",
        ),
        (r#"redirect = "https://new.example{path}?{query}""#, "/", 308, "https://new.example/"),
        (
            "redirect = \"{scheme}://{host}/new{path}\"\n\"redirect.status\" = 302",
            "/a?b",
            302,
            "http://shop.example/new/a",
        ),
        (r#"redirect = "{path}""#, "/a", 308, "/a"),
        (r#"redirect = "{path}""#, "//evil.example/x", 308, "/evil.example/x"),
        (r#"redirect = "{path}""#, "/\\evil.example", 308, "/%5Cevil.example"),
        (r#"redirect = "{path}""#, "/%0d%0aX-Evil:1", 308, "/%0D%0AX-Evil:1"),
        (r#"redirect = "{path}?{query}""#, "/?a=%0d%0aX-Evil:1", 308, "/?a=%0d%0aX-Evil:1"),
    ] {
        let balancer = before_with(&backends, labels);
        let answer = Client::connect(balancer.http).send(get(target)).answer();
        assert_eq!(answer.status, status, "{labels}");
        assert_eq!(answer.field("location").as_deref(), Some(location), "{target}");
        assert_eq!(answer.field("x-evil"), None, "{}", answer.head);
        assert_eq!(answer.field("content-length").as_deref(), Some("0"));
        balancer.access_logged("redirect");
    }
    assert!(backends[0].seen().is_empty());
}

#[test]
fn the_connection_goes_on_after_a_redirect_with_a_body() {
    let backends = [Backend::answering(|_| ok("reached"))];
    let balancer = before_with(&backends, r#"redirect = "/new""#);
    let mut client = Client::connect(balancer.http);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for _ in 0..2 {
        assert_eq!(client.send(post).answer().status, 308);
    }
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(client.send(head).answer_to_head().field("location").as_deref(), Some("/new"));
}

#[test]
fn plain_http_is_sent_to_the_same_address_by_https() {
    let backends = [Backend::answering(|_| ok("reached"))];
    let pool =
        format!("[pools.web]\nservers = [\"{}\"]\nredirect_https = true\n", backends[0].address);
    for (flags, host, location) in [
        (&[][..], "shop.example:8080", "https://shop.example/a?b=c"),
        (&["--https-public-port", "8443"], "shop.example", "https://shop.example:8443/a?b=c"),
        (&[], "[::1]:80", "https://[::1]/a?b=c"),
    ] {
        let balancer = configured(&pool, flags, &backends);
        // A stranger's word changes nothing.
        let request = format!(
            "POST /a?b=c HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = Client::connect(balancer.http).send(request).answer();
        assert_eq!((answer.status, answer.field("location").as_deref()), (308, Some(location)));
    }
    assert!(backends[0].seen().is_empty());

    let balancer = configured(&pool, &["--trusted-proxies", "127.0.0.1"], &backends);
    for (proto, status) in [("https", 200), ("http", 308), ("wss", 200)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
        assert_eq!(Client::connect(balancer.http).send(request).answer().status, status, "{proto}");
    }
    // Where there is no host, there is nowhere to go.
    let answer = Client::connect(balancer.http).send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(answer.status, 400);
}

#[test]
fn prefixes_are_removed_and_added_on_the_way_to_the_replica() {
    for (labels, target, seen, prefix) in [
        ("path = \"/api\"\nstrip_prefix = true", "/api/x?q=1", "/x?q=1", Some("/api")),
        ("path = \"/api\"\nstrip_prefix = true", "/api", "/", Some("/api")),
        ("path = \"/api\"\nstrip_prefix = true", "/api?q", "/?q", Some("/api")),
        ("path = \"/api\"\nstrip_prefix = true", "/api//evil/x", "/evil/x", Some("/api")),
        ("path = \"/api\"\nstrip_prefix = true", "/%61pi/a%2Fb", "/a%2Fb", Some("/api")),
        ("strip_prefix = \"/a,/a/b\"", "/a/b/c", "/c", Some("/a/b")),
        ("strip_prefix = \"/a\"", "/ab", "/ab", None),
        ("add_prefix = \"/v1\"", "/x?q", "/v1/x?q", None),
        ("strip_prefix = \"/a\"\nadd_prefix = \"/v1\"", "/a/x", "/v1/x", Some("/a")),
    ] {
        let backends = [Backend::answering(|_| ok("hi"))];
        let balancer = before_with(&backends, labels);
        // A stranger's prefix is dropped.
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\n\r\n");
        assert_eq!(Client::connect(balancer.http).send(request).answer().status, 200, "{target}");
        let request = &backends[0].seen()[0];
        assert!(request.head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{}", request.head);
        assert_eq!(request.field("x-forwarded-prefix").as_deref(), prefix, "{labels}");
        balancer.access_logged(&format!("GET {target} "));
    }
}

#[test]
fn what_a_trusted_proxy_has_removed_stands_before_what_we_remove() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let settings =
        format!("[pools.web]\nservers = [\"{}\"]\nstrip_prefix = \"/api\"\n", backends[0].address);
    let balancer = configured(&settings, &["--trusted-proxies", "127.0.0.1"], &backends);
    let request = "GET /api/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /outer/\r\n\r\n";
    Client::connect(balancer.http).send(request).answer();
    assert_eq!(backends[0].seen()[0].field("x-forwarded-prefix").as_deref(), Some("/outer/api"));
}

#[test]
fn redirects_of_the_replica_are_untouched() {
    let location = "http://127.0.0.1:9999/login?next=/api/x";
    let backends = [Backend::answering(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into()
    })];
    let balancer = before_with(&backends, "path = \"/api\"\nstrip_prefix = true");
    let answer = Client::connect(balancer.http).send(get("/api/x")).answer();
    assert_eq!(answer.field("location").as_deref(), Some(location));
}
