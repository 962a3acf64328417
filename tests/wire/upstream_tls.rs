//! TLS to replicas.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::http2_backend::{Http2Backend, by_tls};
use super::{Backend, Balancer, Client, admin, configured, get, ok, wait_for};
use crate::support::certificates::{Authority, Term};

/// Files of labels, among them the certificate of an authority.
struct Trusted {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Trusted {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { folder, authority }
    }

    /// A balancer before these replicas, which are spoken to by TLS.
    fn before(&self, servers: &[SocketAddr], labels: &str) -> Balancer {
        before(self.folder.path(), servers, labels)
    }
}

fn before(folder: &Path, servers: &[SocketAddr], labels: &str) -> Balancer {
    let servers: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
    let settings =
        format!("[pools.web]\nservers = {servers:?}\nscheme = \"https\"\nmax_fails = 0\n{labels}");
    let flags = ["--label-files", folder.to_str().unwrap()];
    let balancer = configured(&settings, &flags, []);
    for server in &servers {
        balancer.logged(&format!("address={server}"));
    }
    balancer
}

fn status(balancer: &Balancer) -> u16 {
    Client::connect(balancer.http).send(get("/")).answer().status
}

fn problems(balancer: &Balancer) -> String {
    let status = admin(balancer, "/api/v1/status").text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["problems"].to_string()
}

const BOTH: &[&str] = &["h2", "http/1.1"];
const NAMED: &str = "host = \"shop.example\"\nupstream.tls.ca = \"file:ca.pem\"\n";

#[test]
fn a_replica_proves_that_it_is_the_host_of_its_route_and_chooses_http_2() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    let balancer = trusted.before(&[backend.address], NAMED);
    for _ in 0..4 {
        assert_eq!(status(&balancer), 200);
    }
    assert!(backend.connections() <= 2, "one for each worker");
    let shaken = &backend.shaken()[0];
    assert_eq!(shaken.name.as_deref(), Some("shop.example"));
    assert_eq!(shaken.protocol.as_deref(), Some("h2"));
    assert_eq!(backend.heads()[0].0.uri(), "https://shop.example/");
    assert_eq!(problems(&balancer), "[]");
    let status = admin(&balancer, "/api/v1/status").text();
    assert!(status.contains(r#""scheme":"https""#), "{status}");
}

#[test]
fn a_replica_may_choose_http_1_1() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    for protocols in [&["http/1.1"][..], &[]] {
        let backend = Http2Backend::saying(by_tls(&made, protocols), "hi");
        let balancer = trusted.before(&[backend.address], NAMED);
        let answer = Client::connect(balancer.http).send(get("/")).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "old!"));
    }
}

#[test]
fn a_replica_that_requires_http_1_1_is_asked_so_from_then_on_and_loses_no_request() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::start(by_tls(&made, BOTH), |mut call| async move {
        call.respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
    });
    let balancer = trusted.before(&[backend.address], NAMED);
    let post = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..8 {
        let answer = Client::connect(balancer.http).send(post).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "old!"));
    }
    let by_http2 = backend.heads().len();
    assert!((1..=2).contains(&by_http2), "once for each worker, not {by_http2}");
}

#[test]
fn a_health_check_heeds_that_http_1_1_is_required() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::start(by_tls(&made, BOTH), |mut call| async move {
        call.respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
    });
    let labels = format!("{NAMED}health.path = \"/up\"\nhealth.interval = \"100ms\"\n");
    let balancer = trusted.before(&[backend.address], &labels);
    assert_eq!(status(&balancer), 200);
    let asked = |(head, _): &(http::Request<()>, usize)| head.uri().path() == "/up";
    assert!(backend.heads().iter().any(asked), "it was asked by HTTP/2 first");
}

/// It is known to choose that for longer than a sweep takes.
#[test]
fn many_requests_share_the_connections_of_one_that_chooses_http_1_1() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let mut speech = by_tls(&made, BOTH.get(1..).unwrap());
    speech.keeps = true;
    let backend = Http2Backend::saying(speech, "hi");
    let balancer = trusted.before(&[backend.address], NAMED);
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(balancer.http)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send(get("/"));
        }
        for client in &mut clients {
            let answer = client.answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "kept"));
        }
        let (shaken, swept) = (backend.shaken().len(), Instant::now());
        assert!(shaken <= 50, "{shaken} connections");
        // Each worker sweeps once a second.
        wait_for(|| (swept.elapsed() > Duration::from_millis(1_500)).then_some(()));
    }
}

