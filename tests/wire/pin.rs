//! Requests that name their replica.

use std::collections::BTreeSet;

use super::leaving::{Stage, State};
use super::{Backend, Client, before_with, ok};

const PINS: [(&str, &str); 2] = [("lb.pin.header", "App"), ("lb.pin.cookie", "app")];

#[test]
fn a_header_or_a_cookie_names_the_replica() {
    let stage = Stage::set(&["app1", "app2", "app3"], &PINS);
    for fields in ["app: app2", "APP: App2", "Cookie: x=1; app=app2", "Cookie: app=\"app2\""] {
        assert_eq!(met(&stage, fields), ["app2"], "{fields}");
    }
    for fields in ["app: nobody", "app: app", "Cookie: app=", "Cookie: App=app2", "X-App: app2"] {
        assert_eq!(met(&stage, fields), ["app1", "app2", "app3"], "{fields}");
    }
    assert_eq!(met(&stage, "app: app1\r\nCookie: app=app2"), ["app1"], "the header counts first");
    assert_eq!(met(&stage, "app: nobody\r\nCookie: app=app2"), ["app2"]);
    let seen = stage.backend("app2").seen();
    assert!(seen.iter().any(|it| it.field("app").is_some()), "the replica sees it too");
}

#[test]
fn a_service_is_balanced_within_and_a_host_name_is_known_by_inspection() {
    let stage = Stage::with(&["a", "b", "c"], &PINS, |name, container| {
        let service = if name == "c" { "db" } else { "shop" };
        container["Labels"]["com.docker.compose.service"] = service.into();
        container["Inspect"] = serde_json::json!({"Config": {"Hostname": format!("Host-{name}")}});
    });
    assert_eq!(met(&stage, "app: shop"), ["a", "b"]);
    assert_eq!(met(&stage, "app: db"), ["c"]);
    super::wait_for(|| (met(&stage, "app: HOST-B") == ["b"]).then_some(()));
    assert_eq!(met(&stage, "app: host-a"), ["a"]);
}

#[test]
fn who_is_named_and_not_ready_is_passed_over() {
    let stage = Stage::set(&["app1", "app2", "app3"], &PINS);
    assert_eq!(met(&stage, "app: app2"), ["app2"]);
    stage.happens("app2", "kill");
    stage.released("app2", State::Draining);
    assert_eq!(met(&stage, "app: app2"), ["app1", "app3"]);
}

#[test]
fn after_a_failure_of_the_named_one_the_others_are_tried() {
    let mut backends: Vec<_> = (0..2).map(|_| Backend::answering(|_| ok("well"))).collect();
    backends.push(Backend::scripted(|_, _| false));
    let balancer = before_with(&backends, "pin.header = \"app\"\n");
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\napp: {}\r\n\r\n", backends[2].address);
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "well"));
    assert_eq!(backends[2].seen().len(), 1, "it was asked first");
}

#[test]
fn a_weight_of_0_leaves_a_replica_to_those_who_name_it() {
    let stage = Stage::with(&["app1", "app2"], &PINS, |name, container| {
        container["Labels"]["lb.weight"] = if name == "app2" { "0" } else { "1" }.into();
    });
    assert_eq!(met(&stage, "app: nobody"), ["app1"]);
    assert_eq!(met(&stage, "app: app2"), ["app2"]);
}

/// Who answers requests with these fields.
fn met(stage: &Stage, fields: &str) -> Vec<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n\r\n");
    let mut client = Client::connect(stage.balancer.http);
    let met: BTreeSet<_> = (0..6).map(|_| client.send(&request).answer().text()).collect();
    met.into_iter().collect()
}
