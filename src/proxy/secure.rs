//! TLS with a client: the handshake, and what it settles.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use base64ct::{Base64, Encoding};
use http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::rustls::{self, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::domain::names::host_key;
use crate::domain::tls::ClientAuth;
use crate::proxy::complaints::{Kind, complain};
use crate::proxy::connection::FIRST_HEAD;
use crate::proxy::handshakes::Place;
use crate::proxy::http1::Limits;
use crate::proxy::http1::linger::linger;
use crate::proxy::prefixed::Prefixed;
use crate::proxy::resources::Resources;
use crate::tls::{Authorities, Choice, Identity, Store, Unrecognised, not_after};

/// A connection whose handshake is done.
#[derive(Debug)]
pub(super) struct Secured {
    /// Boxed, since it is handed on and is large.
    pub(super) stream: Box<TlsStream<Prefixed<TcpStream>>>,
    pub(super) session: Session,
}

/// What a handshake has settled, for all requests of its connection.
#[derive(Debug)]
pub(super) struct Session {
    /// The name that the client asked for, in lower case.
    pub(super) name: Option<Arc<str>>,
    /// The version of TLS, as the access log names it.
    pub(super) version: &'static str,
    /// The certificate that it was shown.
    pub(super) identity: Identity,
    pub(super) auth: ClientAuth,
    /// By which clients were known then.
    pub(super) authorities: Authorities,
    /// The verified certificate of the client, as replicas are told of it
    /// (RFC 9440, section 2.1).
    pub(super) client: Option<ClientCert>,
}

/// A verified certificate.
#[derive(Debug)]
pub(super) struct ClientCert {
    pub(super) value: HeaderValue,
    not_after: SystemTime,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSecured {
    #[error("we have no certificates")]
    NoStore,
    #[error(transparent)]
    Unrecognised(#[from] Unrecognised),
    #[error("it took too long")]
    Late,
    #[error("it gave way to newer ones")]
    Crowded,
    #[error("plain http was spoken")]
    PlainHttp,
    #[error("it does not begin as TLS does")]
    NotTls,
    #[error("{0}")]
    Tls(rustls::Error),
    #[error("the connection broke")]
    Io(#[source] io::Error),
}

impl Secured {
    pub(super) fn is_http2(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl Session {
    /// Whether a handshake at `now` might end otherwise, where `authorities` are
    /// those by which clients are known.
    pub(super) fn is_outdated(&self, now: SystemTime, authorities: &Authorities) -> bool {
        let is_over = |client: &ClientCert| now > client.not_after;
        self.auth != ClientAuth::Off
            && (self.authorities != *authorities || self.client.as_ref().is_some_and(is_over))
    }
}

impl ClientCert {
    /// None of one that is too large to be passed on.
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        Some(Self { value: value(certificate)?, not_after: not_after(certificate)? })
    }
}

impl NotSecured {
    /// The name in metrics: one of [`FAILURES`].
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoStore | Self::Unrecognised(_) => "no_certificate",
            Self::Late => "timeout",
            Self::Crowded => "crowded",
            Self::PlainHttp | Self::NotTls => "not_tls",
            Self::Tls(
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented,
            ) => "client_certificate",
            Self::Tls(rustls::Error::AlertReceived(_)) => "refused",
            Self::Tls(_) => "protocol",
            Self::Io(_) => "broken",
        }
    }
}

impl From<io::Error> for NotSecured {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(fault) => Self::Tls(fault.clone()),
            None => Self::Io(error),
        }
    }
}

/// Shakes hands with `client`, who has already sent `before`, until `deadline`.
/// None where nothing is left to be served: it left again, only looked at a
/// challenge, or we stop.
pub(super) async fn shake_hands(
    resources: &Resources,
    client: IpAddr,
    stream: TcpStream,
    before: Vec<u8>,
    deadline: Instant,
) -> Result<Option<Secured>, NotSecured> {
    let store = resources.parts.tls.as_ref().ok_or(NotSecured::NoStore)?;
    let stops = resources.bell().listen();
    let secured = async {
        let first = match before.first() {
            Some(&first) => first,
            None => match first_byte(&stream).await? {
                Some(first) => first,
                // Who only looks whether we listen is no trouble.
                None => return Ok(None),
            },
        };
        // Those who say nothing hold next to nothing, and take nobody's place.
        let place = resources.handshakes().begin(client);
        tokio::select! {
            secured = negotiate(resources, store, (client, &place), stream, (first, before)) => secured,
            () = place.lost() => Err(NotSecured::Crowded),
        }
    };
    tokio::select! {
        secured = timeout_at(deadline, secured) => secured.map_err(|_| NotSecured::Late)?,
        () = stops.unwanted_for(FIRST_HEAD) => Ok(None),
    }
}

async fn negotiate(
    resources: &Resources,
    store: &Store,
    (client, place): (IpAddr, &Place<'_>),
    mut stream: TcpStream,
    (first, before): (u8, Vec<u8>),
) -> Result<Option<Secured>, NotSecured> {
    match first {
        HANDSHAKE => {}
        letter if letter.is_ascii_uppercase() => {
            stream.write_all(USE_HTTPS).await?;
            linger(&mut stream, &Limits::default()).await;
            return Err(NotSecured::PlainHttp);
        }
        _ => return Err(NotSecured::NotTls),
    }
    let stream = Prefixed::new(before, stream);
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    // Boxed, since who never says hello has no use for its room.
    Box::pin(settle(resources, store, (client, place), start)).await
}

/// Goes on once the client has said what it wants.
async fn settle(
    resources: &Resources,
    store: &Store,
    (client, place): (IpAddr, &Place<'_>),
    start: StartHandshake<Prefixed<TcpStream>>,
) -> Result<Option<Secured>, NotSecured> {
    let hello = start.client_hello();
    let name: Option<Arc<str>> = hello.server_name().map(|name| host_key(name).into());
    if let Some(config) = challenge(store, &hello) {
        // Whoever validates looks at the certificate and goes (RFC 8737,
        // section 3).
        let mut stream = start.into_stream(config).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    let auth = resources.table().client_auth(name.as_deref().unwrap_or_default());
    let choice = match store.choose(name.as_deref(), auth) {
        Ok(choice) => choice,
        Err(unrecognised) => {
            let mut stream = start.io;
            stream.write_all(&UNRECOGNIZED_NAME).await?;
            linger(&mut stream, &Limits::default()).await;
            return Err(unrecognised.into());
        }
    };
    let shrink = |it: &mut ServerConnection| it.set_buffer_limit(Some(BUFFERED_BYTES_MAX));
    let turn = place.turn().await;
    let answered = start.into_stream_with(choice.config, shrink);
    drop(turn);
    let stream = match answered.into_fallible().await {
        Ok(stream) => stream,
        Err((error, mut stream)) => {
            // A reset must not overtake the alert that says what is wrong.
            linger(&mut stream, &Limits::default()).await;
            return Err(error.into());
        }
    };
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    resources.parts.counters.handshake(resumed);
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = certificates.first().filter(|_| auth != ClientAuth::Off);
    let known = shown.and_then(ClientCert::read);
    if shown.is_some() && known.is_none() {
        // Replicas could not be told of it, so it counts as not shown.
        complain(resources, Kind::Certificate, client, &"it is too large to be passed on");
    }
    let Choice { identity, authorities, .. } = choice;
    let version = version(stream.get_ref().1);
    let session = Session { name, version, identity, auth, authorities, client: known };
    Ok(Some(Secured { stream: Box::new(stream), session }))
}

/// None of a connection that has ended.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let count = stream.peek(&mut first).await?;
    Ok(first.first().copied().filter(|_| count > 0))
}

/// What somebody gets who comes to validate a name for which we have asked for a
/// certificate (RFC 8737).
fn challenge(store: &Store, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
    let mut protocols = hello.alpn()?;
    let is_validation = protocols.next() == Some(b"acme-tls/1") && protocols.next().is_none();
    store.challenge(hello.server_name().filter(|_| is_validation)?)
}

/// As nginx and OpenSSL name it.
fn version(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        // There is no other that we speak.
        Some(_) | None => "TLS",
    }
}

/// A certificate as a byte sequence (RFC 8941, section 3.3.5).
fn value(certificate: &[u8]) -> Option<HeaderValue> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    HeaderValue::try_from(format!(":{}:", Base64::encode_string(certificate))).ok()
}

/// The content type of a record that holds a `ClientHello` (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A record with the fatal alert `unrecognized_name` (RFC 6066, section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// For a browser that was given `http://` with the port of https.
const USE_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 67\r\n\
    Cache-Control: no-store\r\n\
    Connection: close\r\n\r\n\
    This port speaks https. Please use an address that begins with it.\n";

/// What is written and not sent yet, in plain text and in records: two records,
/// so that one can be filled while the other goes.
const BUFFERED_BYTES_MAX: usize = 32 * 1024;

/// Larger ones would not fit into the heads that replicas accept.
const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// Why handshakes fail, as metrics name it.
pub const FAILURES: &[&str] = &[
    "timeout",
    "crowded",
    "not_tls",
    "no_certificate",
    "client_certificate",
    "refused",
    "protocol",
    "broken",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tls::{Profile, UnknownName};
    use std::time::Duration;

    #[test]
    fn a_certificate_is_told_as_a_byte_sequence_up_to_its_bound() {
        assert_eq!(value(b"\x30\x82\xff").unwrap(), ":MIL/:");
        assert!(value(&[0; CERTIFICATE_BYTES_MAX]).is_some());
        assert!(value(&[0; CERTIFICATE_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn what_was_shown_counts_until_it_is_over_or_the_authorities_change() {
        let store = || Store::new(Profile::default(), UnknownName::default()).unwrap();
        let (store, replaced) = (store(), store());
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let session = |auth, shows: bool| {
            let Choice { identity, authorities, .. } = store.choose(None, auth).unwrap();
            let value = HeaderValue::from_static(":AA==:");
            let client = shows.then_some(ClientCert { value, not_after: until });
            Session { name: None, version: "TLSv1.3", identity, auth, authorities, client }
        };
        let (now, later) = (until, until + Duration::from_secs(1));
        for (auth, shows, over, changed) in [
            (ClientAuth::Off, false, false, false),
            (ClientAuth::Optional, false, false, true),
            (ClientAuth::Optional, true, true, true),
            (ClientAuth::Required, true, true, true),
        ] {
            let session = session(auth, shows);
            assert!(!session.is_outdated(now, &store.authorities()), "{auth:?}");
            assert_eq!(session.is_outdated(later, &store.authorities()), over, "{auth:?}");
            assert_eq!(session.is_outdated(now, &replaced.authorities()), changed, "{auth:?}");
        }
    }

    #[test]
    fn plain_http_is_answered_with_as_many_bytes_as_it_says() {
        let text = std::str::from_utf8(USE_HTTPS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
