//! Handshakes of real clients with the configurations of the store, in memory.

#![expect(clippy::disallowed_methods, reason = "certificates are judged by the real clock")]

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
};

use crate::domain::tls::{ClientAuth, Profile, UnknownName};
use crate::tls::made::{Authority, DAY, Made, Term};
use crate::tls::store::{Filed, Store};
use crate::tls::{pem, wall_clock};

const HOST: &str = "a.example";

#[test]
fn a_session_goes_on_under_the_same_certificate_and_policy() {
    for version in [&TLS12, &TLS13] {
        let site = Site::new(Profile::Intermediate);
        let client = site.client(version, None);
        assert_eq!(site.shake(&client, ClientAuth::Off), Ok(HandshakeKind::Full));
        assert_eq!(site.shake(&client, ClientAuth::Off), Ok(HandshakeKind::Resumed));
    }
}

#[test]
fn no_session_goes_on_under_another_policy_for_clients() {
    use ClientAuth::{Off, Optional, Required};
    for version in [&TLS12, &TLS13] {
        for (first, then) in
            [(Off, Required), (Optional, Required), (Off, Optional), (Required, Off)]
        {
            let site = Site::new(Profile::Intermediate);
            let identity = site.authority.client("ann", Term::days(1));
            let client = site.client(version, Some(&identity));
            assert_eq!(site.shake(&client, first), Ok(HandshakeKind::Full));
            assert_eq!(site.shake(&client, then), Ok(HandshakeKind::Full), "{first:?} {then:?}");
            let next = if then == Off { HandshakeKind::Resumed } else { HandshakeKind::Full };
            assert_eq!(site.shake(&client, then), Ok(next), "{first:?} {then:?}");
        }
    }
}

#[test]
fn whoever_is_asked_for_a_certificate_shows_it_in_every_handshake() {
    for version in [&TLS12, &TLS13] {
        for auth in [ClientAuth::Optional, ClientAuth::Required] {
            let site = Site::new(Profile::Intermediate);
            let term = Term { from: SystemTime::now() - DAY, until: SystemTime::now() + SOON };
            let client = site.client(version, Some(&site.authority.client("ann", term)));
            assert_eq!(site.shake(&client, auth), Ok(HandshakeKind::Full), "{auth:?}");
            let others = Authority::new("others");
            site.store.set_clients(Some(&Arc::new(others.roots())), wall_clock()).unwrap();
            assert!(site.shake(&client, auth).is_err(), "{version:?} {auth:?}");
            site.store.set_clients(Some(&Arc::new(site.authority.roots())), wall_clock()).unwrap();
            assert_eq!(site.shake(&client, auth), Ok(HandshakeKind::Full), "{auth:?}");
            while SystemTime::now() <= term.until + Duration::from_secs(1) {
                thread::sleep(Duration::from_millis(50));
            }
            assert!(site.shake(&client, auth).is_err(), "{version:?} {auth:?} when it is over");
        }
    }
}

#[test]
fn no_session_goes_on_under_another_certificate() {
    for version in [&TLS12, &TLS13] {
        let site = Site::new(Profile::Intermediate);
        let client = site.client(version, None);
        site.shake(&client, ClientAuth::Off).unwrap();
        // The same name, so that the client offers what it has.
        site.serve(&site.authority.issue(&[HOST]));
        assert_eq!(site.shake(&client, ClientAuth::Off), Ok(HandshakeKind::Full));
    }
}

#[test]
fn clients_of_tls_1_2_are_refused_where_only_the_modern_pass() {
    for (profile, version, passes) in [
        (Profile::Intermediate, &TLS12, true),
        (Profile::Intermediate, &TLS13, true),
        (Profile::Modern, &TLS12, false),
        (Profile::Modern, &TLS13, true),
    ] {
        let site = Site::new(profile);
        let outcome = site.shake(&site.client(version, None), ClientAuth::Off);
        assert_eq!(outcome.is_ok(), passes, "{profile:?} {version:?} {outcome:?}");
    }
}

#[test]
fn a_client_is_known_by_a_good_certificate_alone() {
    use ClientAuth::{Off, Optional, Required};
    let site = Site::new(Profile::Intermediate);
    let good = site.authority.client("ann", Term::days(1));
    let over = site.authority.client("ann", Term::over());
    let foreign = Authority::new("other").client("ann", Term::days(1));
    // A certificate of a server says nothing about a client.
    let server = site.authority.issue(&["ann"]);
    for version in [&TLS12, &TLS13] {
        for (shown, auth, passes) in [
            (None, Off, true),
            (None, Optional, true),
            (None, Required, false),
            (Some(&good), Off, true),
            (Some(&good), Optional, true),
            (Some(&good), Required, true),
            (Some(&over), Off, true),
            (Some(&over), Optional, false),
            (Some(&over), Required, false),
            (Some(&foreign), Optional, false),
            (Some(&foreign), Required, false),
            (Some(&server), Required, false),
        ] {
            let outcome = site.shake(&site.client(version, shown), auth);
            assert_eq!(outcome.is_ok(), passes, "{version:?} {auth:?} {outcome:?}");
        }
    }
}

#[test]
fn without_authorities_of_clients_nobody_passes_where_one_is_required() {
    let site = Site::new(Profile::Intermediate);
    site.store.set_clients(None, wall_clock()).unwrap();
    let good = site.authority.client("ann", Term::days(1));
    for version in [&TLS12, &TLS13] {
        for shown in [None, Some(&good)] {
            let client = site.client(version, shown);
            assert!(site.shake(&client, ClientAuth::Required).is_err());
            assert!(site.shake(&client, ClientAuth::Optional).is_ok(), "nobody is asked");
        }
    }
}

/// A store with one certificate, and who has signed it.
struct Site {
    authority: Authority,
    store: Store,
}

impl Site {
    fn new(profile: Profile) -> Self {
        let authority = Authority::new("a");
        let store = Store::new(profile, UnknownName::default()).unwrap();
        store.set_clients(Some(&Arc::new(authority.roots())), wall_clock()).unwrap();
        let site = Self { authority, store };
        site.serve(&site.authority.issue(&[HOST]));
        site
    }

    fn serve(&self, made: &Made) {
        let certificate = pem::certificate(made.chain.as_bytes(), made.key.as_bytes()).unwrap();
        let filed =
            Filed { path: Path::new("x").into(), certificate: Some(certificate), fault: None };
        self.store.set_files(vec![filed], wall_clock()).unwrap();
    }

    /// A client that remembers its sessions.
    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<&Made>,
    ) -> Arc<ClientConfig> {
        let roots: RootCertStore = self.authority.roots();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(made) => builder.with_client_auth_cert(made.der(), made.key_der()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// How a handshake ends that goes by this policy.
    fn shake(&self, client: &Arc<ClientConfig>, auth: ClientAuth) -> Result<HandshakeKind, String> {
        let config = self.store.choose(Some(HOST), auth).unwrap().config;
        let mut server = ServerConnection::new(config).unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        // The tickets of TLS 1.3 follow the handshake.
        for _ in 0..ROUNDS {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| server.read_tls(bytes));
            server.process_new_packets().map_err(|error| error.to_string())?;
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            feed(&wire, |bytes| client.read_tls(bytes));
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
        assert!(!server.is_handshaking());
        Ok(server.handshake_kind().unwrap())
    }
}

fn feed(wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    let mut rest = wire;
    while !rest.is_empty() {
        read(&mut rest).unwrap();
    }
}

const ROUNDS: usize = 5;

/// Enough for a handshake; certificates know whole seconds.
const SOON: Duration = Duration::from_secs(2);
