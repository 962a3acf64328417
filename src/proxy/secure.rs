//! TLS with a client: the handshake, and what it settles.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use crate::domain::tls::ClientAuth;
use crate::proxy::resources::Resources;
use crate::tls::{Identity, Unrecognised};

/// A connection whose handshake is done.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) session: Session,
}

/// What a handshake has settled, for all requests of its connection.
#[derive(Debug)]
pub(super) struct Session {
    /// The name that the client asked for, in lower case.
    pub(super) name: Option<Arc<str>>,
    /// The certificate that it was shown.
    pub(super) identity: Identity,
    pub(super) auth: ClientAuth,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSecured {
    #[error("we have no certificates")]
    NoStore,
    #[error(transparent)]
    Unrecognised(#[from] Unrecognised),
    #[error("the handshake failed")]
    Io(#[from] io::Error),
}

impl Secured {
    pub(super) fn is_http2(&self) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

/// Shakes hands with the client, who has already sent `_before`.
pub(super) async fn shake_hands(
    resources: &Resources,
    stream: TcpStream,
    _before: &[u8],
) -> Result<Secured, NotSecured> {
    let store = resources.parts.tls.as_ref().ok_or(NotSecured::NoStore)?;
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name: Option<Arc<str>> =
        start.client_hello().server_name().map(|name| name.to_ascii_lowercase().into());
    let auth = ClientAuth::Off;
    let choice = store.choose(name.as_deref(), auth)?;
    let stream = start.into_stream(choice.config).await?;
    Ok(Secured { stream, session: Session { name, identity: choice.identity, auth } })
}
