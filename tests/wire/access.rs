//! Which clients may pass.

use super::{Backend, Client, before_with, configured, get, ok};

#[test]
fn who_may_not_pass_gets_403_and_reaches_no_replica() {
    for (labels, status) in [
        (r#"allow = "127.0.0.0/8""#, 200),
        (r#"allow = "10.0.0.0/8,192.0.2.1""#, 403),
        (r#"deny = "127.0.0.1""#, 403),
        (r#"deny = "10.0.0.0/8""#, 200),
        ("allow = \"127.0.0.0/8\"\ndeny = \"127.0.0.1\"", 403),
        (r#"allow = "::ffff:127.0.0.0/104""#, 200),
        // A list that cannot be read opens nothing.
        (r#"allow = "127.0.0.0/8,office""#, 503),
        (r#"deny = "10.0.0.0/64""#, 503),
    ] {
        let backends = [Backend::answering(|_| ok("in"))];
        let balancer = before_with(&backends, labels);
        let answer = Client::connect(balancer.http).send(get("/")).answer();
        assert_eq!(answer.status, status, "{labels}");
        assert_eq!(backends[0].seen().len(), usize::from(status == 200), "{labels}");
        if status == 403 {
            balancer.access_logged("forbidden");
        }
    }
}

#[test]
fn the_client_is_whom_a_trusted_proxy_names_and_nobody_else_does() {
    for (trusted, named, status) in [
        ("127.0.0.1", "203.0.113.7", 200),
        ("127.0.0.1", "::ffff:203.0.113.7", 200),
        ("127.0.0.1", "198.51.100.1", 403),
        ("10.0.0.0/8", "203.0.113.7", 403),
    ] {
        let backends = [Backend::answering(|_| ok("in"))];
        let settings = format!(
            "[pools.web]\nservers = [\"{}\"]\nallow = \"203.0.113.0/24\"\n",
            backends[0].address
        );
        let balancer = configured(&settings, &["--trusted-proxies", trusted], &backends);
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {named}\r\n\r\n");
        let answer = Client::connect(balancer.http).send(request).answer();
        assert_eq!(answer.status, status, "{trusted} says {named}");
    }
}
