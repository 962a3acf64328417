//! Certificates that stand in files: who gets which, and what a change does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::{Backend, Balancer, admin, before_pools, ok, wait_for};
use crate::support::certificates::{Authority, Made};

/// What a client says that was shown the default for a name that is not its.
const OF_DEFAULT: &str = "only valid for DnsName(\"first.example\")";

#[test]
fn each_name_gets_its_certificate_and_others_the_default() {
    let site = Site::new();
    let [default, exact, wildcard] = [&["first.example"], &["shop.example"], &["*.shop.example"]]
        .map(|it| site.authority.issue(it));
    for (name, made) in [("default", &default), ("exact", &exact), ("wildcard", &wildcard)] {
        site.put(name, made);
    }
    let balancer = site.before(&["--tls-dir", &site.path("")]);
    for (name, expected) in [
        (Some("shop.example"), &exact),
        (Some("api.shop.example"), &wildcard),
        (Some("first.example"), &default),
    ] {
        assert_eq!(site.connect(&balancer, name).shown(), expected.der()[0], "{name:?}");
    }
    for name in [Some("a.api.shop.example"), Some("other.example")] {
        let failed = site.try_connect(&balancer, name).unwrap_err();
        assert!(failed.contains(OF_DEFAULT), "{name:?}: {failed}");
    }
    assert!(site.try_connect(&balancer, None).unwrap_err().contains(OF_DEFAULT));
    let metrics = admin(&balancer, "/metrics").text();
    let sample =
        "evenkeel_certificate_expiry_timestamp_seconds{name=\"shop.example\",origin=\"file\"}";
    assert!(metrics.contains(sample), "{metrics}");

    let strict = site.before(&["--tls-dir", &site.path(""), "--sni", "strict"]);
    assert_eq!(site.connect(&strict, Some("shop.example")).shown(), exact.der()[0]);
    let failed = site.try_connect(&strict, Some("other.example")).unwrap_err();
    assert!(!failed.contains("valid for"), "it was shown something: {failed}");
}

#[test]
fn a_new_certificate_is_live_within_ten_seconds_and_drops_no_connection() {
    let site = Site::new();
    let old = site.authority.issue(&["shop.example"]);
    site.put("site", &old);
    let balancer = site.before_pair(&[]);
    let mut kept = site.connect(&balancer, Some("shop.example"));
    assert_eq!(kept.shown(), old.der()[0]);

    let new = site.authority.issue(&["shop.example"]);
    site.put("site", &new);
    let began = Instant::now();
    wait_for(|| {
        assert_eq!(kept.ask(), 200, "it goes on");
        let shown = site.connect(&balancer, Some("shop.example")).shown();
        (shown == new.der()[0]).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(kept.ask(), 200);
    assert_eq!(problems(&balancer), Vec::<String>::new());
}

#[test]
fn a_key_that_does_not_match_is_told_while_the_old_certificate_serves() {
    let site = Site::new();
    let old = site.authority.issue(&["shop.example"]);
    site.put("site", &old);
    let balancer = site.before_pair(&[]);
    let other = site.authority.issue(&["shop.example"]);
    site.put_file("site.key", &other.key);
    let line = within(Duration::from_secs(20), || {
        problems(&balancer).into_iter().find(|it| it.contains("belongs to another certificate"))
    });
    assert!(line.contains("site.key") && line.contains("the one before it stays in use"), "{line}");
    assert_eq!(site.connect(&balancer, Some("shop.example")).shown(), old.der()[0]);
    let status: serde_json::Value =
        serde_json::from_str(&admin(&balancer, "/api/v1/status").text()).unwrap();
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["origin"], "file");
    assert_eq!(certificate["names"][0], "shop.example");
    assert_eq!(certificate["days_left"], 89);
    assert!(certificate["problem"].as_str().unwrap().contains("belongs to another certificate"));

    site.put_file("site.crt", &other.chain);
    balancer.logged("Mended: certificate");
    assert_eq!(site.connect(&balancer, Some("shop.example")).shown(), other.der()[0]);
}

#[test]
fn without_any_certificate_one_of_our_own_is_shown() {
    let balancer = before_pools(&[], &["--https", "127.0.0.1:0"]);
    let status: serde_json::Value =
        serde_json::from_str(&admin(&balancer, "/api/v1/status").text()).unwrap();
    let certificate = &status["certificates"][0];
    assert_eq!(
        (&certificate["origin"], &certificate["names"][0]),
        (&"self-signed".into(), &"localhost".into())
    );
    assert_eq!(status["problems"], serde_json::json!([]));
}

#[test]
fn a_key_that_only_root_may_read_serves_and_is_told_with_its_remedy() {
    let site = Site::new();
    if fs::metadata(site.folder.path()).unwrap().uid() != 0 {
        eprintln!("SKIPPED: only root can give up root");
        return;
    }
    let made = site.authority.issue(&["shop.example"]);
    site.put("site", &made);
    fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = PathBuf::from(site.path("lib/evenkeel"));
    let balancer = site.before_pair(&["--user", "65532", "--state", state.to_str().unwrap()]);
    assert_eq!(site.connect(&balancer, Some("shop.example")).shown(), made.der()[0]);
    let line = balancer.logged("may not be read by user 65532");
    assert!(line.contains(&format!("chown 65532 {}", site.path("site.key"))), "{line}");
    let made = fs::metadata(&state).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o777), (65532, 0o700), "what is kept has a place");
    let above = fs::metadata(site.path("lib")).unwrap();
    assert_eq!((above.uid(), above.mode() & 0o777), (0, 0o755), "and it can be reached");
}

