//! Ways to a daemon, and what is said where there is none.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel::config::DockerAddress;
use evenkeel::domain::world::RunState;
use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::false_daemon::{FalseDaemon, certificates, container};
use super::watched::Watched;

#[tokio::test]
async fn a_socket_that_is_missing_is_told_and_found_when_it_comes() {
    let mut daemon = FalseDaemon::stopped();
    daemon.set_containers([container("api-1", 2)]);
    let mut watched = Watched::start(daemon.address(), "lb");
    let (message, hint) = watched.away().await;
    let socket = daemon.socket().display().to_string();
    assert!(message.contains(&format!("there is no socket at {socket}")), "{message}");
    assert!(hint.contains(&format!("-v /var/run/docker.sock:{socket}:ro")), "{hint}");
    daemon.listen();
    watched.runs("api-1", RunState::Running).await;
}

#[tokio::test]
async fn a_daemon_that_makes_a_new_socket_is_found_again() {
    let mut daemon = FalseDaemon::start();
    daemon.set_containers([container("api-1", 2)]);
    let mut watched = Watched::start(daemon.address(), "lb");
    watched.runs("api-1", RunState::Running).await;
    daemon.stop();
    watched.away().await;
    daemon.listen();
    watched.connected().await;
    watched.runs("api-1", RunState::Running).await;
}

#[tokio::test]
async fn a_directory_in_the_place_of_the_socket_is_told_as_what_it_is() {
    let folder = TempDir::new().unwrap();
    let (message, hint) = trouble_at(folder.path().to_owned()).await;
    assert!(message.ends_with("is a directory, not a socket"), "{message}");
    assert!(hint.contains("remove the empty directory"), "{hint}");
}

#[tokio::test]
async fn a_socket_that_only_a_mount_still_holds_is_told_with_its_remedy() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // As a bind mount does, this holds the inode and not the name.
    let held = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
    drop(listener);
    fs::remove_file(&path).unwrap();
    let (message, hint) = trouble_at(format!("/proc/self/fd/{}", held.as_raw_fd()).into()).await;
    assert!(message.ends_with("is the socket of a daemon that is gone"), "{message}");
    assert!(hint.contains("restart this container"), "{hint}");
}

#[tokio::test]
async fn a_socket_without_a_listener_is_told_as_refusing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("docker.sock");
    drop(UnixListener::bind(&path).unwrap());
    let (message, hint) = trouble_at(path).await;
    assert!(message.ends_with("refuses connections"), "{message}");
    assert!(hint.contains("start Docker"), "{hint}");
}

#[tokio::test]
async fn a_socket_that_may_not_be_opened_is_told_with_its_group() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root may open every socket");
        return;
    }
    let daemon = FalseDaemon::start();
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o000)).unwrap();
    let (message, hint) = trouble_at(daemon.socket()).await;
    let group = rustix::process::getegid().as_raw();
    assert!(message.contains("permission to open"), "{message}");
    assert!(hint.contains(&format!("group_add: [\"{group}\"]")), "{hint}");
}

#[tokio::test]
async fn a_daemon_is_reached_over_tcp() {
    let mut daemon = FalseDaemon::stopped();
    daemon.set_containers([container("api-1", 2)]);
    let port = daemon.listen_tcp(None).await;
    let mut watched =
        Watched::start(DockerAddress::Tcp { host: "127.0.0.1".to_owned(), port }, "lb");
    watched.runs("api-1", RunState::Running).await;
}

#[tokio::test]
async fn a_daemon_is_reached_over_tls_with_our_certificate() {
    let (daemon, port) = tls_daemon().await;
    let mut watched = Watched::start(tls(port, certificates(), true), "lb");
    watched.runs("api-1", RunState::Running).await;
    drop(daemon);
}

#[tokio::test]
async fn a_certificate_of_nobody_we_trust_is_refused_unless_asked_not_to_verify() {
    let (_daemon, port) = tls_daemon().await;
    let folder = TempDir::new().unwrap();
    for (from, to) in [("cert.pem", "cert.pem"), ("key.pem", "key.pem"), ("cert.pem", "ca.pem")] {
        fs::copy(certificates().join(from), folder.path().join(to)).unwrap();
    }
    let mut watched = Watched::start(tls(port, folder.path().to_owned(), true), "lb");
    let (message, hint) = watched.away().await;
    assert!(message.contains("the TLS handshake with tcp://127.0.0.1"), "{message}");
    assert!(hint.contains("ca.pem"), "{hint}");

    let mut watched = Watched::start(tls(port, folder.path().to_owned(), false), "lb");
    watched.runs("api-1", RunState::Running).await;
}

#[tokio::test]
async fn certificates_that_are_missing_are_told_by_file() {
    let folder = TempDir::new().unwrap();
    let mut watched = Watched::start(tls(1, folder.path().to_owned(), true), "lb");
    let (message, hint) = watched.away().await;
    assert!(message.contains("ca.pem") && message.contains("cannot read"), "{message}");
    assert!(hint.contains("DOCKER_CERT_PATH"), "{hint}");
}

async fn trouble_at(path: PathBuf) -> (String, String) {
    Watched::start(DockerAddress::Unix(path), "lb").away().await
}

fn tls(port: u16, certificates: PathBuf, verify: bool) -> DockerAddress {
    DockerAddress::Tls { host: "127.0.0.1".to_owned(), port, certificates, verify }
}

/// A daemon that takes only clients whose certificate our authority signed.
async fn tls_daemon() -> (FalseDaemon, u16) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = |file| CertificateDer::from_pem_file(certificates().join(file)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::from_pem_file(certificates().join("server-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap();
    let mut daemon = FalseDaemon::stopped();
    daemon.set_containers([container("api-1", 2)]);
    let port = daemon.listen_tcp(Some(TlsAcceptor::from(Arc::new(config)))).await;
    (daemon, port)
}
