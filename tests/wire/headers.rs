//! Header fields that labels set.

use super::{Backend, Client, before_with, configured, get, ok};

#[test]
fn labels_set_and_remove_fields_of_requests_and_answers() {
    let backend = Backend::answering(|request| ok(&request.head));
    let labels = r#"
        headers.request = { X-Env = "prod", X-Debug = "" }
        headers.response.X-Served-By = "us"
    "#;
    let balancer = before_with(&[backend], labels);
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Debug: 1\r\nX-Env: test\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    let seen = answer.text().to_ascii_lowercase();
    assert!(seen.contains("x-env: prod\r\n") && !seen.contains("x-debug"), "{seen}");
    assert_eq!(answer.field("x-served-by").as_deref(), Some("us"));
}

#[test]
fn the_host_that_a_replica_gets_can_be_set() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = before_with(&backends, r#"headers.request.Host = "inner.example:8080""#);
    Client::connect(balancer.http).send(get("/")).answer();
    let seen = &backends[0].seen()[0];
    assert_eq!(seen.field("host").as_deref(), Some("inner.example:8080"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some("shop.example"));
}

#[test]
fn the_usual_fields_are_added_where_the_replica_has_none() {
    let backends = [Backend::answering(|request| {
        let own = if request.head.contains("/own") { "X-Frame-Options: DENY\r\n" } else { "" };
        format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n").into()
    })];
    let labels = "security_headers = true\nheaders.response.X-XSS-Protection = \"\"";
    let balancer = before_with(&backends, labels);
    for (path, frame) in [("/", "SAMEORIGIN"), ("/own", "DENY")] {
        let answer = Client::connect(balancer.http).send(get(path)).answer();
        assert_eq!(answer.field("x-frame-options").as_deref(), Some(frame));
        assert_eq!(answer.head.to_lowercase().matches("x-frame-options").count(), 1);
        assert_eq!(answer.field("x-content-type-options").as_deref(), Some("nosniff"));
        let policy = answer.field("referrer-policy");
        assert_eq!(policy.as_deref(), Some("strict-origin-when-cross-origin"));
        assert_eq!(answer.field("x-xss-protection"), None, "a label has the last word");
    }
}

#[test]
fn answers_of_our_own_carry_the_fields_of_their_pool_too() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for (labels, status) in [("deny = \"127.0.0.1\"", 403), ("hold = \"0\"", 503)] {
        let settings = format!(
            "[pools.web]\nservers = [\"{gone}\"]\nsecurity_headers = true\n\
             cors = \"https://app.example\"\nheaders.response.X-Served-By = \"us\"\n{labels}\n"
        );
        let balancer = configured(&settings, &[], &[]);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n";
        // Until its pool is known, a request is held as if it had none.
        let answer = super::wait_for(|| {
            let answer = Client::connect(balancer.http).send(request).answer();
            (answer.status == status).then_some(answer)
        });
        assert_eq!(answer.field("x-frame-options").as_deref(), Some("SAMEORIGIN"));
        assert_eq!(answer.field("x-served-by").as_deref(), Some("us"));
        let origin = answer.field("access-control-allow-origin");
        assert_eq!(origin.as_deref(), Some("https://app.example"));
    }
}

#[test]
fn hsts_is_told_to_those_who_came_by_https() {
    let backends = [Backend::answering(|_| ok("hi"))];
    for (label, told) in [
        ("hsts = true", "max-age=31536000"),
        (r#"hsts = "max-age=60; includeSubDomains""#, "max-age=60; includeSubDomains"),
    ] {
        let settings = format!("[pools.web]\nservers = [\"{}\"]\n{label}\n", backends[0].address);
        let balancer = configured(&settings, &["--trusted-proxies", "127.0.0.1"], &backends);
        for (proto, expected) in [("https", Some(told)), ("http", None)] {
            let request =
                format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {proto}\r\n\r\n");
            let answer = Client::connect(balancer.http).send(request).answer();
            assert_eq!(answer.field("strict-transport-security").as_deref(), expected, "{proto}");
        }
    }
    let balancer = before_with(&backends, "hsts = true");
    let forged = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
    let answer = Client::connect(balancer.http).send(forged).answer();
    assert_eq!(answer.field("strict-transport-security"), None);
}
