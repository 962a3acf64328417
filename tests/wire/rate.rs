//! How many requests pass.

use super::{Backend, Client, before_with, get, ok};

#[test]
fn a_burst_passes_and_the_rest_is_told_when_to_come_back() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = before_with(&backends, "rate = '6/h'\n'rate.burst' = 3");
    let mut client = Client::connect(balancer.http);
    for _ in 0..3 {
        assert_eq!(client.send(get("/")).answer().status, 200);
    }
    let refused = client.send(get("/")).answer();
    assert_eq!(refused.status, 429);
    let seconds = |name| refused.field(name).unwrap().parse::<u32>().unwrap();
    assert!((590..=600).contains(&seconds("retry-after")), "{}", refused.head);
    assert_eq!(seconds("ratelimit-limit"), 3);
    assert_eq!(seconds("ratelimit-remaining"), 0);
    assert!((1790..=1800).contains(&seconds("ratelimit-reset")), "{}", refused.head);
    // The connection is as good as before.
    assert_eq!(client.send(get("/")).answer().status, 429);
    assert_eq!(backends[0].seen().len(), 3);
    assert!(balancer.access_logged(" 429 ").ends_with("end=rate_limited"));
}

#[test]
fn workers_share_a_limit_and_each_value_of_a_header_has_its_own() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let labels = "rate = '1/h'\n'rate.burst' = 4\n'rate.by' = 'header:X-Key'";
    let balancer = before_with(&backends, labels);
    // Each on a connection of its own, so that both workers have some.
    let passed = |field: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{field}\r\n");
        let ask = || Client::connect(balancer.http).send(&request).answer().status;
        (0..12).filter(|_| ask() == 200).count()
    };
    assert_eq!(passed("X-Key: a\r\n"), 4);
    assert_eq!(passed("X-Key: b\r\n"), 4);
    assert_eq!(passed(""), 4);
    assert_eq!(passed("X-Key: \r\n"), 0, "an empty value is none");
}

#[test]
fn a_client_behind_a_trusted_proxy_is_not_the_proxy() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let pools = [("web", &backends[..], "rate = '1/h'")];
    let balancer = super::before_pools(&pools, &["--trusted-proxies", "127.0.0.0/8"]);
    let status = |client: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: {client}\r\n\r\n");
        Client::connect(balancer.http).send(request).answer().status
    };
    assert_eq!([status("192.0.2.1"), status("192.0.2.1"), status("192.0.2.2")], [200, 429, 200]);
    assert_eq!(
        [status("2001:db8::1"), status("2001:db8::2"), status("2001:db9::1")],
        [200, 429, 200]
    );
}
