//! compose/sticky: visitors that keep their replica, by address and by cookie.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::engine::Engine;
use crate::support::http::{Answer, get};
use crate::support::stack::Stack;

#[test]
fn a_visitor_keeps_its_replica_of_the_site_and_the_api_takes_turns() {
    let Some(engine) = Engine::find() else { return };
    let stack = start(&engine);
    let names = |service: &str| stack.host_names(service);

    let visits = |visitor: &str| {
        let from = [("X-Forwarded-For", visitor)];
        let seen: BTreeSet<_> = (0..3).map(|_| name(&ask(&stack, "/", &from))).collect();
        assert_eq!(seen.len(), 1, "{visitor} met {seen:?}");
        seen.into_iter().next().unwrap()
    };
    let met: BTreeSet<_> = (1..=20).map(|n| visits(&format!("203.0.113.{n}"))).collect();
    assert_eq!(met, names("site"), "every replica has its visitors");

    for path in ["/api/student", "/api/student/"] {
        let mut shares = BTreeMap::new();
        for _ in 0..9 {
            *shares.entry(name(&ask(&stack, path, &[]))).or_insert(0) += 1;
        }
        assert!(shares.values().all(|&share| share == 3), "{path}: {shares:?}");
        assert_eq!(shares.into_keys().collect::<BTreeSet<_>>(), names("student"));
    }
    for path in ["/api/student/7", "/api/students", "/api"] {
        assert!(names("site").contains(&name(&ask(&stack, path, &[]))), "{path}");
    }

    let log = stack.logs();
    for replica in stack.names("student") {
        assert!(log.contains(&format!("replica={replica}")), "{replica} is not in:\n{log}");
    }
    assert!(log.contains("upstream="), "{log}");
}

#[test]
fn a_cookie_keeps_its_replica_until_that_leaves() {
    let Some(engine) = Engine::find() else { return };
    let stack = start(&engine);

    let first = ask(&stack, "/shop", &[]);
    let set = first.field("set-cookie").unwrap().to_owned();
    for attribute in ["Path=/", "HttpOnly", "SameSite=Lax"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = set.split(';').next().unwrap().to_owned();
    let mine = name(&first);
    let returns = || ask(&stack, "/shop", &[("Cookie", &cookie)]);
    for _ in 0..6 {
        let answer = returns();
        assert_eq!((name(&answer), answer.field("set-cookie")), (mine.clone(), None));
    }

    stack.start_all(&[("site", 3), ("student", 3), ("shop", 4)]);
    wait_for_all(&stack, "/shop", "shop");
    assert_eq!(name(&returns()), mine, "the pool has grown");

    let forged = format!("{}AAAA", &cookie[..cookie.len() - 4]);
    let answers: Vec<_> = (0..8).map(|_| ask(&stack, "/shop", &[("Cookie", &forged)])).collect();
    assert!(answers.iter().all(|answer| answer.field("set-cookie").is_some()));
    assert!(answers.iter().map(name).collect::<BTreeSet<_>>().len() > 1, "balanced as new");

    let container = stack.containers("shop").into_iter().find(|id| id.starts_with(&mine)).unwrap();
    engine.docker(&["kill", &container]);
    let moved = returns();
    assert_ne!(name(&moved), mine);
    let renewed = moved.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for _ in 0..4 {
        assert_eq!(name(&ask(&stack, "/shop", &[("Cookie", &renewed)])), name(&moved));
    }
}

#[test]
fn the_same_pools_stand_in_variables_and_a_file() {
    let Some(engine) = Engine::find() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/sticky/without-docker.yml");
    let stack = Stack::of(&engine, vec![file], trusting());
    stack.start_all(&[]);
    stack.answered_by("/api/student", &["student1", "student2"]);
    stack.answered_by("/api/student/", &["student1", "student2"]);

    let visit = |visitor: u8| {
        let visitor = format!("203.0.113.{visitor}");
        name(&ask(&stack, "/", &[("X-Forwarded-For", &visitor)]))
    };
    let met: BTreeSet<_> = (1..=20).map(visit).collect();
    assert_eq!(met, BTreeSet::from(["site1".to_owned(), "site2".to_owned()]));
    assert!((1..=20).all(|visitor| visit(visitor) == visit(visitor)));
    assert!(
        visit(1).starts_with("site")
            && name(&ask(&stack, "/api/student/7", &[])).starts_with("site")
    );
}

fn start(engine: &Engine) -> Stack {
    let scale = [("site", 3), ("student", 3), ("shop", 3)];
    let stack = Stack::start(engine, "sticky/docker-compose.yml", &scale, trusting());
    wait_for_all(&stack, "/api/student", "student");
    wait_for_all(&stack, "/shop", "shop");
    stack.wait_until_ready(3 + 3 + 3);
    stack
}

fn wait_for_all(stack: &Stack, path: &str, service: &str) {
    let names = stack.host_names(service);
    stack.answered_by(path, &names.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The test speaks for many visitors, as a proxy does.
fn trusting() -> Vec<(&'static str, String)> {
    vec![("TRUSTED_PROXIES", "0.0.0.0/0".to_owned())]
}

fn ask(stack: &Stack, path: &str, fields: &[(&str, &str)]) -> Answer {
    let answer = get(stack.address("80"), path, fields).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn name(answer: &Answer) -> String {
    answer.host_name().map(str::to_owned).unwrap_or_else(|| panic!("{answer:?}"))
}
