//! Signals as Docker spells them, and lives as events and inspects count them.

use super::*;
use serde_json::json;

#[test]
fn stop_signals_are_read_in_every_spelling_docker_takes() {
    let table = [
        ("15", Some(15)),
        ("TERM", Some(15)),
        ("SIGTERM", Some(15)),
        ("sigquit", Some(3)),
        ("SIGWINCH", Some(28)),
        ("SIGRTMIN", Some(34)),
        ("SIGRTMIN+3", Some(37)),
        ("RTMAX-1", Some(63)),
        ("SIGRTMIN+99", None),
        ("0", None),
        ("65", None),
        ("SIGNONE", None),
        ("", None),
    ];
    for (written, expected) in table {
        assert_eq!(signal(written), expected, "{written}");
    }
}

#[test]
fn an_inspect_is_read_in_our_words() {
    let inspected = inspected(json!({
        "Created": "2024-01-02T03:04:05.123456789Z",
        "State": {"Status": "running", "StartedAt": "2024-01-02T03:04:06.5Z"},
        "Config": {"StopSignal": "SIGQUIT", "StopTimeout": 30, "Hostname": "app2",
                   "ExposedPorts": {"9000/tcp": {}, "53/udp": {}, "80/tcp": {}}},
    }));
    assert_eq!(
        inspected,
        Inspected {
            details: Details {
                stop_signal: 3,
                stop_timeout: Duration::from_secs(30),
                exposed: vec![80, 9000],
                created: Some(1_704_164_645_123_456_789),
                host_name: Some("app2".into()),
            },
            started_at: Some("2024-01-02T03:04:06.5Z".to_owned()),
        }
    );
}

#[test]
fn what_an_inspect_leaves_out_is_docker_s_default() {
    let inspected = inspected(json!({
        "State": {"StartedAt": "0001-01-01T00:00:00Z"},
        "Config": {"StopSignal": null, "StopTimeout": null, "ExposedPorts": null},
    }));
    assert_eq!(inspected, Inspected::default());
    assert_eq!(inspected.details.stop_signal, 15);
    assert_eq!(inspected.details.stop_timeout, Duration::from_secs(10));
}

#[test]
fn a_start_after_a_death_or_another_start_begins_another_life() {
    let mut ledger = ledger();
    assert!(!ledger.started(&c(), 1));
    assert_eq!(ledger.life("c"), 0);
    ledger.died("c", 2);
    assert_eq!(ledger.life("c"), 0);
    assert!(ledger.started(&c(), 3));
    assert_eq!(ledger.life("c"), 1);
    assert!(ledger.started(&c(), 5), "its death went unheard");
    assert_eq!((ledger.life("c"), ledger.began("c")), (2, Some(5)));
}

#[test]
fn a_death_that_is_heard_before_the_inspect_that_tells_of_its_life_still_counts() {
    for (died, another) in [("10:06", true), ("10:04", false)] {
        let mut ledger = ledger();
        learn(&mut ledger, "10:00");
        ledger.doubt("c");
        ledger.died("c", nanos_since_epoch(&time(died)).unwrap());
        assert!(learn(&mut ledger, "10:05"));
        assert_eq!(ledger.started(&c(), i64::MAX), another, "{died}");
    }
}

#[test]
fn a_start_that_no_event_told_of_is_seen_by_an_inspect() {
    let mut ledger = ledger();
    assert!(!learn(&mut ledger, "10:00"));
    ledger.doubt_all();
    assert!(!learn(&mut ledger, "10:00"));
    assert_eq!(ledger.life("c"), 0);
    ledger.doubt("c");
    assert!(learn(&mut ledger, "10:05"));
    assert_eq!(ledger.life("c"), 1);
}

#[test]
fn one_restart_counts_once_whoever_tells_of_it_first() {
    let mut ledger = ledger();
    learn(&mut ledger, "10:00");
    ledger.died("c", 0);
    ledger.started(&c(), 0);
    assert!(!learn(&mut ledger, "10:05"));
    assert_eq!(ledger.life("c"), 1);

    ledger.died("c", 0);
    ledger.doubt("c");
    assert!(learn(&mut ledger, "10:10"));
    ledger.started(&c(), 0);
    assert_eq!(ledger.life("c"), 2);
}

#[test]
fn an_inspect_from_before_a_start_says_nothing_of_the_new_life() {
    let mut ledger = ledger();
    learn(&mut ledger, "10:00");
    for already_asked_again in [false, true] {
        let lives = ledger.life("c");
        ledger.doubt("c");
        let late = ledger.next_wanted().unwrap();
        ledger.died("c", 0);
        ledger.started(&c(), 0);
        let asked = already_asked_again.then(|| ledger.next_wanted().unwrap());
        assert!(!ledger.learn(&late, started("10:00")));
        let asked = asked.unwrap_or_else(|| ledger.next_wanted().unwrap());
        assert!(!ledger.learn(&asked, started("10:05")));
        ledger.doubt("c");
        assert!(!learn(&mut ledger, "10:05"), "the late answer was not believed");
        assert_eq!(ledger.life("c"), lives + 1);
    }
}

#[test]
fn each_container_is_inspected_once_and_a_failure_is_tried_again_later() {
    let mut ledger = ledger();
    let ticket = ledger.next_wanted().unwrap();
    assert_eq!(&*ticket.id, "c");
    assert!(ledger.next_wanted().is_none());
    ledger.failed(&ticket);
    assert!(ledger.next_wanted().is_none());
    ledger.retry_failed();
    assert!(!learn(&mut ledger, "10:00"));
    ledger.retry_failed();
    assert!(ledger.next_wanted().is_none());
}

#[test]
fn a_container_that_is_gone_is_forgotten() {
    let mut ledger = ledger();
    ledger.died("c", 0);
    ledger.started(&c(), 0);
    ledger.keep([].iter());
    ledger.keep(["c".into()].iter());
    assert_eq!(ledger.life("c"), 0);
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.keep(["c".into()].iter());
    ledger
}

fn learn(ledger: &mut Ledger, started_at: &str) -> bool {
    let ticket = ledger.next_wanted().expect("an inspect is wanted");
    ledger.learn(&ticket, started(started_at))
}

fn started(at: &str) -> Inspected {
    Inspected { started_at: Some(time(at)), ..Inspected::default() }
}

fn time(at: &str) -> String {
    format!("2024-01-01T{at}:00Z")
}

fn c() -> Arc<str> {
    "c".into()
}

fn inspected(response: serde_json::Value) -> Inspected {
    Inspected::from(serde_json::from_value::<ContainerInspectResponse>(response).unwrap())
}
