//! TLS with clients: handshakes that fail, hosts that differ, certificates of clients.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

use super::{Backend, Balancer, Client, admin, before_pools, get, ok, wait_for};
use crate::support::believing::believing_anyone;
use crate::support::certificates::{Authority, Made, Term};

const HTTPS: &[&str] = &["--https", "127.0.0.1:0", "--access-log", "json"];

#[test]
fn a_pool_with_tls_is_served_by_https_and_plain_http_is_sent_there() {
    let backends = [teller()];
    let labels = "host = \"shop.example\"\ntls = \"file\"";
    let flags = [HTTPS, &["--https-public-port", "8443"]].concat();
    let balancer = before_pools(&[("web", &backends, labels)], &flags);
    let mut clear = Client::connect(balancer.http);
    let answer = clear.send(get("/a?b=c")).answer();
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("location").unwrap(), "https://shop.example:8443/a?b=c");
    let mut secure = Secure::connect(balancer.https(), Some("shop.example"));
    assert!(secure.ask("shop.example", "").starts_with("HTTP/1.1 200"));
    let seen = backends[0].seen().pop().unwrap();
    assert_eq!(seen.field("x-forwarded-proto").unwrap(), "https");
    assert_eq!(seen.field("x-forwarded-port").unwrap(), "443");
}

