//! Names and passwords.

use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, before_with, ok};

/// `secret`, of each kind; bcrypt's is cheap so that the tests are quick.
const ANN: &str = "ann:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0";
const BOB: &str = "bob:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
const EVE: &str = "eve:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT\
                   0Y77vwPZN.Pq.H91p5hVO1";

/// `ann:secret`, `bob:secret`, `eve:secret`, `ann:wrong`, `zoe:secret`, without a colon.
const RIGHT: [&str; 3] = ["YW5uOnNlY3JldA==", "Ym9iOnNlY3JldA==", "ZXZlOnNlY3JldA=="];
const WRONG: [&str; 3] = ["YW5uOndyb25n", "em9lOnNlY3JldA==", "YW5u"];

fn get_as(credentials: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic {credentials}\r\n\r\n")
}

fn guarded(backend: Backend) -> (Backend, Balancer) {
    let backends = [backend];
    let balancer = before_with(&backends, &format!("auth.basic = '{ANN},{BOB},{EVE}'"));
    let [backend] = backends;
    (backend, balancer)
}

#[test]
fn who_has_no_right_password_gets_401_and_never_reaches_a_replica() {
    let (backend, balancer) = guarded(Backend::answering(|_| ok("hi")));
    let mut client = Client::connect(balancer.http);
    let none = client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").answer();
    assert_eq!(none.status, 401);
    let challenge = "Basic realm=\"Restricted\", charset=\"UTF-8\"";
    assert_eq!(none.field("www-authenticate").as_deref(), Some(challenge));
    for credentials in WRONG {
        for _ in 0..2 {
            assert_eq!(client.send(get_as(credentials)).answer().status, 401, "{credentials}");
        }
    }
    let bearer =
        "GET / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer YW5uOnNlY3JldA==\r\n\r\n";
    assert_eq!(client.send(bearer).answer().status, 401);
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
    let line = balancer.access_logged(" 401 ");
    assert!(line.ends_with("end=unauthorized"), "{line}");
}

#[test]
fn who_gives_two_names_is_let_in_as_neither() {
    let (backend, balancer) = guarded(Backend::answering(|_| ok("hi")));
    let mut client = Client::connect(balancer.http);
    for (first, second) in [(RIGHT[0], RIGHT[1]), (RIGHT[0], WRONG[0]), (RIGHT[0], RIGHT[0])] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\nAuthorization: Basic {first}\r\n\
             Authorization: Basic {second}\r\n\r\n"
        );
        assert_eq!(client.send(request).answer().status, 401, "{first} {second}");
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());
}

#[test]
fn the_right_password_passes_and_the_replica_and_the_log_learn_who_it_is() {
    let (backend, balancer) = guarded(Backend::answering(|_| ok("hi")));
    let mut client = Client::connect(balancer.http);
    for credentials in RIGHT {
        for _ in 0..2 {
            assert_eq!(client.send(get_as(credentials)).answer().status, 200, "{credentials}");
        }
    }
    let seen = &backend.seen()[0];
    assert_eq!(seen.field("authorization"), Some(format!("Basic {}", RIGHT[0])));
    let line = balancer.access_logged("127.0.0.1 - bob [");
    assert!(
        line.contains(" 200 ") && !line.contains("secret") && !line.contains(RIGHT[1]),
        "{line}"
    );
}

#[test]
fn a_verified_password_is_remembered_and_verifying_delays_nobody_else() {
    // Cost 12 takes about a quarter of a second; slower still as it is built here.
    let hash = "$2b$12$abcdefghijklmnopqrstuuT1Iwu6o8Wx7BoOyIMHfgVJq6JO/IJhW";
    let (dear, free) = (Backend::answering(|_| ok("dear")), Backend::answering(|_| ok("free")));
    let labels = format!("path = '/dear'\nauth.basic = 'ann:{hash}'");
    let balancer = super::before_pools(&[("dear", &[dear], &labels), ("free", &[free], "")], &[]);
    let request = get_as(RIGHT[0]).replace("GET / ", "GET /dear ");
    let mut client = Client::connect(balancer.http);
    client.send(&request);
    let mut others: Vec<_> = (0..4).map(|_| Client::connect(balancer.http)).collect();
    let began = Instant::now();
    for other in &mut others {
        assert_eq!(other.send(super::get("/")).answer().text(), "free");
    }
    let delay = began.elapsed();
    assert_eq!(client.answer().text(), "dear");
    let first = began.elapsed();
    assert!(delay < first / 2, "others waited {delay:?} of {first:?}");
    // Once by each worker at the most; from then on it costs nothing.
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(client.send(&request).answer().status, 200);
    }
    assert!(began.elapsed() < first.max(Duration::from_millis(200)), "{:?}", began.elapsed());
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let hash = "$2b$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u";
    let labels = format!("auth.basic = 'ann:{hash}'");
    let balancer = before_with(&[Backend::answering(|_| ok("hi"))], &labels);
    let mut client = Client::connect(balancer.http);
    let mut fastest = |names: [&str; 3]| {
        let times = names.map(|credentials| {
            let began = Instant::now();
            assert_eq!(client.send(get_as(credentials)).answer().status, 401);
            began.elapsed()
        });
        times.into_iter().min().unwrap()
    };
    // ann:1 ann:2 ann:3, then eve:1 joe:2 kim:3: each is verified anew.
    let known = fastest(["YW5uOjE=", "YW5uOjI=", "YW5uOjM="]);
    let unknown = fastest(["ZXZlOjE=", "am9lOjI=", "a2ltOjM="]);
    assert!(unknown > known / 2 && unknown < known * 2, "{known:?} and {unknown:?}");
}
