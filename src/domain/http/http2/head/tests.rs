//! Heads that are taken, and those that are refused.

use super::*;
use proptest::prelude::*;

#[test]
fn a_request_tells_where_its_body_ends() {
    for (fields, ended, body) in [
        (&[][..], true, Body::None),
        (&[("content-length", "0")], true, Body::None),
        (&[], false, Body::Chunked),
        (&[("content-length", "7")], false, Body::Length(7)),
        (&[("content-length", "7"), ("content-length", "7")], false, Body::Length(7)),
    ] {
        let facts = read("POST", "https://a.example/x", fields, None, ended).unwrap();
        assert_eq!(facts.body, body, "{fields:?}");
        assert!(!facts.upgrade && !facts.version10 && !facts.expect_continue);
    }
}

#[test]
fn a_client_that_waits_for_100_has_something_to_send() {
    let expects = &[("expect", "100-Continue")][..];
    for (ended, waits) in [(false, true), (true, false)] {
        let facts = read("PUT", "https://a.example/x", expects, None, ended).unwrap();
        assert_eq!(facts.expect_continue, waits);
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let length = "content-length";
    for (method, uri, fields, refusal) in [
        ("GET", "https://user@a.example/", &[][..], Refusal::HostMalformed),
        ("GET", "https://a.example,b.example/", &[], Refusal::HostMalformed),
        ("GET", "https://a.example/", &[("host", "b.example")], Refusal::HostMismatch),
        ("GET", "https://a.example/", &[("host", "a.example:80")], Refusal::HostMismatch),
        ("GET", "/", &[], Refusal::HostMissing),
        ("GET", "/", &[("host", "a"), ("host", "a")], Refusal::HostRepeated),
        ("GET", "/", &[("host", "a b")], Refusal::HostMalformed),
        ("GET", "ftp://a.example/", &[], Refusal::Target),
        ("GET", "*", &[("host", "a")], Refusal::Target),
        ("GET", "https://a.example/", &[("x", " v")], Refusal::FieldValue),
        ("GET", "https://a.example/", &[("x", "v\t")], Refusal::FieldValue),
        ("GET", "https://a.example/", &[(length, "1,1")], Refusal::LengthMalformed),
        ("GET", "https://a.example/", &[(length, "1"), (length, "2")], Refusal::LengthRepeated),
        ("CONNECT", "a.example:443", &[], Refusal::Connect),
    ] {
        let judged = read(method, uri, fields, None, false);
        assert_eq!(judged, Err(refusal), "{method} {uri} {fields:?}");
    }
}

#[test]
fn host_may_say_what_the_authority_says() {
    for (uri, host) in [
        ("https://A.example/", "a.example"),
        ("https://a.example/", "a.example:443"),
        ("http://a.example:80/", "a.example"),
        ("/", "a.example:8080"),
    ] {
        assert!(read("GET", uri, &[("host", host)], None, true).is_ok(), "{uri} {host}");
    }
}

#[test]
fn a_server_as_a_whole_may_be_asked_for_its_options() {
    assert!(read("OPTIONS", "*", &[("host", "a")], None, true).is_ok());
}

#[test]
fn only_a_websocket_becomes_a_tunnel() {
    let ask = |protocol| read("CONNECT", "https://a.example/ws", &[], protocol, false);
    let facts = ask(Some("websocket")).unwrap();
    assert!(facts.upgrade);
    assert_eq!(facts.body, Body::None, "what follows is the tunnel's");
    for protocol in [None, Some("connect-udp"), Some("")] {
        assert_eq!(ask(protocol), Err(Refusal::Connect), "{protocol:?}");
    }
}

#[test]
fn each_crumb_of_a_cookie_counts_as_a_field() {
    let crumbs = |count| vec![("cookie", "a=b"); count];
    let ask = |count| read("GET", "https://a.example/", &crumbs(count), None, true);
    assert!(ask(FIELDS_MAX).is_ok());
    assert_eq!(ask(FIELDS_MAX + 1), Err(Refusal::FieldsTooMany));
}

/// The whole of it: what stands in the pseudo-fields too.
#[test]
fn a_head_has_a_bound_in_all() {
    // `:method: GET`, `:scheme: https`, `:authority: a`, `:path: /` and `x`.
    let rest = (7 + 3 + 32) + (7 + 5 + 32) + (10 + 1 + 32) + (5 + 1 + 32) + (1 + 32);
    let value = "v".repeat(HEAD_BYTES_MAX - rest);
    let ask = |value: &str, path: &str| {
        read("GET", &format!("https://a/{path}"), &[("x", value)], None, true)
    };
    assert!(ask(&value, "").is_ok());
    assert_eq!(ask(&format!("{value}v"), ""), Err(Refusal::HeadTooLarge));
    assert_eq!(ask(&value, "p"), Err(Refusal::HeadTooLarge));
}

proptest! {
    #[test]
    fn crumbs_become_one_cookie_in_their_order(
        crumbs in prop::collection::vec("[a-z]{1,4}=[a-z ;\u{e9}]{0,4}[a-z]", 0..8),
    ) {
        let mut headers = HeaderMap::new();
        for crumb in &crumbs {
            headers.append(COOKIE, HeaderValue::from_bytes(crumb.as_bytes()).unwrap());
        }
        let joined = (crumbs.len() > 1).then(|| crumbs.join("; "));
        let cookie = cookie(&headers);
        prop_assert_eq!(cookie.as_ref().map(HeaderValue::as_bytes), joined.as_ref().map(|it| it.as_bytes()));
    }
}

fn read(
    method: &str,
    uri: &str,
    fields: &[(&'static str, &str)],
    protocol: Option<&str>,
    ended: bool,
) -> Result<HeadFacts, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let uri: Uri = uri.parse().unwrap();
    judge(&Head { method: &method, uri: &uri, headers: &headers, protocol, ended })
}
