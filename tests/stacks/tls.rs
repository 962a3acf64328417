//! compose/tls: a certificate from files, and three versions of an application.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tempfile::TempDir;
use tokio_rustls::client::TlsStream;

use crate::support::client::http1::exchange_over;
use crate::support::client::http2::Http2;
use crate::support::client::{connect, tls};
use crate::support::curl::curl;
use crate::support::engine::{Engine, finish};
use crate::support::http::{Answer, get};
use crate::support::stack::Stack;
use crate::support::wait::eventually;

#[test]
fn plain_http_is_sent_to_https_for_good_with_host_path_and_query() {
    let Some(engine) = Engine::find() else { return };
    let (stack, _certs) = start(&engine);

    let fields = [("Host", "shop.example.com")];
    let answer = get(stack.address("80"), "/cart?item=7&note=a%20b", &fields).unwrap();

    let target = "https://shop.example.com/cart?item=7&note=a%20b";
    assert_eq!((answer.status, answer.field("location")), (308, Some(target)));
}

#[test]
fn the_versions_take_turns_behind_the_certificate_and_know_that_it_is_https() {
    let Some(engine) = Engine::find() else { return };
    let (stack, certs) = start(&engine);

    for flag in ["--http1.1", "--http2"] {
        let answers: Vec<_> = (0..3).map(|_| ask(&stack, &certs, &[flag])).collect();
        let names: BTreeSet<_> = answers.iter().filter_map(Answer::host_name).collect();
        assert_eq!(names, BTreeSet::from(["v1", "v2", "v3"]), "{answers:?}");
        for answer in &answers {
            let seen = answer.body.to_ascii_lowercase();
            assert!(seen.contains("x-forwarded-proto: https"), "{seen}");
        }
    }

    stack.tell(&["stop", "-t", "1", "v1", "v2", "v3"]);
    eventually(Duration::from_secs(20), || {
        let answer = ask(&stack, &certs, &["-H", "Accept: text/html"]);
        let is_page = answer.body.contains("<h1>We will be back in a moment</h1>");
        if answer.status == 503 && is_page { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[tokio::test]
async fn a_certificate_is_replaced_under_connections_that_stay() {
    let Some(engine) = Engine::find() else { return };
    let (stack, certs) = start(&engine);
    let at = stack.address("443");
    let first = certificate(at).await;
    let line = connect(at).await.unwrap();
    let mut kept = tls::shake_hands(&tls::connector(b"http/1.1"), line).await.unwrap();
    let shared = Http2::connect(at, &tls::connector(b"h2")).await.unwrap();
    assert_eq!(exchange_over(&mut kept, GET).await.unwrap().status, 200);
    assert_eq!(shared.exchange(request(), Bytes::new()).await.unwrap().status, 200);

    // One that is broken changes nothing, and is told.
    replace(certs.path(), "site.crt", b"no certificate");
    eventually(TOLD, || {
        let status = stack.admin("/api/v1/status").map_err(|why| why.to_string())?.body;
        if status.contains("it holds no certificate in PEM form; the one before it stays") {
            return Ok(());
        }
        Err(status)
    });
    assert_eq!(certificate(at).await, first);

    make(certs.path());
    let deadline = tokio::time::Instant::now() + LIVE + ASKING;
    while certificate(at).await == first {
        assert!(tokio::time::Instant::now() < deadline, "the old certificate stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    assert_eq!(exchange_over(&mut kept, GET).await.unwrap().status, 200);
    assert_eq!(shared.exchange(request(), Bytes::new()).await.unwrap().status, 200);
    assert!(!shared.is_over());
    assert_eq!(shown(&kept), first, "it is the same connection");
    assert_eq!(ask(&stack, &certs, &[]).status, 200, "and the new one is trusted");
}

fn start(engine: &Engine) -> (Stack, TempDir) {
    let certs = folder();
    let folder = certs.path().to_str().unwrap().to_owned();
    let stack = Stack::start(engine, "tls/docker-compose.yml", &[], vec![("CERTS", folder)]);
    stack.wait_until_ready(3);
    (stack, certs)
}

/// A folder with a certificate and its key, for the balancer to read.
pub(super) fn folder() -> TempDir {
    let certs = tempfile::Builder::new().prefix("evk-certs-").tempdir().unwrap();
    fs::set_permissions(certs.path(), PermissionsExt::from_mode(0o755)).unwrap();
    make(certs.path());
    certs
}

/// A certificate and its key, as the README makes them, put in place together.
fn make(folder: &Path) {
    let aside = tempfile::tempdir().unwrap();
    finish(Command::new("openssl").current_dir(aside.path()).args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost -keyout site.key -out site.crt"
            .split_whitespace(),
    ));
    for name in ["site.key", "site.crt"] {
        replace(folder, name, &fs::read(aside.path().join(name)).unwrap());
    }
}

/// Puts a file in the place of another, as who renews certificates does.
fn replace(folder: &Path, name: &str, content: &[u8]) {
    let aside = folder.join(format!(".{name}"));
    fs::write(&aside, content).unwrap();
    // The balancer has no rights of its own on what is mounted into it.
    fs::set_permissions(&aside, PermissionsExt::from_mode(0o644)).unwrap();
    fs::rename(&aside, folder.join(name)).unwrap();
}

/// The certificate that a new client is shown.
async fn certificate(at: std::net::SocketAddr) -> Vec<u8> {
    let line = connect(at).await.unwrap();
    shown(&tls::shake_hands(&tls::connector(b"http/1.1"), line).await.unwrap())
}

fn shown<T>(line: &TlsStream<T>) -> Vec<u8> {
    line.get_ref().1.peer_certificates().unwrap().first().unwrap().to_vec()
}

/// The answer to one who trusts that certificate alone.
pub(super) fn ask(stack: &Stack, certs: &TempDir, arguments: &[&str]) -> Answer {
    let trusted = certs.path().join("site.crt");
    let fixed = ["--cacert", trusted.to_str().unwrap(), "https://localhost/"];
    let answer = curl(stack.address("443").port(), &[&fixed, arguments].concat());
    answer.unwrap_or_else(|why| panic!("{why}"))
}

fn request() -> Request<()> {
    Request::get("https://localhost/").body(()).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What is promised of a certificate that is replaced.
const LIVE: Duration = Duration::from_secs(10);

/// For the handshake that sees it.
const ASKING: Duration = Duration::from_secs(2);

/// What is bad is told once it has stood for 10 s, which begin when it has been
/// still for two looks, of 2 s each; the rest is for asking.
const TOLD: Duration = Duration::from_secs(18);
