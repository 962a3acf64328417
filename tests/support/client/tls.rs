//! TLS for clients that take any certificate: what is proven with them is something else.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;
use crate::support::believing::believing_anyone;

/// A client's side that offers this protocol, and knows nobody again.
pub(crate) fn connector(protocol: &[u8]) -> TlsConnector {
    let mut config = believing_anyone().with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands over a connection, in the name of `localhost`.
pub(crate) async fn shake_hands(
    connector: &TlsConnector,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.map_err(|_| Failure::Handshake)
}
