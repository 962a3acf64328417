//! compose/pin: a request may name its replica by header or cookie.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};

use crate::support::engine::Engine;
use crate::support::http::{Answer, get};
use crate::support::stack::Stack;

#[test]
fn a_header_or_a_cookie_chooses_the_application_and_all_else_takes_turns() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::start(&engine, "pin/docker-compose.yml", &[], Vec::new());
    stack.answered_by("/", &["app1", "app2", "app3"]);

    let mut shares = BTreeMap::new();
    for _ in 0..9 {
        *shares.entry(name(&ask(&stack, "/", &[]))).or_insert(0) += 1;
    }
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [3, 3, 3], "{shares:?}");

    for _ in 0..6 {
        assert_eq!(name(&ask(&stack, "/", &[("app", "app2")])), "app2");
        assert_eq!(name(&ask(&stack, "/", &[("Cookie", "theme=dark; app=app3")])), "app3");
    }
    let unknown = [("app", "nobody")];
    let others: BTreeSet<_> = (0..6).map(|_| name(&ask(&stack, "/", &unknown))).collect();
    assert_eq!(others.len(), 3, "{others:?}");

    stack.tell(&["stop", "-t", "1", "app2"]);
    let without: BTreeSet<_> =
        (0..6).map(|_| name(&ask(&stack, "/", &[("app", "app2")]))).collect();
    assert_eq!(without, BTreeSet::from(["app1".to_owned(), "app3".to_owned()]));
}

#[test]
fn the_applications_see_who_asks_for_what_and_their_redirects_are_untouched() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::start(&engine, "pin/docker-compose.yml", &[], Vec::new());
    stack.answered_by("/", &["app1", "app2", "app3"]);

    let seen = ask(&stack, "/cart", &[("Host", "shop.example.com")]).body.to_ascii_lowercase();
    let value = |field: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix(&format!("{field}: ")));
        line.map(str::to_owned).expect(&seen)
    };
    assert_eq!(value("host"), "shop.example.com");
    assert_eq!(value("x-forwarded-host"), "shop.example.com");
    assert_eq!(value("x-real-ip"), value("x-forwarded-for"));
    assert!(value("x-real-ip").parse::<std::net::IpAddr>().is_ok(), "{seen}");

    for location in ["/login", "http://app1:3000/login", "https://elsewhere.example/"] {
        let path = format!("/?status=302&location={location}");
        let answer = get(stack.address("80"), &path, &[]).unwrap();
        assert_eq!((answer.status, answer.field("location")), (302, Some(location)));
    }

    for app in ["app1", "app2", "app3"] {
        for id in stack.containers(app) {
            assert_eq!(engine.docker(&["port", &id]), "", "{app} publishes a port");
        }
    }
    let lb = &stack.containers("lb")[0];
    let policy = engine.docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", lb]);
    assert_eq!(policy, "unless-stopped");
    stack.tell(&["restart", "-t", "5", "lb"]);
    stack.answered_by("/", &["app1", "app2", "app3"]);
}

fn ask(stack: &Stack, path: &str, fields: &[(&str, &str)]) -> Answer {
    let answer = get(stack.address("80"), path, fields).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn name(answer: &Answer) -> String {
    answer.host_name().map(str::to_owned).unwrap_or_else(|| panic!("{answer:?}"))
}
