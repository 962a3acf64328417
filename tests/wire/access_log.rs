//! What is logged of requests, of which, and what of it goes to the replica.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Backend, Balancer, Client, get, ok, wait_for};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn a_trace_goes_on_to_the_replica_as_it_came_and_is_logged() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = logging(&backend, &["--access-log", "json"]);
    let fields = format!("traceparent: {PARENT}\r\ntracestate: a=1,b=2\r\ntracestate: c=3\r\n");
    ask(&balancer, "/traced", &fields);
    let seen = &backend.seen()[0];
    assert_eq!(seen.field("traceparent").as_deref(), Some(PARENT));
    assert_eq!(seen.fields("tracestate"), ["a=1,b=2", "c=3"]);
    assert_eq!(logged(&balancer, "/traced")["trace_id"], TRACE);
}

#[test]
fn a_trace_that_nobody_can_read_ends_here_and_none_is_made_up() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = logging(&backend, &["--access-log", "json"]);
    let parent = format!("traceparent: {PARENT}\r\n");
    let upper = parent.to_uppercase();
    let cases = [
        ("/none", String::new()),
        ("/state-alone", "tracestate: a=1\r\n".to_owned()),
        ("/malformed", "traceparent: 00-1-2-3\r\ntracestate: a=1\r\n".to_owned()),
        ("/upper", format!("{upper}tracestate: a=1\r\n")),
        ("/hop", format!("Connection: traceparent\r\n{parent}tracestate: a=1\r\n")),
        ("/twice", format!("{parent}{parent}tracestate: a=1\r\n")),
    ];
    for (path, fields) in &cases {
        ask(&balancer, path, fields);
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.fields("traceparent"), [""; 0], "{path}");
        assert_eq!(seen.fields("tracestate"), [""; 0], "{path}");
        assert!(logged(&balancer, path)["trace_id"].is_null(), "{path}");
    }
    ask(&balancer, "/long", &format!("{parent}tracestate: a={}\r\n", "x".repeat(511)));
    let seen = backend.seen().pop().unwrap();
    assert_eq!(seen.field("traceparent").as_deref(), Some(PARENT));
    assert_eq!(seen.field("tracestate"), None);
}

#[test]
fn no_format_shows_credentials_and_the_replica_gets_them_all() {
    for format in ["combined", "json", "logfmt"] {
        let backend = Backend::answering(|_| ok("hi"));
        let flags = ["--access-log", format, "--access-log-redact", "invite"];
        let balancer = logging(&backend, &flags);
        let target = "/a?b=c&Token=s3cret&u[password]=s3cret&invite=s3cret";
        let fields = "Authorization: Bearer s3cret\r\nCookie: s=s3cret\r\n\
                      Referer: https://ann:s3cret@shop.example/b?code=s3cret&d=e\r\n";
        ask(&balancer, target, fields);
        assert_eq!(backend.seen()[0].head.matches("s3cret").count(), 7);
        let line = balancer.access_logged("/a?");
        assert!(!line.contains("s3cret"), "{line}");
        let target = "/a?b=c&Token=REDACTED&u[password]=REDACTED&invite=REDACTED";
        let referer = "https://REDACTED@shop.example/b?code=REDACTED&d=e";
        assert!(line.contains(target) && line.contains(referer), "{line}");
    }
}

#[test]
fn queries_are_logged_in_full_or_not_at_all_on_demand() {
    for (choice, expected) in [("full", "/a?token=x&b=c"), ("off", "/a")] {
        let backend = Backend::answering(|_| ok("hi"));
        let flags = ["--access-log", "json", "--access-log-query", choice];
        let balancer = logging(&backend, &flags);
        ask(&balancer, "/a?token=x&b=c", "");
        assert_eq!(logged(&balancer, "/a")["target"], expected);
    }
}

#[test]
fn a_line_of_logfmt_has_a_key_for_each_value_that_there_is() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = logging(&backend, &["--access-log", "logfmt"]);
    ask(&balancer, "/a", "User-Agent: a \"b\"\r\n");
    let line = balancer.access_logged("target=/a ");
    assert!(
        line.starts_with("time=2") && line.contains("Z client=127.0.0.1 method=GET "),
        "{line}"
    );
    let agent = " status=200 response_bytes=2 user_agent=\"a \\\"b\\\"\" host=shop.example ";
    assert!(line.contains(agent) && line.ends_with(" end=ok"), "{line}");
    assert!(
        !line.contains("referer") && !line.contains("tls") && !line.contains("trace"),
        "{line}"
    );
}