#[test]
fn the_access_log_tells_how_a_connection_is_encrypted_and_nothing_of_a_clear_one() {
    let backends = [teller()];
    let balancer = before_pools(&[("web", &backends, "")], HTTPS);
    let mut named = Secure::connect(balancer.https(), Some("shop.example"));
    named.ask_at("/first", "shop.example", "");
    named.ask_at("/second", "other.example", "");
    for path in ["/first", "/second"] {
        let line = balancer.access_logged(path);
        assert!(line.contains(r#""tls":"TLSv1.3","sni":"shop.example","#), "{line}");
    }
    Secure::connect(balancer.https(), None).ask_at("/unnamed", "shop.example", "");
    let line = balancer.access_logged("/unnamed");
    assert!(line.contains(r#""tls":"TLSv1.3","sni":null,"#), "{line}");
    Client::connect(balancer.http).send(get("/clear")).answer();
    let line = balancer.access_logged("/clear");
    assert!(!line.contains("tls") && !line.contains("sni"), "{line}");
}

#[test]
fn with_redirect_https_off_both_are_served() {
    let backends = [teller()];
    let labels = "tls = \"file\"\nredirect_https = false";
    let balancer = before_pools(&[("web", &backends, labels)], HTTPS);
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 200);
    let answer = Secure::connect(balancer.https(), Some("shop.example")).ask("shop.example", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn plain_http_on_the_https_port_is_told_to_use_https() {
    let balancer = before_pools(&[], HTTPS);
    let mut client = Client::connect(balancer.https());
    let answer = client.send(get("/")).answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https"), "{}", answer.text());
    assert!(client.rest().is_empty());
    failed(&balancer, "not_tls", 1);
    assert!(balancer.logged("TLS handshakes fail").contains("client=127.0.0.1"));
    let mut client = Client::connect(balancer.https());
    assert!(client.send([0, 1, 2, 3]).rest().is_empty());
    failed(&balancer, "not_tls", 2);
    // Who only looks whether we listen is no trouble.
    drop(TcpStream::connect(balancer.https()).unwrap());
    Client::connect(balancer.https()).send([22, 3, 1, 0, 4, 9, 0, 0, 0]).rest();
    failed(&balancer, "protocol", 1);
    failed(&balancer, "broken", 0);
}

#[test]
fn a_handshake_that_stalls_ends_after_ten_seconds() {
    let balancer = before_pools(&[], HTTPS);
    let began = Instant::now();
    let mut silent = Client::connect(balancer.https());
    let mut stalled = Client::connect(balancer.https());
    assert!(stalled.send([22, 3, 1, 2, 0, 1]).rest().is_empty());
    assert!(silent.rest().is_empty());
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&took), "{took:?}");
    failed(&balancer, "timeout", 2);
}

#[test]
fn a_request_for_another_host_of_the_same_certificate_is_served() {
    let backends = [teller()];
    let balancer = before_pools(&[("web", &backends, "tls = \"file\"")], HTTPS);
    let mut client = Secure::connect(balancer.https(), Some("shop.example"));
    assert!(client.ask("shop.example", "").starts_with("HTTP/1.1 200"));
    assert!(client.ask("other.example", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn what_a_client_says_of_its_certificate_itself_is_dropped() {
    let backends = [teller()];
    let balancer = before_pools(&[("web", &backends, "")], HTTPS);
    let mut client = Secure::connect(balancer.https(), Some("shop.example"));
    client.ask("shop.example", "Client-Cert: :AAAA:\r\nClient_Cert: x\r\nClient-Cert-Chain: y\r\n");
    let seen = backends[0].seen().pop().unwrap();
    assert!(!seen.head.to_lowercase().contains("client"), "{}", seen.head);
}

#[test]
fn only_clients_with_a_good_certificate_reach_a_pool_that_requires_one() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, backends) = (Authority::new("clients"), [teller()]);
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let labels = "host = \"shop.example\"\ntls = \"file\"\n'tls.client' = 'required'\n\
                  redirect_https = false";
    let flags = [HTTPS, &["--tls-client-ca", ca.to_str().unwrap()]].concat();
    let balancer = before_pools(&[("web", &backends, labels)], &flags);
    let https = balancer.https();
    let made = authority.client("ann", Term::days(9));
    let mut known = Secure::showing(https, "shop.example", Some(&made));
    let forged = "Client-Cert: :AAAA:\r\n";
    assert!(known.ask("shop.example", forged).starts_with("HTTP/1.1 200"));
    let told = backends[0].seen().pop().unwrap().field("client-cert").unwrap();
    assert_eq!(told, format!(":{}:", Base64::encode_string(&made.der()[0])));

    // Neither a stranger's nor none at all; the fault is told by an alert.
    let stranger = Authority::new("others").client("eve", Term::days(9));
    for made in [Some(&stranger), None] {
        let refused = Secure::showing(https, "shop.example", made).try_ask("shop.example");
        assert!(refused.unwrap_err().to_string().contains("alert"));
    }
    failed(&balancer, "client_certificate", 2);
    // Plain http shows none, and a name that asks for none is not asked.
    let mut clear = Client::connect(balancer.http);
    assert_eq!(clear.send(get("/")).answer().status, 403);
    let mut other = Secure::connect(https, Some("other.example"));
    let misdirected = other.ask("shop.example", "");
    assert!(misdirected.starts_with("HTTP/1.1 421"));
    assert!(misdirected.to_lowercase().contains("\r\nconnection: close\r\n"), "{misdirected}");
    assert!(known.ask("other.example", "").starts_with("HTTP/1.1 404"));
    assert_eq!(backends[0].seen().len(), 1);
}

#[test]
fn a_pool_that_requires_certificates_shuts_nobody_out_of_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("clients");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (inner, outer) = ([teller()], [teller()]);
    let pools: [(&str, &[Backend], &str); 2] = [
        (
            "inner",
            &inner,
            "host = \"shop.example\"\npath = \"/inner\"\ntls = \"file\"\n'tls.client' = 'required'",
        ),
        ("outer", &outer, "tls = \"file\""),
    ];
    let flags = [HTTPS, &["--tls-client-ca", ca.to_str().unwrap()]].concat();
    let balancer = before_pools(&pools, &flags);
    let mut nobody = Secure::connect(balancer.https(), Some("shop.example"));
    assert!(nobody.ask("shop.example", "").starts_with("HTTP/1.1 200"));
    let refused = nobody.ask_at("/inner", "shop.example", "");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let made = authority.client("ann", Term::days(9));
    let mut known = Secure::showing(balancer.https(), "shop.example", Some(&made));
    assert!(known.ask_at("/inner", "shop.example", "").starts_with("HTTP/1.1 200"));
    // Whom we knew by authorities that are no more must come again.
    std::fs::write(&ca, Authority::new("others").pem()).unwrap();
    wait_for(|| {
        let mut again = Secure::showing(balancer.https(), "shop.example", Some(&made));
        again.try_ask("shop.example").is_err().then_some(())
    });
    let outdated = known.ask_at("/inner", "shop.example", "");
    assert!(outdated.starts_with("HTTP/1.1 421"), "{outdated}");
    assert_eq!(inner[0].seen().len(), 1);
}

#[test]
fn the_certificate_of_a_trusted_proxy_is_not_its_clients() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, backends) = (Authority::new("clients"), [teller()]);
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let labels = "tls = \"file\"\n'tls.client' = 'required'";
    let flags =
        [HTTPS, &["--tls-client-ca", ca.to_str().unwrap(), "--trusted-proxies", "127.0.0.0/8"]];
    let balancer = before_pools(&[("web", &backends, labels)], &flags.concat());
    let made = authority.client("proxy", Term::days(9));
    let mut proxy = Secure::showing(balancer.https(), "shop.example", Some(&made));
    for (fields, told) in [("", None), ("Client-Cert: :AAAA:\r\n", Some(":AAAA:"))] {
        assert!(proxy.ask("shop.example", fields).starts_with("HTTP/1.1 200"));
        let seen = backends[0].seen().pop().unwrap();
        assert_eq!(seen.field("client-cert").as_deref(), told);
    }
}

#[test]
fn a_request_for_a_host_of_another_certificate_is_misdirected() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("servers"));
    for name in ["shop.example", "blog.example"] {
        let at = |end: &str| folder.path().join(format!("{name}.{end}"));
        authority.issue(&[name]).write(&at("crt"), &at("key"));
    }
    let backends = [teller()];
    let flags = [HTTPS, &["--tls-dir", folder.path().to_str().unwrap()]].concat();
    let balancer = before_pools(&[("web", &backends, "")], &flags);
    let mut client = Secure::connect(balancer.https(), Some("shop.example"));
    assert!(client.ask("shop.example", "").starts_with("HTTP/1.1 200"));
    assert!(client.ask("blog.example", "").starts_with("HTTP/1.1 421"));
    assert!(balancer.access_logged("misdirected").contains("blog.example"));
    let mut nameless = Secure::connect(balancer.https(), None);
    assert!(nameless.ask("blog.example", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_handshake_under_way_does_not_keep_us_from_stopping() {
    let mut balancer = before_pools(&[], HTTPS);
    let mut stalled = Client::connect(balancer.https());
    stalled.send([22, 3, 1]);
    wait_for(|| connections(&balancer).filter(|&open| open == 1));
    let began = Instant::now();
    balancer.terminate();
    assert_eq!(balancer.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A connection by TLS that trusts whatever it is shown.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    fn connect(to: SocketAddr, name: Option<&'static str>) -> Self {
        let name = name.map_or_else(|| to.ip().into(), |name| name.try_into().unwrap());
        Self::with(to, name, None)
    }

    fn showing(to: SocketAddr, name: &'static str, made: Option<&Made>) -> Self {
        Self::with(to, name.try_into().unwrap(), made)
    }

    fn with(to: SocketAddr, name: ServerName<'static>, made: Option<&Made>) -> Self {
        let config = believing_anyone();
        let config = match made {
            Some(made) => {
                let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
                config.with_client_auth_cert(made.der(), key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        Self(StreamOwned::new(connection, stream))
    }

    /// The answer to a GET for `host`, up to its head's end.
    fn ask(&mut self, host: &str, fields: &str) -> String {
        self.ask_at("/", host, fields)
    }

    fn ask_at(&mut self, path: &str, host: &str, fields: &str) -> String {
        self.try_ask_with(path, host, fields).unwrap()
    }

    fn try_ask(&mut self, host: &str) -> io::Result<String> {
        self.try_ask_with("/", host, "")
    }

    fn try_ask_with(&mut self, path: &str, host: &str, fields: &str) -> io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        Ok(String::from_utf8(answer).unwrap())
    }
}

fn teller() -> Backend {
    Backend::answering(|_| ok(""))
}

fn failed(balancer: &Balancer, reason: &str, count: u64) {
    let line = format!("evenkeel_tls_handshakes_failed_total{{reason=\"{reason}\"}} {count}\n");
    wait_for(|| admin(balancer, "/metrics").text().contains(&line).then_some(()));
}

fn connections(balancer: &Balancer) -> Option<u64> {
    let metrics = admin(balancer, "/metrics").text();
    let name = "evenkeel_connections_open{listener=\"https\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok())
}
