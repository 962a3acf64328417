//! What becomes of heads on their way between HTTP/2 and HTTP/1.

use http::{Method, Request, Version};

use super::{ask, before, client, get, run, whole};
use crate::support::certificates::Authority;
use crate::wire::{Backend, before_pools, ok};

#[test]
fn a_replica_gets_the_request_as_http1_has_it() {
    let backend = Backend::answering(|_| ok("hello"));
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut request = get("/cart?x=1");
        for crumb in ["a=1", "b=2"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let response = ask(&client, request).await.await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert_eq!(whole(response).await.0, b"hello");
    });
    let seen = &backend.seen()[0];
    assert!(seen.head.starts_with("GET /cart?x=1 HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.field("host").as_deref(), Some("shop.example"));
    assert_eq!(seen.field("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(seen.field("te").as_deref(), Some("trailers"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(seen.field("x-forwarded-host").as_deref(), Some("shop.example"));
    let line = balancer.access_logged("/cart");
    for part in [
        "\"target\":\"/cart?x=1\"",
        "\"version\":\"HTTP/2.0\"",
        "\"host\":\"shop.example\"",
        "\"response_bytes\":5",
        "\"end\":\"ok\"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn fields_of_the_replicas_connection_end_there() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, x-hop\r\n\
          Keep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\n\
          Upgrade: h2c\r\nX-Kept: 1\r\n\r\nok"
            .to_vec()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let response = ask(&client, get("/")).await.await.unwrap();
        let mut names: Vec<_> = response.headers().keys().map(|it| it.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date", "x-kept"]);
    });
}

#[test]
fn an_answer_that_may_have_no_body_has_none() {
    let backend = Backend::answering(|seen| {
        let status = match seen.head.split(' ').nth(1).unwrap() {
            "/204" => "204 No Content\r\n",
            "/304" => "304 Not Modified\r\nContent-Length: 7\r\n",
            _ => "200 OK\r\nContent-Length: 7\r\n",
        };
        let body = if seen.head.starts_with("GET /200") { "content" } else { "" };
        format!("HTTP/1.1 {status}\r\n{body}").into_bytes()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        for (method, path, length, body) in [
            (Method::HEAD, "/200", Some("7"), ""),
            (Method::GET, "/204", None, ""),
            (Method::GET, "/304", Some("7"), ""),
            (Method::GET, "/200", Some("7"), "content"),
        ] {
            let mut request = get(path);
            *request.method_mut() = method.clone();
            let response = ask(&client, request).await.await.unwrap();
            let told = response.headers().get("content-length").map(|it| it.to_str().unwrap());
            assert_eq!(told, length, "{method} {path}");
            assert_eq!(response.body().is_end_stream(), body.is_empty(), "{method} {path}");
            assert_eq!(whole(response).await.0, body.as_bytes(), "{method} {path}");
        }
    });
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let backend = Backend::answering(|_| ok("never"));
    let balancer = before(&backend);
    let with = |name: &'static str, value: &str| {
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut crumbs = get("/");
    for _ in 0..101 {
        crumbs.headers_mut().append("cookie", "a=b".parse().unwrap());
    }
    let userinfo = Request::get("https://user@shop.example/").body(()).unwrap();
    let tunnel = Request::builder().method("CONNECT").uri("shop.example:443").body(()).unwrap();
    run(async {
        let client = client(&balancer).await;
        for (request, status, reason) in [
            (with("host", "other.example"), 400, "host_mismatch"),
            (with("x-odd", "value "), 400, "bad_field_value"),
            (userinfo, 400, "bad_host"),
            (crumbs, 431, "too_many_fields"),
            (tunnel, 501, "connect_refused"),
            (with("x-large", &"x".repeat(33 * 1024)), 431, "head_too_large"),
        ] {
            let response = ask(&client, request).await.await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{reason}");
            assert!(!response.headers().contains_key("connection"), "{reason}");
            whole(response).await;
            balancer.access_logged(&format!("\"end\":\"{reason}\""));
        }
    });
    assert!(backend.seen().is_empty());
}

#[test]
fn a_length_that_is_given_twice_is_passed_on_once() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut request = Request::post("https://shop.example/").body(()).unwrap();
        for _ in 0..2 {
            request.headers_mut().append("content-length", 4.into());
        }
        let (response, mut body) = client.clone().send_request(request, false).unwrap();
        body.send_data("sent".into(), true).unwrap();
        let response = response.await.unwrap();
        let lengths: Vec<_> = response.headers().get_all("content-length").iter().collect();
        assert_eq!(lengths, ["2"]);
        assert_eq!(whole(response).await.0, b"ok");
    });
    assert_eq!(backend.seen()[0].fields("content-length"), ["4"]);
    assert_eq!(backend.seen()[0].body, b"sent");
}

#[test]
fn a_misdirected_request_leaves_the_connection_to_those_that_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Authority::new("clients").pem()).unwrap();
    let (guarded, open) = ([Backend::answering(|_| ok(""))], [Backend::answering(|_| ok(""))]);
    let labels = "host = \"other.example\"\ntls = \"file\"\n'tls.client' = 'required'";
    let balancer = before_pools(
        &[("guarded", &guarded, labels), ("open", &open, "tls = \"file\"")],
        &["--https", "127.0.0.1:0", "--tls-client-ca", ca.to_str().unwrap()],
    );
    run(async {
        let client = client(&balancer).await;
        for (host, status) in [("shop", 200), ("other", 421), ("shop", 200), ("other", 421)] {
            let request = Request::get(format!("https://{host}.example/")).body(()).unwrap();
            let response = ask(&client, request).await.await.unwrap();
            assert_eq!(response.status(), status, "{host}");
            assert!(!response.headers().contains_key("connection"));
        }
    });
    assert!(guarded[0].seen().is_empty());
}