#[test]
fn what_is_chosen_is_logged_and_nothing_else() {
    for flags in [
        &["--access-log-status", "404,5xx"][..],
        &["--access-log-status", "404", "--access-log-slow", "150ms"],
        &["--access-log-sample", "0", "--access-log-status", "404"],
    ] {
        let backend = Backend::answering(|seen| {
            if seen.head.contains("/slow") {
                std::thread::sleep(Duration::from_millis(200));
            }
            let status = if seen.head.contains("/missing") { 404 } else { 200 };
            let status = if seen.head.contains("/broken") { 500 } else { status };
            format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes()
        });
        let balancer = logging(&backend, flags);
        let mut client = Client::connect(balancer.http);
        for path in ["/well", "/slow", "/broken", "/well", "/missing"] {
            client.send(get(path)).answer();
        }
        // Lines of one connection keep their order, so that this one is the last.
        balancer.access_logged(" /missing ");
        let by_time = flags.contains(&"--access-log-slow");
        balancer.access_logged(if by_time { " /slow " } else { " /broken " });
        assert_eq!(balancer.times_access_logged(), 2, "{flags:?}");
    }
}

#[test]
fn the_timers_of_a_request_that_was_held_add_up() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pool = format!("web={address}");
    let balancer = Balancer::start(&["--pool", &pool, "--access-log", "json"]);
    let mut client = Client::connect(balancer.http);
    client.send(get("/held"));
    wait_for(|| admin(&balancer, "/api/v1/status").contains("\"waiting\":1").then_some(()));
    let _backend = Backend::at(address, |_, stream| {
        use std::io::Write;
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&ok("hi")).is_ok()
    });
    assert_eq!(client.answer().status, 200);
    let line = logged(&balancer, "/held");
    let [wait, connect, first_byte, overhead, total] =
        ["wait_us", "connect_us", "first_byte_us", "overhead_us", "total_us"]
            .map(|key| line[key].as_u64().unwrap());
    assert!(wait > 0 && first_byte >= 100_000, "{line}");
    assert!(wait + connect + first_byte + overhead <= total + 4, "{line}");
    // It does nothing that takes so long but wait.
    assert!(overhead < 100_000, "{line}");
}

#[test]
fn stdout_that_nobody_reads_costs_lines_and_no_request() {
    let backend = Backend::answering(|_| ok("hi"));
    let pool = format!("web={}", backend.address);
    let balancer = Balancer::start_unread(&["--pool", &pool]);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    // Far more than a pipe and a worker's share take: every line has some 8 KiB.
    let target = format!("/{}", "x".repeat(8000));
    for _ in 0..600 {
        assert_eq!(client.send(get(&target)).answer().status, 200);
    }
    let dropped = wait_for(|| {
        let value = |line: &str| {
            line.strip_prefix("evenkeel_access_log_dropped_total ")?.parse::<f64>().ok()
        };
        admin(&balancer, "/metrics").lines().find_map(value).filter(|&dropped| dropped > 0.0)
    });
    assert!(dropped < 600.0, "what there is room for is kept, of {dropped}");
    let status = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["status", "--admin", &balancer.admin.to_string()])
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("lost, since stdout is read too slowly"), "{status}");
}

/// A balancer with these flags before one replica that is ready.
fn logging(backend: &Backend, flags: &[&str]) -> Balancer {
    let pool = format!("web={}", backend.address);
    let balancer = Balancer::start(&[&["--pool", &pool], flags].concat());
    balancer.logged("Replica ready");
    balancer
}

fn ask(balancer: &Balancer, target: &str, fields: &str) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n");
    Client::connect(balancer.http).send(request).answer();
}

/// What the admin port tells.
fn admin(balancer: &Balancer, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Client::connect(balancer.admin).send(request).answer().text()
}

/// The line of a log in JSON that has this.
fn logged(balancer: &Balancer, text: &str) -> Value {
    serde_json::from_str(&balancer.access_logged(text)).unwrap()
}