#[test]
fn sessions_are_resumed() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    // It ends each connection.
    let backend = Http2Backend::saying(by_tls(&made, &["http/1.1"]), "hi");
    let balancer = trusted.before(&[backend.address], NAMED);
    // Either worker has sessions of its own.
    for _ in 0..8 {
        assert_eq!(status(&balancer), 200);
    }
    let fresh = backend.shaken().iter().filter(|shaken| !shaken.resumed).count();
    assert!(fresh <= 2, "{:?}", backend.shaken());
}

#[test]
fn who_proves_nothing_is_sent_nothing_and_told_once_a_minute() {
    let trusted = Trusted::new();
    let (good, other) = (&trusted.authority, Authority::new("another"));
    for (made, why) in [
        (good.issue(&["other.example"]), "not valid for name"),
        (other.issue(&["shop.example"]), "UnknownIssuer"),
        (good.issue_for(&["shop.example"], Term::over()), "expired"),
    ] {
        let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
        let balancer = trusted.before(&[backend.address], NAMED);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(status(&balancer), 502, "{why}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "nobody is made to wait");
        assert!(balancer.access_logged(" 502 ").contains("upstream_tls_failed"));
        let line = balancer.logged("No TLS with a replica");
        assert!(line.contains("WARN") && line.contains(why), "{line}");
        assert_eq!((backend.heads().len(), problems(&balancer).as_str()), (0, "[]"));
    }
}

#[test]
fn who_does_not_speak_tls_is_sent_nothing_of_a_request() {
    let mail = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mail.local_addr().unwrap();
    let (hearing, heard) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in mail.incoming().map_while(Result::ok) {
            let mut words = Vec::new();
            let _ = stream.write_all(b"220 mail\r\n");
            let _ = stream.read_to_end(&mut words);
            let _ = hearing.send(words);
        }
    });
    let balancer = Trusted::new().before(&[address], NAMED);
    assert_eq!(status(&balancer), 502);
    let words = wait_for(|| heard.try_recv().ok().filter(|words| !words.is_empty()));
    assert!(!words.windows(3).any(|it| it == b"GET"), "{words:?}");
}

#[test]
fn one_that_proves_who_it_is_serves_for_one_that_does_not() {
    let trusted = Trusted::new();
    let good = trusted.authority.issue(&["shop.example"]);
    let bad = trusted.authority.issue(&["other.example"]);
    let good = Http2Backend::saying(by_tls(&good, BOTH), "hi");
    let bad = Http2Backend::saying(by_tls(&bad, BOTH), "hi");
    let balancer = trusted.before(&[bad.address, good.address], NAMED);
    let post = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nsum";
    for _ in 0..6 {
        assert_eq!(Client::connect(balancer.http).send(post).answer().status, 200);
    }
    assert_eq!(bad.heads().len(), 0);
}

#[test]
fn the_name_may_be_another_and_without_one_it_is_the_address() {
    let trusted = Trusted::new();
    let named = trusted.authority.issue(&["api.internal"]);
    let backend = Http2Backend::saying(by_tls(&named, BOTH), "hi");
    let labels = format!("{NAMED}upstream.tls.name = \"api.internal\"");
    assert_eq!(status(&trusted.before(&[backend.address], &labels)), 200);

    let by_address = trusted.authority.issue(&["127.0.0.1"]);
    let backend = Http2Backend::saying(by_tls(&by_address, BOTH), "hi");
    let balancer = trusted.before(&[backend.address], "upstream.tls.ca = \"file:ca.pem\"");
    assert_eq!(status(&balancer), 200);
    assert!(problems(&balancer).contains("upstream.tls.name"), "{}", problems(&balancer));
}

