//! Label a service, scale it, watch traffic rebalance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::support::engine::Engine;
use crate::support::http::get;
use crate::support::stack::Stack;

#[test]
fn three_replicas_answer_in_turn_exactly() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 3);
    stack.settle(BOUND);

    let mut shares = BTreeMap::new();
    for host in stack.ask(9).unwrap() {
        *shares.entry(host).or_insert(0) += 1;
    }

    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [3, 3, 3], "{shares:?}");
}

#[test]
fn scaling_up_and_down_changes_who_answers() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    stack.settle(BOUND);

    stack.scale(5);
    assert_eq!(stack.settle(BOUND).len(), 5);

    stack.scale(2);
    assert_eq!(stack.settle(BOUND).len(), 2);
}

#[test]
fn a_backend_sees_the_host_and_the_client_as_they_are() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    stack.settle(BOUND);

    let forged = "203.0.113.9";
    let headers = [("Host", "shop.example.com"), ("X-Forwarded-For", forged)];
    let answer = get(stack.address("80"), "/cart?id=7", &headers).unwrap();

    assert_eq!(answer.status, 200);
    let seen = answer.body.to_ascii_lowercase();
    assert!(seen.contains("shop.example.com") && seen.contains("/cart?id=7"), "{seen}");
    assert!(!seen.contains(forged), "a stranger's word is passed on: {seen}");
    let (_, after) = seen.split_once("x-forwarded-for").expect(&seen);
    let client = after.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    assert!(client.take(WORDS).any(|word| word.parse::<IpAddr>().is_ok()), "{seen}");
}

#[test]
fn the_host_reads_readiness_and_status_without_a_token() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 3);
    stack.settle(BOUND);

    assert_eq!(stack.admin("/readyz").unwrap().status, 200);
    let status = stack.admin("/api/v1/status").unwrap();
    assert_eq!(status.status, 200);
    serde_json::from_str::<serde_json::Value>(&status.body).unwrap();
    for name in stack.names("api") {
        assert!(status.body.contains(&name), "{name} is not in {}", status.body);
    }
}

#[test]
fn the_balancer_gives_up_root_once_it_serves() {
    let Some(engine) = Engine::find() else { return };
    let stack = Stack::up(&engine, "quickstart.yml", 1);
    stack.settle(BOUND);

    let lb = &stack.containers("lb")[0];
    let processes = engine.docker(&["top", lb, "-eo", "pid,uid"]);

    let users: Vec<_> =
        processes.lines().skip(1).filter_map(|l| l.split_whitespace().nth(1)).collect();
    assert_eq!(users, ["65532"]);
}

/// Long enough for a loaded machine.
const BOUND: Duration = Duration::from_secs(30);
/// How far behind the header's name its value may stand.
const WORDS: usize = 12;
