//! Clients that come back to the replica that they met.

use std::collections::BTreeSet;
use std::io::Write;

use super::leaving::{Stage, State};
use super::{Backend, Balancer, Client, before_with, get, ok};
use crate::wire::client::Answer;

#[test]
fn a_cookie_is_set_once_and_brings_its_client_back() {
    let backends = replicas(3);
    let balancer = before_with(&backends, "sticky = \"cookie\"\n");
    let first = ask(&balancer, "");
    let set = first.field("set-cookie").unwrap();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    let (name, token) = cookie.split_once('=').unwrap();
    assert!(name.starts_with("evenkeel-") && name.len() == 17, "{set}");
    assert!(token.len() == 22 && !set.contains("127.0.0.1"), "{set}");
    for _ in 0..12 {
        let answer = ask(&balancer, &format!("Cookie: theme=dark; {cookie}\r\n"));
        assert_eq!((answer.text(), answer.field("set-cookie")), (first.text(), None));
    }
    // New clients are balanced as ever, and each gets the cookie of its replica.
    let met: BTreeSet<_> = (0..6).map(|_| ask(&balancer, "").text()).collect();
    assert_eq!(met.len(), 3);
}

#[test]
fn what_is_no_cookie_of_ours_is_balanced_as_new() {
    let backends = replicas(3);
    let balancer = before_with(&backends, "sticky = \"cookie:route\"\n");
    let other = before_with(&backends, "sticky = \"cookie:route\"\n");
    let mine = cookie_of(&ask(&balancer, ""));
    assert!(mine.starts_with("route="), "{mine}");
    let foreign = cookie_of(&ask(&other, ""));
    let forged = format!("{}AAAA", &mine[..mine.len() - 4]);
    for (cookie, what) in [
        (forged.as_str(), "forged"),
        (foreign.as_str(), "of another balancer, or stale"),
        ("route=", "empty"),
        ("route=\"", "half quoted"),
        ("route=127.0.0.1:80", "a guess"),
    ] {
        let answers: Vec<_> =
            (0..6).map(|_| ask(&balancer, &format!("Cookie: {cookie}\r\n"))).collect();
        let met: BTreeSet<_> = answers.iter().map(Answer::text).collect();
        assert_eq!(met.len(), 3, "{what}");
        assert!(answers.iter().all(|it| it.field("set-cookie").is_some()), "{what}");
    }
}

#[test]
fn a_key_from_a_file_outlives_the_balancer() {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"0123456789abcdef0123456789abcdef\n").unwrap();
    let file = format!("sticky_key_file = {:?}\n", key.path());
    let backends = replicas(4);
    let start = || with_settings(&backends, &file);
    let first = ask(&start(), "");
    let cookie = cookie_of(&first);
    let again = start();
    for _ in 0..8 {
        let answer = ask(&again, &format!("Cookie: {cookie}\r\n"));
        assert_eq!((answer.text(), answer.field("set-cookie")), (first.text(), None));
    }
}

#[test]
fn a_cookie_is_secure_if_a_trusted_proxy_says_that_the_client_is() {
    let backends = replicas(1);
    let balancer = with_settings(&backends, "trusted_proxies = \"127.0.0.1\"\n");
    let secure = |balancer: &Balancer, fields: &str| {
        ask(balancer, fields).field("set-cookie").unwrap().ends_with("; Secure")
    };
    assert!(secure(&balancer, "X-Forwarded-Proto: https\r\n"));
    assert!(!secure(&balancer, "X-Forwarded-Proto: http\r\n"));
    assert!(!secure(&balancer, ""));
    let trusting_nobody = with_settings(&backends, "");
    assert!(!secure(&trusting_nobody, "X-Forwarded-Proto: https\r\n"));
}

