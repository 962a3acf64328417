//! The demo backend, over a real socket.

use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::cli::support::{Desk, PATIENCE, Whoami, answer, eventually};

#[test]
fn it_tells_its_name_and_the_request_it_saw() {
    let whoami = Whoami::start(&[]);
    let told = whoami.ask(
        "POST /a?b=c HTTP/1.1\r\nHost: shop.example\r\nX-Twice: 1\r\nX-Twice: 2\r\n\
         Content-Length: 5\r\nConnection: close\r\n\r\nhello",
    );
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body.lines().next(), Some("Hostname: me"));
    for line in
        ["Body: 5 bytes", "POST /a?b=c HTTP/1.1", "host: shop.example", "x-twice: 1", "x-twice: 2"]
    {
        assert!(body.lines().any(|it| it == line), "{line}: {body}");
    }
    assert!(body.contains("\nRemote: 127.0.0.1:"), "{body}");
}

#[test]
fn who_accepts_json_gets_json() {
    let whoami = Whoami::start(&[]);
    let told = whoami
        .ask("GET /x HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["hostname"], "me");
    assert_eq!(json["target"], "/x");
    assert_eq!(json["version"], "HTTP/1.1");
    assert_eq!(json["headers"]["host"][0], "h");
    assert_eq!(json["body_bytes"], 0);
}

#[test]
fn a_request_may_override_status_and_size() {
    let whoami = Whoami::start(&["--status", "404", "--body-size", "1KiB"]);
    let told = whoami.get("/");
    assert!(told.starts_with("HTTP/1.1 404 Not Found\r\n"), "{told}");
    assert_eq!(told.split_once("\r\n\r\n").unwrap().1.len(), 1024);
    let told = whoami.get("/?status=503&size=100KiB");
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("content-length: 102400"), "{head}");
    assert_eq!(body.len(), 102_400);
    assert!(body.starts_with("Hostname: me\n"));
    assert!(whoami.get("/?size=3B").ends_with("\r\n\r\nHos"));
    let told = whoami.get("/?status=x");
    assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("`status` is `x`"), "{told}");
}

#[test]
fn it_takes_as_long_as_it_is_told_except_when_asked_for_its_health() {
    let whoami = Whoami::start(&["--delay", "1h", "--health-path", "/up"]);
    assert!(whoami.get("/up").starts_with("HTTP/1.1 200 OK\r\n"));
    let begun = Instant::now();
    assert!(whoami.get("/?delay=200ms").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn its_health_may_end_after_so_many_requests() {
    let whoami = Whoami::start(&["--health-path", "/up", "--unhealthy-after", "2"]);
    for expected in ["200", "200", "503"] {
        let told = whoami.get("/up");
        assert!(told.starts_with(&format!("HTTP/1.1 {expected} ")), "{expected}: {told}");
        whoami.get("/");
    }
}

#[test]
fn its_health_may_come_and_go() {
    let whoami = Whoami::start(&["--health-path", "/up", "--flap", "300ms"]);
    for expected in ["200", "503", "200"] {
        eventually(|| whoami.get("/up").contains(&format!(" {expected} ")).then_some(()));
    }
}

#[test]
fn it_crashes_where_it_is_told_to() {
    let whoami = Whoami::start(&["--crash-path", "/crash"]);
    assert_eq!(whoami.get("/crash"), "");
    assert_eq!(whoami.ended().code(), Some(137));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the log tells by the wall clock")]
fn each_request_that_arrives_is_a_line_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests");
    let whoami = Whoami::start(&["--request-log", file.to_str().unwrap(), "--health-path", "/up"]);
    let since = SystemTime::now();
    for told in ["/up", "/a?b=c"] {
        whoami.get(told);
    }
    let post = "POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    whoami.ask(&format!("{post}hello"));
    drop(whoami.send(&format!("{post}hell")));
    let written = eventually(|| {
        let written = std::fs::read_to_string(&file).unwrap();
        written.contains(" cut ").then_some(written)
    });

    let (times, lines): (Vec<_>, Vec<_>) =
        written.lines().map(|line| line.split_once(' ').unwrap()).unzip();
    assert_eq!(
        lines,
        [
            "me executed GET /a?b=c",
            "me arrived POST /p",
            "me executed POST /p",
            "me arrived POST /p",
            "me cut POST /p",
        ]
    );
    let times: Vec<u64> = times.iter().map(|time| time.parse().unwrap()).collect();
    let since = u64::try_from(since.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    assert!(since <= times[0] && times.is_sorted(), "{since} {times:?}");
}

#[test]
fn on_sigterm_it_exits_at_once() {
    let whoami = slow(&[]);
    let waiting = in_flight(&whoami, "1h");
    whoami.terminate();
    assert_eq!(answer(waiting), "");
    assert_eq!(whoami.ended().code(), Some(0));
}

#[test]
fn on_sigterm_it_may_drain() {
    let mut whoami = slow(&["--on-term", "drain"]);
    let idle = whoami.send("GET /up HTTP/1.1\r\nHost: x\r\n\r\n");
    let waiting = in_flight(&whoami, "2s");
    whoami.terminate();
    eventually(|| TcpStream::connect(whoami.address).err());
    assert_eq!(answer(idle).matches("HTTP/1.1 200 OK").count(), 1, "it is closed at once");
    assert!(whoami.is_running());
    let told = answer(waiting);
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    assert!(told.contains("\r\nconnection: close\r\n"), "{told}");
    assert_eq!(whoami.ended().code(), Some(0));
}

#[test]
fn it_may_ignore_sigterm() {
    let mut whoami = Whoami::start(&["--on-term", "ignore"]);
    for _ in 0..10 {
        whoami.terminate();
        assert!(whoami.get("/").starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(whoami.is_running());
    }
}

#[test]
fn it_listens_only_after_its_startup_delay() {
    let begun = Instant::now();
    let whoami = Whoami::start(&["--startup-delay", "300ms"]);
    assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < PATIENCE);
    assert!(whoami.get("/").contains("Hostname: me\n"));
}

#[test]
fn a_port_in_use_is_told_with_the_remedy() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = Desk::new().run(&["whoami", "--port", &port]);
    assert_eq!(ran.code, Some(1));
    let told = format!("error: cannot listen on port {port}: ");
    assert!(ran.stderr.starts_with(&told) && ran.stderr.contains("--port"), "{}", ran.stderr);
}

#[test]
fn wrong_options_are_refused() {
    for arguments in [
        ["--delay", "5"],
        ["--status", "99"],
        ["--body-size", "9GiB"],
        ["--on-term", "wait"],
        ["--grpc-health", "ill"],
    ] {
        let ran = Desk::new().run(&["whoami", arguments[0], arguments[1]]);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
    }
}

/// A backend whose health path tells whether a request has reached it.
fn slow(arguments: &[&str]) -> Whoami {
    let health = ["--health-path", "/up", "--unhealthy-after", "1"];
    Whoami::start(&[&health, arguments].concat())
}

/// A request that the backend has and that takes `delay`.
fn in_flight(whoami: &Whoami, delay: &str) -> TcpStream {
    let request = format!("GET /?delay={delay} HTTP/1.1\r\nHost: x\r\n\r\n");
    let stream = whoami.send(&request);
    eventually(|| whoami.get("/up").starts_with("HTTP/1.1 503 ").then_some(()));
    stream
}
