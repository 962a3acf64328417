//! `evenkeel drain` and `undrain`, on a running balancer.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::Write;
use std::net::TcpStream;

use crate::cli::support::{Desk, Ran, Whoami, answer, eventually};
use crate::wire::balancer::Balancer;

#[test]
fn a_replica_is_drained_and_brought_back_by_its_name() {
    let table = Table::start(&[]);
    let ran = table.run(&["drain", &table.name]);
    let expected = format!("{} of pool web: draining, 0 requests in flight\n", table.name);
    assert_eq!((ran.code, ran.stdout), (Some(0), expected), "{}", ran.stderr);
    let shown = table.run(&["status"]).stdout;
    assert!(shown.contains(" draining ") && shown.contains("drained by an operator"), "{shown}");

    let ran = table.run(&["undrain", &table.name]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    eventually(|| table.run(&["status"]).stdout.contains(" ready ").then_some(()));
}

#[test]
fn a_drain_waits_for_what_is_in_flight_and_no_longer_than_it_may() {
    let table = Table::start(&["--delay", "2s"]);
    let slow = table.request();
    eventually(|| table.run(&["status"]).stdout.contains(" 1 ").then_some(()));

    let ran = table.run(&["drain", "--wait", "10ms", &table.name]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stderr.starts_with("error: 1 request still in flight after 10ms\n  hint: "),
        "{}",
        ran.stderr
    );

    let ran = table.run(&["drain", "--wait", "20s", &table.name]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().skip(1).collect();
    assert_eq!(lines, ["Waiting for 1 request in flight.", "Nothing is in flight any more."]);
    assert!(answer(slow).starts_with("HTTP/1.1 200"), "what it had was finished");
}

#[test]
fn an_unknown_name_is_told_with_what_there_is() {
    let table = Table::start(&[]);
    let name = format!("{}0", table.name);
    let ran = table.run(&["drain", &name]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let expected = format!(
        "error: no replica is named `{name}`\n  hint: did you mean `{it}`? There are: `{it}`\n",
        it = table.name
    );
    assert_eq!(ran.stderr, expected);
}

#[test]
fn the_token_of_both_must_be_the_same() {
    let desk =
        Desk::new().with("ours", "0123456789abcdef\n").with("other", "another-token-than-ours");
    let [ours, other] =
        ["ours", "other"].map(|it| desk.folder.path().join(it).display().to_string());
    let table = Table::with(desk, &[], &["--admin-token-file", &ours]);
    let ran = table.run(&["drain", "--admin-token-file", &other, &table.name]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("401 Unauthorized") && ran.stderr.contains("--admin-token-file"),
        "{}",
        ran.stderr
    );
    assert_eq!(table.run(&["status", "--admin-token-file", &other]).code, Some(1));

    for command in ["drain", "undrain"] {
        let ran = table.run(&[command, "--admin-token-file", &ours, &table.name]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    assert_eq!(table.run(&["status", "--admin-token-file", &ours]).code, Some(0));
    assert_eq!(table.run(&["status"]).code, Some(0), "loopback needs none to read");
}

#[test]
fn a_token_file_that_cannot_be_used_is_a_mistake_of_the_settings() {
    let desk = Desk::new().with("short", "12345").env("EVENKEEL_ADMIN_TOKEN_FILE", "short");
    for arguments in [&["run"][..], &["drain", "x"], &["status"]] {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, Some(1));
        assert_eq!(
            ran.stderr.lines().next(),
            Some(
                "environment EVENKEEL_ADMIN_TOKEN_FILE: error: `admin_token_file` is `short`, which \
                 has a token of 5 characters, which is too short"
            ),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_name_is_needed_and_a_wait_is_a_duration() {
    for arguments in [&["drain"][..], &["undrain"], &["drain", "--wait", "10", "x"]] {
        let ran = Desk::new().run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
    }
}

/// A balancer with one replica, and a desk from which to ask it.
struct Table {
    desk: Desk,
    balancer: Balancer,
    /// Of the replica.
    name: String,
    _backend: Whoami,
}

impl Table {
    fn start(whoami: &[&str]) -> Self {
        Self::with(Desk::new(), whoami, &[])
    }

    fn with(desk: Desk, whoami: &[&str], settings: &[&str]) -> Self {
        let backend = Whoami::start(whoami);
        let name = backend.address.to_string();
        let pool = format!("web={name}");
        let settings = [&["--pool", &pool], settings].concat();
        let balancer = Balancer::start(&settings);
        let desk = desk.env("EVENKEEL_ADMIN", balancer.admin.to_string());
        let table = Self { desk, balancer, name, _backend: backend };
        eventually(|| table.run(&["status"]).stdout.contains(" ready ").then_some(()));
        table
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.desk.run(arguments)
    }

    /// Sends a request without waiting for its answer.
    fn request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.balancer.http).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        stream
    }
}