#[test]
fn the_application_sees_the_cookie_and_its_own_cookies_pass() {
    let set = "HTTP/1.1 200 OK\r\nSet-Cookie: app=1\r\nContent-Length: 0\r\n\r\n";
    let backend = Backend::answering(move |_| set.as_bytes().to_vec());
    let balancer = before_with(std::slice::from_ref(&backend), "sticky = \"cookie:route\"\n");
    let answer = ask(&balancer, "");
    let cookies: Vec<_> =
        answer.head.lines().filter(|it| it.to_lowercase().starts_with("set-cookie: ")).collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    let ours = cookies.iter().find(|it| it.contains("route=")).unwrap();
    let cookie = ours.split(": ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    ask(&balancer, &format!("Cookie: {cookie}\r\n"));
    assert_eq!(backend.seen().last().unwrap().field("cookie"), Some(cookie));
}

#[test]
fn a_session_moves_on_when_its_replica_leaves_and_stays_where_it_moved() {
    for action in ["kill", "die"] {
        let stage = Stage::set(&["one", "two", "three"], &[("lb.sticky", "cookie")]);
        let first = ask(&stage.balancer, "");
        let (mine, cookie) = (first.text(), cookie_of(&first));
        let back = |cookie: &str| ask(&stage.balancer, &format!("Cookie: {cookie}\r\n"));
        assert_eq!(back(&cookie).text(), mine);
        stage.happens(&mine, action);
        stage.released(&mine, State::of(action));
        let moved = back(&cookie);
        assert_ne!(moved.text(), mine, "{action}");
        let renewed = cookie_of(&moved);
        for _ in 0..6 {
            let answer = back(&renewed);
            assert_eq!((answer.text(), answer.field("set-cookie")), (moved.text(), None));
        }
    }
}

#[test]
fn a_session_survives_a_pause_and_one_other_replica_stands_in_for_its_own() {
    let stage = Stage::set(&["one", "two", "three", "four"], &[("lb.sticky", "cookie")]);
    let first = ask(&stage.balancer, "");
    let (mine, cookie) = (first.text(), cookie_of(&first));
    let back = || ask(&stage.balancer, &format!("Cookie: {cookie}\r\n"));
    stage.happens(&mine, "pause");
    stage.released(&mine, State::Paused);
    let stand_in = back().text();
    assert_ne!(stand_in, mine);
    for _ in 0..6 {
        let answer = back();
        assert_eq!((answer.text(), answer.field("set-cookie")), (stand_in.clone(), None));
    }
    stage.happens(&mine, "unpause");
    stage.released(&mine, State::Ready);
    for _ in 0..4 {
        assert_eq!((back().text(), back().field("set-cookie")), (mine.clone(), None));
    }
}

#[test]
fn a_session_that_a_backup_has_kept_goes_back_when_others_serve_again() {
    let stage = Stage::set(&["one", "spare"], &[("lb.sticky", "cookie")]);
    stage.happens("one", "die");
    stage.released("one", State::Gone);
    let met = ask(&stage.balancer, "");
    assert_eq!(met.text(), "spare");
    let back = |cookie: &str| ask(&stage.balancer, &format!("Cookie: {cookie}\r\n"));
    let cookie = cookie_of(&met);
    assert_eq!((back(&cookie).text(), back(&cookie).field("set-cookie")), (met.text(), None));
    stage.happens("one", "start");
    stage.released("one", State::Ready);
    let moved = back(&cookie);
    assert_eq!(moved.text(), "one");
    assert_eq!(back(&cookie_of(&moved)).field("set-cookie"), None);
}

#[test]
fn an_answer_for_all_clients_of_a_cache_sets_no_cookie() {
    let backend = Backend::answering(|request| {
        let asks_for = |path| request.head.starts_with(&format!("GET {path} "));
        let cached = if asks_for("/public") {
            "public, max-age=60"
        } else if asks_for("/shared") {
            "s-maxage=60"
        } else {
            "private, max-age=60"
        };
        format!("HTTP/1.1 200 OK\r\nCache-Control: {cached}\r\nContent-Length: 0\r\n\r\n").into()
    });
    let balancer = before_with(std::slice::from_ref(&backend), "sticky = \"cookie\"\n");
    for (path, sets) in [("/public", false), ("/shared", false), ("/own", true)] {
        let answer = Client::connect(balancer.http).send(get(path)).answer();
        assert_eq!(answer.field("set-cookie").is_some(), sets, "{path}");
    }
}

#[test]
fn a_session_outlives_other_replicas_and_the_lives_of_its_own() {
    let stage = Stage::set(&["one", "two", "three"], &[("lb.sticky", "cookie")]);
    let first = ask(&stage.balancer, "");
    let (mine, cookie) = (first.text(), cookie_of(&first));
    let back = || ask(&stage.balancer, &format!("Cookie: {cookie}\r\n"));
    let other = ["one", "two", "three"].into_iter().find(|it| *it != mine).unwrap();
    for action in ["kill", "die", "destroy"] {
        stage.happens(other, action);
    }
    stage.forgotten(other);
    for _ in 0..4 {
        assert_eq!((back().text(), back().field("set-cookie")), (mine.clone(), None));
    }
    // The same container, started again.
    stage.happens(&mine, "die");
    stage.released(&mine, State::Gone);
    stage.happens(&mine, "start");
    stage.released(&mine, State::Ready);
    assert_eq!((back().text(), back().field("set-cookie")), (mine, None));
}

#[test]
fn an_address_keeps_its_replica_whatever_the_policy_is() {
    let backends = replicas(4);
    let servers: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
    let balancer = before_settings(
        &format!(
            "trusted_proxies = \"127.0.0.1\"\n[pools.web]\nservers = {servers:?}\n\
             sticky = \"ip\"\nbalance = \"least_request\"\n"
        ),
        &servers,
    );
    let from = |last: u8| ask(&balancer, &format!("X-Forwarded-For: 203.0.113.{last}\r\n"));
    let met: Vec<_> = (0..40).map(|last| from(last).text()).collect();
    assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 4);
    for (last, replica) in (0..40).zip(&met) {
        let answer = from(last);
        assert_eq!((&answer.text(), answer.field("set-cookie")), (replica, None));
    }
}

fn replicas(count: usize) -> Vec<Backend> {
    (0..count).map(|n| Backend::answering(move |_| ok(&n.to_string()))).collect()
}

/// A pool that is sticky by cookie, with further settings.
fn with_settings(backends: &[Backend], settings: &str) -> Balancer {
    let servers: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
    let pool = format!("[pools.web]\nservers = {servers:?}\nsticky = \"cookie\"\n");
    before_settings(&format!("{settings}{pool}"), &servers)
}

fn before_settings(settings: &str, servers: &[String]) -> Balancer {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    for server in servers {
        balancer.logged(&format!("address={server}"));
    }
    balancer
}

fn ask(balancer: &Balancer, fields: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n");
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.status, 200);
    answer
}

fn cookie_of(answer: &Answer) -> String {
    answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}
