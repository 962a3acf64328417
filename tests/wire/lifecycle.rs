//! Waiting for replicas, stopping, ports.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, before, get, ok};

#[test]
fn a_request_is_held_until_a_replica_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let balancer = Balancer::start(&["--pool", &format!("web={address}")]);
    let mut client = Client::connect(balancer.http);
    client.send(get("/held"));
    std::thread::sleep(Duration::from_millis(200));
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                use std::io::{Read, Write};
                if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(&ok("at last"));
                }
            });
        }
    });
    assert_eq!(client.answer().text(), "at last");
}

#[test]
fn when_the_hold_is_over_the_client_is_told_when_to_come_back() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pool = format!("[pools.web]\nservers = [\"{address}\"]\nhold = \"300ms\"\n");
    std::fs::write(file.path(), pool).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    let began = Instant::now();
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert_eq!(answer.status, 503);
    assert!(answer.field("retry-after").is_some());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(3), "{took:?}");
    assert!(balancer.access_logged(" 503 ").contains("no_endpoint"));
}

#[test]
fn a_stop_lets_the_request_in_flight_finish() {
    let backend = Backend::answering(|_| {
        std::thread::sleep(Duration::from_millis(500));
        ok("finished")
    });
    let mut balancer = before(&backend);
    let mut idle = Client::connect(balancer.http);
    idle.send(get("/idle")).answer();
    let mut busy = Client::connect(balancer.http);
    busy.send(get("/busy"));
    while backend.seen().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    balancer.terminate();
    balancer.logged("Stopping on SIGTERM");
    assert!(idle.rest().is_empty(), "an idle connection is closed at once");
    let answer = busy.answer();
    assert_eq!(answer.text(), "finished");
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    assert_eq!(balancer.exit_code(), Some(0));
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    let backend = Backend::answering(|_| ok("once"));
    let pool = format!("web={}", backend.address);
    let balancer = Balancer::start(&["--pool", &pool, "--keep-alive", "1s"]);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(get("/")).answer().text(), "once");
    let began = Instant::now();
    assert!(client.rest().is_empty(), "nothing is said");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_connection_that_rested_serves_on() {
    let backend = Backend::answering(|_| ok("still here"));
    let balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        // Two at once, so that one waits in the connection.
        client.send(get("/").repeat(2));
        assert_eq!(client.answer().text(), "still here");
        assert_eq!(client.answer().text(), "still here");
        // Longer than the second after which it keeps no buffers.
        std::thread::sleep(Duration::from_millis(1_300));
    }
}

#[test]
fn a_stop_ends_a_connection_that_rests() {
    let backend = Backend::answering(|_| ok("once"));
    let mut balancer = before(&backend);
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(get("/")).answer().text(), "once");
    std::thread::sleep(Duration::from_millis(1_300));
    balancer.terminate();
    assert!(client.rest().is_empty());
    assert_eq!(balancer.exit_code(), Some(0));
}

#[test]
fn a_stop_serves_those_who_had_connected() {
    let backend = Backend::answering(|_| ok("just in time"));
    let mut balancer = before(&backend);
    let mut late: Vec<_> = (0..20).map(|_| Client::connect(balancer.http)).collect();
    let silent = Client::connect(balancer.http);
    balancer.terminate();
    balancer.logged("Stopping on SIGTERM");
    let answers: Vec<_> = late.iter_mut().map(|client| client.send(get("/")).answer()).collect();
    assert!(answers.iter().all(|answer| answer.text() == "just in time"));
    let last = answers.last().and_then(|answer| answer.field("connection"));
    assert_eq!(last.as_deref(), Some("close"));
    let began = Instant::now();
    assert_eq!(balancer.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "who says nothing is not waited for long");
    drop(silent);
}

#[test]
fn the_time_for_an_answer_begins_with_the_end_of_the_request() {
    let stuck = Backend::scripted(|_, _| {
        std::thread::sleep(Duration::from_secs(5));
        false
    });
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let timeouts = "timeout.response = \"700ms\"\ntimeout.idle = \"3s\"\n";
    let pool = format!("[pools.web]\nservers = [\"{}\"]\n{timeouts}", stuck.address);
    std::fs::write(file.path(), pool).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    std::thread::sleep(Duration::from_millis(1_000));
    let began = Instant::now();
    let answer = client.send("cd").answer();
    let took = began.elapsed().as_millis();
    assert_eq!(answer.status, 504);
    assert!((600..2_000).contains(&took), "{took} ms");
}

#[test]
fn a_second_balancer_on_the_same_port_says_so_in_one_line_and_exits() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["run", "--docker", "off", "--admin", "127.0.0.1:0", "--workers", "2"])
        .args(["--http", &balancer.http.to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(&format!("{} is already in use", balancer.http)), "{told}");
}

#[test]
fn readiness_and_metrics_follow_the_data_plane() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    Client::connect(balancer.http).send(get("/")).answer();
    let admin = |path: &str| {
        Client::connect(balancer.admin)
            .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .answer()
    };
    assert_eq!(admin("/healthz").status, 200);
    assert_eq!(admin("/readyz").status, 200);
    let metrics = admin("/metrics").text();
    let counted = r#"evenkeel_requests_total{pool="web",code="2xx"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_request_that_comes_before_the_first_world_waits_for_it() {
    let backend = Backend::answering(|_| ok("hi"));
    // Docker is never there, so the world is never whole.
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let pools =
        format!("[pools.web]\nservers = [\"{}\"]\nhost = \"shop.example\"\n", backend.address);
    std::fs::write(file.path(), pools).unwrap();
    let socket = file.path().with_extension("sock");
    let docker = format!("unix://{}", socket.display());
    let args = ["--config", file.path().to_str().unwrap()];
    let balancer = Balancer::start_with_docker(&docker, &args);
    balancer.logged("Replica ready");
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.send(get("/")).answer().text(), "hi", "what is known is served");
    let began = Instant::now();
    let answer = client.send("GET / HTTP/1.1\r\nHost: later.example\r\n\r\n").answer();
    assert_eq!(answer.status, 503, "it may only not be known yet");
    assert!(began.elapsed() >= Duration::from_secs(9));
}
