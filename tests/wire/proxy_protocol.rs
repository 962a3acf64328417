//! PROXY headers, from the balancers before us and to the replicas behind us.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Backend, Balancer, Client, admin, get, ok, wait_for};

const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.2 4711 80\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc0\x00\x02\x02\x12\x67\x00\x50";

#[test]
fn the_client_is_who_the_header_names_in_either_version() {
    let backend = teller();
    let balancer = introduced(&backend, &[]);
    for (header, client) in [
        (LINE.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (BINARY.to_vec(), "192.0.2.8"),
        (with_tlvs(BINARY), "192.0.2.8"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec(), "127.0.0.1"),
    ] {
        let mut whole = Client::connect(balancer.http);
        let request = [&header, get("/").as_bytes()].concat();
        assert_eq!(whole.send(&request).answer().text(), client, "{header:?}");
        // It stands for all requests of the connection.
        assert_eq!(whole.send(get("/again")).answer().text(), client);
        let mut pieces = Client::connect(balancer.http);
        for byte in request {
            pieces.send([byte]);
        }
        assert_eq!(pieces.answer().text(), client, "{header:?} byte by byte");
    }
    assert!(balancer.access_logged("192.0.2.7 ").contains("GET /"));
}

#[test]
fn a_header_is_required_from_those_who_send_them() {
    let backend = teller();
    let balancer = introduced(&backend, &["--log", "info,evenkeel=debug"]);
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let large = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec();
    for (bytes, reason) in [
        (get("/").into_bytes(), "does not begin with a PROXY header"),
        (b"PROXY TCP4 a b 1 2\r\n".to_vec(), "an address in the PROXY line is none"),
        (long.into_bytes(), "has no end within 107 bytes"),
        (large, "has no end within 4096 bytes"),
        (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x00".to_vec(), "unknown version"),
    ] {
        let mut client = Client::connect(balancer.http);
        let answer = client.try_send(&bytes).rest();
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        assert!(balancer.logged(reason).contains("DEBUG"), "{reason}");
    }
    // Who only looks whether we listen is no trouble.
    drop(Client::connect(balancer.http));
    balancer.logged("ended without a PROXY header");
    assert!(backend.seen().is_empty());
    let warning = balancer.logged("Connection refused: ");
    assert!(warning.contains("WARN") && warning.contains("127.0.0.1"), "{warning}");
    let metrics = admin(&balancer, "/metrics").text();
    assert!(metrics.contains("evenkeel_proxy_protocol_refused_total 5\n"), "{metrics}");
}

#[test]
fn a_header_that_does_not_come_is_waited_for_as_long_as_a_head() {
    let balancer = introduced(&teller(), &[]);
    let began = Instant::now();
    let mut client = Client::connect(balancer.http);
    assert!(client.send("PROXY TCP4 192.0.2.7").rest().is_empty());
    let waited = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&waited), "{waited:?}");
}

#[test]
fn from_anyone_else_a_header_is_no_http() {
    let backend = teller();
    let pool = format!("web={}", backend.address);
    for args in [&[][..], &["--proxy-protocol", "192.0.2.0/24"]] {
        let balancer = Balancer::start(&[&["--pool", &pool], args].concat());
        balancer.logged("Replica ready");
        for header in [LINE.as_bytes(), BINARY] {
            let mut client = Client::connect(balancer.http);
            let answer = client.try_send([header, get("/").as_bytes()].concat()).answer();
            assert_eq!(answer.status, 400, "{header:?}");
        }
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().text(), "127.0.0.1");
    }
    assert_eq!(backend.seen().len(), 2);
}

#[test]
fn a_proxy_behind_the_one_that_sends_the_header_is_believed_if_it_is_trusted() {
    let backend = teller();
    let balancer = introduced(&backend, &["--trusted-proxies", "192.0.2.7/32"]);
    let request =
        format!("{LINE}GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n");
    assert_eq!(Client::connect(balancer.http).send(request).answer().text(), "198.51.100.9");
    // The one that sends it need not be, and its own address is not listed.
    assert_eq!(
        backend.seen()[0].field("x-forwarded-for").as_deref(),
        Some("198.51.100.9, 192.0.2.7")
    );
}

#[test]
fn a_proxy_that_does_not_say_whom_it_speaks_for_is_not_believed() {
    let backend = teller();
    let balancer = introduced(&backend, &["--trusted-proxies", "127.0.0.1"]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\n\
                   X-Forwarded-Proto: https\r\n\r\n";
    for (header, client, scheme) in [
        (&b"PROXY UNKNOWN\r\n"[..], "127.0.0.1", "http"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00", "127.0.0.1", "http"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", "198.51.100.9", "https"),
    ] {
        let whole = [header, request.as_bytes()].concat();
        assert_eq!(Client::connect(balancer.http).send(whole).answer().text(), client);
        let seen = backend.seen().pop().unwrap();
        assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some(scheme), "{header:?}");
    }
}

