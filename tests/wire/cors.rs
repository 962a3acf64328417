//! Pages of other origins.

use super::{Backend, Client, before_with, ok};

const LISTED: &str = "cors = \"https://app.example,http://localhost:3000\"\n";

#[test]
fn a_preflight_is_answered_here() {
    let backends = [Backend::answering(|_| ok("reached"))];
    let labels = format!(
        "{LISTED}\"cors.methods\" = \"GET,PUT\"\n\"cors.headers\" = \"X-Token\"\n\
         \"cors.credentials\" = true\n\"cors.max_age\" = \"10m\""
    );
    let balancer = before_with(&backends, &labels);
    let mut client = Client::connect(balancer.http);
    let answer = client.send(preflight("https://app.example")).answer();
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some("https://app.example")),
        ("access-control-allow-methods", Some("GET,PUT")),
        ("access-control-allow-headers", Some("X-Token")),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-max-age", Some("600")),
        ("vary", Some("Origin")),
        ("content-length", None),
    ] {
        assert_eq!(answer.field(name).as_deref(), value, "{}", answer.head);
    }
    let answer = client.send(preflight("https://evil.example")).answer();
    assert_eq!(answer.status, 204);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    assert!(backends[0].seen().is_empty());
    balancer.access_logged("preflight");
}

#[test]
fn a_preflight_may_send_what_it_asks_for_unless_labels_say_otherwise() {
    let backends = [Backend::answering(|_| ok("reached"))];
    let balancer = before_with(&backends, "cors = \"*\"");
    let answer = Client::connect(balancer.http).send(preflight("https://any.example")).answer();
    for (name, value) in [
        ("access-control-allow-origin", Some("*")),
        ("access-control-allow-methods", Some("GET,HEAD,PUT,PATCH,POST,DELETE")),
        ("access-control-allow-headers", Some("x-token,content-type")),
        ("access-control-allow-credentials", None),
        ("access-control-max-age", None),
        ("vary", None),
    ] {
        assert_eq!(answer.field(name).as_deref(), value, "{}", answer.head);
    }
}

#[test]
fn answers_say_whose_pages_may_use_them_and_replicas_do_not() {
    let backends = [Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n\
          Access-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\nhi"
            .to_vec()
    })];
    let balancer = before_with(&backends, LISTED);
    for (origin, allowed) in [
        ("Origin: https://app.example\r\n", Some("https://app.example")),
        ("Origin: https://APP.example:443\r\n", Some("https://APP.example:443")),
        ("Origin: http://localhost:3000\r\n", Some("http://localhost:3000")),
        ("Origin: http://app.example\r\n", None),
        ("Origin: https://app.example.evil.example\r\n", None),
        ("Origin: null\r\n", None),
        ("Origin: https://app.example\r\nOrigin: https://evil.example\r\n", None),
        ("", None),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{origin}\r\n");
        let answer = Client::connect(balancer.http).send(request).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"), "{origin}");
        let given = answer.field("access-control-allow-origin");
        assert_eq!(given.as_deref(), allowed, "{origin}");
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        let head = answer.head.to_lowercase();
        assert!(head.contains("vary: accept\r\n") && head.contains("vary: origin\r\n"), "{head}");
    }
}

#[test]
fn an_options_request_that_is_no_preflight_reaches_the_replica() {
    let backends = [Backend::answering(|_| ok("reached"))];
    let balancer = before_with(&backends, LISTED);
    let request = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.text(), "reached");
    assert!(answer.field("access-control-allow-origin").is_some());
}

#[test]
fn any_origin_with_credentials_is_no_origin() {
    let backends = [Backend::answering(|_| ok("hi"))];
    let balancer = before_with(&backends, "cors = \"*\"\n\"cors.credentials\" = true");
    balancer.logged("browsers refuse both together");
    let request = "GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /x HTTP/1.1\r\nHost: api.example\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: x-token,content-type\r\n\r\n"
    )
}