/// A folder of certificates, and who has signed them.
struct Site {
    authority: Authority,
    folder: TempDir,
    backends: [Backend; 1],
}

impl Site {
    fn new() -> Self {
        Self {
            authority: Authority::new("site"),
            folder: tempfile::tempdir().unwrap(),
            backends: [Backend::answering(|_| ok("hi"))],
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, made: &Made) {
        self.put_file(&format!("{name}.crt"), &made.chain);
        self.put_file(&format!("{name}.key"), &made.key);
    }

    /// Puts a file in the place of another at once.
    fn put_file(&self, name: &str, content: &str) {
        let new = self.path(".new");
        fs::write(&new, content).unwrap();
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn before(&self, flags: &[&str]) -> Balancer {
        let flags = [&["--https", "127.0.0.1:0"], flags].concat();
        before_pools(&[("web", &self.backends, "")], &flags)
    }

    fn before_pair(&self, flags: &[&str]) -> Balancer {
        let (certificate, key) = (self.path("site.crt"), self.path("site.key"));
        self.before(&[&["--tls-cert", &certificate, "--tls-key", &key], flags].concat())
    }

    /// A connection whose client trusts our authority and asks for `name`; it
    /// expects `nobody.example` if it does not say for whom it asks.
    fn try_connect(&self, balancer: &Balancer, name: Option<&str>) -> Result<Secure, String> {
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.authority.roots())
                .with_no_client_auth();
        config.enable_sni = name.is_some();
        let host = name.unwrap_or("nobody.example").to_owned();
        let expected = ServerName::try_from(host.clone()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), expected).unwrap();
        let socket = TcpStream::connect(balancer.https()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        Ok(Secure { stream, host })
    }

    fn connect(&self, balancer: &Balancer, name: Option<&str>) -> Secure {
        self.try_connect(balancer, name).unwrap()
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    host: String,
}

impl Secure {
    /// The certificate that the balancer has shown.
    fn shown(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// The status of one more request.
    fn ask(&mut self) -> u16 {
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hi") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let head = String::from_utf8(answer).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn problems(balancer: &Balancer) -> Vec<String> {
    let status: serde_json::Value =
        serde_json::from_str(&admin(balancer, "/api/v1/status").text()).unwrap();
    let told = status["problems"].as_array().unwrap().iter();
    told.map(|it| it["message"].as_str().unwrap().to_owned()).collect()
}

/// As [`wait_for`], which waits for no more than ten seconds.
fn within<T>(bound: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    crate::support::wait::eventually(bound, || ask().ok_or("it is not so"))
}