#[test]
fn a_head_sent_with_the_header_has_the_time_and_the_rules_of_any_other() {
    let backend = teller();
    let balancer = introduced(&backend, &[]);
    let refused = format!("{LINE}GET / HTTP/1.1\nHost: a\n\n");
    assert_eq!(Client::connect(balancer.http).send(refused).answer().status, 400);
    let early = [LINE, &get("/1"), &get("/2")].concat();
    let mut client = Client::connect(balancer.http);
    client.send(early);
    assert_eq!((client.answer().status, client.answer().status), (200, 200));
    let upload = format!("{LINE}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(Client::connect(balancer.http).send(upload).answer().status, 200);
    assert_eq!(backend.seen().last().unwrap().body, b"abc");
}

#[test]
fn a_replica_is_told_who_the_client_is_on_a_connection_of_its_own() {
    for (version, expect) in [("v1", line as fn(_, _) -> Vec<u8>), ("v2", binary)] {
        let replica = Raw::start();
        let balancer = behind(&replica, &format!("proxy_protocol = \"{version}\"\n"), &[]);
        let mut client = Client::connect(balancer.http);
        let header = expect(client.address(), balancer.http);
        for path in ["/1", "/2"] {
            assert_eq!(client.send(get(path)).answer().text(), "hi");
        }
        let talks = replica.talks();
        assert_eq!(talks.len(), 2, "no connection is used twice: {talks:?}");
        for (talk, path) in talks.iter().zip(["/1", "/2"]) {
            let request = [&header[..], format!("GET {path} HTTP/1.1\r\n").as_bytes()].concat();
            assert!(talk.starts_with(&request), "{}", String::from_utf8_lossy(talk));
        }
    }
}

#[test]
fn a_replica_is_told_of_the_effective_client_and_of_where_it_connected_to() {
    let replica = Raw::start();
    let settings = "proxy_protocol = \"v1\"\n";
    let arguments = ["--trusted-proxies", "192.0.2.7", "--proxy-protocol", "127.0.0.0/8"];
    let balancer = behind(&replica, settings, &arguments);
    for (request, header) in [
        (get("/"), LINE),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n".to_owned(),
            "PROXY TCP4 198.51.100.9 192.0.2.2 0 80\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8::9\r\n\r\n".to_owned(),
            "PROXY TCP6 2001:db8::9 ::ffff:192.0.2.2 0 80\r\n",
        ),
    ] {
        let mut client = Client::connect(balancer.http);
        assert_eq!(client.send(format!("{LINE}{request}")).answer().text(), "hi");
        let talk = replica.talks().pop().unwrap();
        assert!(talk.starts_with(header.as_bytes()), "{}", String::from_utf8_lossy(&talk));
    }
}

#[test]
fn a_health_check_begins_with_a_header_of_nobody() {
    for (version, header) in
        [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00")]
    {
        let replica = Raw::start();
        let settings = format!("proxy_protocol = \"{version}\"\nhealth.path = \"/up\"\n");
        let _balancer = behind(&replica, &settings, &[]);
        let talk = wait_for(|| replica.talks().into_iter().next());
        let expected = [header, b"GET /up HTTP/1.1\r\n"].concat();
        assert!(talk.starts_with(&expected), "{}", String::from_utf8_lossy(&talk));
    }
}

/// A replica that tells the client's address.
fn teller() -> Backend {
    Backend::answering(|seen| ok(&seen.field("x-real-ip").unwrap()))
}

/// A balancer that is sent PROXY headers by everybody on loopback.
fn introduced(backend: &Backend, args: &[&str]) -> Balancer {
    let pool = format!("web={}", backend.address);
    let always = ["--pool", &pool, "--proxy-protocol", "127.0.0.0/8"];
    let balancer = Balancer::start(&[&always, args].concat());
    balancer.logged("Replica ready");
    balancer
}

fn behind(replica: &Raw, settings: &str, args: &[&str]) -> Balancer {
    let file = config(&format!("servers = [\"{}\"]\n{settings}", replica.address));
    let always = ["--config", file.path().to_str().unwrap()];
    let balancer = Balancer::start(&[&always, args].concat());
    balancer.logged("Replica ready");
    balancer
}

fn config(pool: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), format!("[pools.web]\n{pool}")).unwrap();
    file
}

fn with_tlvs(header: &[u8]) -> Vec<u8> {
    let mut longer = [header, &[0xea, 0, 4, 1, b'v', b'p', b'c'], &[4, 0, 0]].concat();
    longer[15] += 10;
    longer
}

fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn binary(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01".to_vec();
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

/// A replica that notes what each of its connections begins with, and answers
/// each request of it.
struct Raw {
    address: SocketAddr,
    talks: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Raw {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let talks = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&talks);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                thread::spawn(move || {
                    let (mut talk, mut answered, mut piece) = (Vec::new(), 0, [0; 4096]);
                    while let Ok(count @ 1..) = stream.read(&mut piece) {
                        talk.extend_from_slice(&piece[..count]);
                        let wanted = ends_of_requests(&talk);
                        if answered == 0 && wanted > 0 {
                            noted.lock().unwrap().push(talk.clone());
                        }
                        for _ in answered..wanted {
                            let _ = stream.write_all(&ok("hi"));
                        }
                        answered = wanted;
                    }
                });
            }
        });
        Self { address, talks }
    }

    /// What each connection began with that was used.
    fn talks(&self) -> Vec<Vec<u8>> {
        self.talks.lock().unwrap().clone()
    }
}

fn ends_of_requests(talk: &[u8]) -> usize {
    let Some(at) = talk.windows(4).position(|it| it == b"GET ") else { return 0 };
    talk[at..].windows(4).filter(|it| it == b"\r\n\r\n").count()
}