#[test]
fn insecure_believes_anyone_and_only_where_it_is_written() {
    let made = Authority::new("unknown").issue(&["nobody.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    let folder = tempfile::tempdir().unwrap();
    let labels = "upstream.tls.insecure = true";
    assert_eq!(status(&before(folder.path(), &[backend.address], labels)), 200);
    let named = "host = \"shop.example\"";
    assert_eq!(status(&before(folder.path(), &[backend.address], named)), 502);
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_leaves_nobody_to_believe() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    for (content, told) in [(None, "cannot be read"), (Some("nothing"), "holds no certificate")] {
        let file = trusted.folder.path().join("ca.pem");
        match content {
            None => fs::remove_file(&file).unwrap(),
            Some(content) => fs::write(&file, content).unwrap(),
        }
        let balancer = trusted.before(&[backend.address], NAMED);
        assert_eq!(status(&balancer), 502);
        assert!(balancer.access_logged(" 502 ").contains("upstream_tls_failed"));
        let problems = problems(&balancer);
        assert!(problems.contains(told) && problems.contains("upstream.tls.ca"), "{problems}");
    }
    // It counts as soon as it is mended.
    let balancer = trusted.before(&[backend.address], NAMED);
    assert_eq!(status(&balancer), 502);
    fs::write(trusted.folder.path().join("ca.pem"), trusted.authority.pem()).unwrap();
    wait_for(|| (status(&balancer) == 200).then_some(()));
}

#[test]
fn connections_of_those_who_are_trusted_no_more_are_not_used_again() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    let balancer = trusted.before(&[backend.address], NAMED);
    assert_eq!(status(&balancer), 200);
    let other = Authority::new("another").pem();
    fs::write(trusted.folder.path().join("ca.pem"), other).unwrap();
    wait_for(|| (status(&balancer) == 502).then_some(()));
}

#[test]
fn a_change_of_protocol_goes_by_a_connection_of_its_own() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["shop.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    let balancer = trusted.before(&[backend.address], NAMED);
    assert_eq!(status(&balancer), 200);
    let mut client = Client::connect(balancer.http);
    let request =
        "GET /e HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let answer = client.send(request).answer();
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert_eq!(client.send("to and fro").exactly(10), b"to and fro");
    assert_eq!(backend.shaken().last().unwrap().protocol.as_deref(), Some("http/1.1"));
}

#[test]
fn a_health_check_asks_by_tls_too() {
    let trusted = Trusted::new();
    let labels = format!("{NAMED}health.path = \"/up\"\nhealth.interval = \"100ms\"\n");
    for protocols in [BOTH, &["http/1.1"]] {
        let made = trusted.authority.issue(&["shop.example"]);
        let backend = Http2Backend::saying(by_tls(&made, protocols), "hi");
        let balancer = trusted.before(&[backend.address], &labels);
        assert_eq!(status(&balancer), 200);
    }
    let made = trusted.authority.issue(&["other.example"]);
    let backend = Http2Backend::saying(by_tls(&made, BOTH), "hi");
    let settings = format!(
        "[pools.web]\nservers = [\"{}\"]\nscheme = \"https\"\nhold = \"0s\"\n{labels}",
        backend.address
    );
    let flags = ["--label-files", trusted.folder.path().to_str().unwrap()];
    let balancer = configured(&settings, &flags, []);
    wait_for(|| {
        let status = admin(&balancer, "/api/v1/status").text();
        status.contains("did not prove by TLS who it is").then_some(())
    });
    assert_eq!((status(&balancer), backend.heads().len()), (503, 0));
}

#[test]
fn a_page_for_errors_may_come_by_tls() {
    let trusted = Trusted::new();
    let made = trusted.authority.issue(&["pages.example"]);
    let pages = Http2Backend::saying(by_tls(&made, BOTH), "a page of TLS");
    let failing = Backend::answering(|_| {
        b"HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
    });
    let settings = format!(
        "[pools.web]\nservers = [\"{}\"]\nhost = \"shop.example\"\n\
         error_page = \"pool:pages/x\"\nerror_page.on = \"500\"\n\
         [pools.pages]\nservers = [\"{}\"]\nscheme = \"https\"\nhost = \"pages.example\"\n\
         upstream.tls.ca = \"file:ca.pem\"\n",
        failing.address, pages.address
    )
    .replace(
        "error_page = \"pool:pages/x\"\nerror_page.on",
        "error_page = \"pool:pages/x\"\nerror-page.on",
    );
    let flags = ["--label-files", trusted.folder.path().to_str().unwrap()];
    let balancer = configured(&settings, &flags, [&failing]);
    balancer.logged(&format!("address={}", pages.address));
    let answer = Client::connect(balancer.http).send(get("/")).answer();
    assert!(answer.text().contains("a page of TLS"), "{}", answer.text());
}

#[test]
fn a_service_that_decides_is_asked_by_tls_and_must_prove_who_it_is() {
    let made = Authority::new("unknown").issue(&["127.0.0.1"]);
    let service = Http2Backend::saying(by_tls(&made, &["http/1.1"]), "hi");
    let web = Backend::answering(|_| ok("in"));
    let settings = format!(
        "[pools.web]\nservers = [\"{}\"]\nauth.forward = \"https://{}/verify\"\n",
        web.address, service.address
    );
    let balancer = configured(&settings, &[], [&web]);
    // Nobody of the system vouches for it.
    assert_eq!((status(&balancer), web.seen().len()), (503, 0));
    assert!(balancer.access_logged(" 503 ").contains("auth_unavailable"));
}
