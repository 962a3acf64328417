//! TLS towards replicas and services: whom we believe, and what we offer.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::upstream::{Tls, Trust};
use crate::tls::{Anyone, roots};

/// How to shake hands in each of the ways that have been asked for. A way keeps
/// its sessions, so that the next handshake with the same name is short; what
/// one has verified is never taken for verified by another.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Vec<(Arc<Tls>, Client)>>);

/// What may be spoken within TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// The peer chooses.
    Http2OrHttp1,
    Http1,
    Http2,
}

#[derive(Clone, Debug)]
struct Client {
    both: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Clients {
    /// Shakes hands over `stream`, on which nothing may have been read. The peer
    /// must prove to be the one that `tls` names, or else to be at `address`.
    pub async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &Arc<Tls>,
        address: IpAddr,
        offer: Offer,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let name = match &tls.name {
            Some(name) => ServerName::try_from(name.to_string()).map_err(io::Error::other)?,
            None => ServerName::from(address),
        };
        if tls.trust == Trust::System && !roots::are_read() {
            // The first call reads files.
            tokio::task::spawn_blocking(roots).await?;
        }
        let client = self.client(tls)?;
        let config = match offer {
            Offer::Http2OrHttp1 => client.both,
            Offer::Http1 => client.http1,
            Offer::Http2 => client.http2,
        };
        TlsConnector::from(config).connect(name, stream).await
    }

    fn client(&self, tls: &Arc<Tls>) -> io::Result<Client> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|(it, _)| it == tls) {
            return Ok(client.clone());
        }
        let client = Client::new(&tls.trust)?;
        if known.len() >= CLIENTS_MAX {
            known.remove(0);
        }
        known.push((Arc::clone(tls), client.clone()));
        Ok(client)
    }
}

impl Client {
    fn new(trust: &Trust) -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match trust {
            Trust::System => builder.with_root_certificates(roots()),
            Trust::Authorities(file) => {
                let roots = file.authorities().map_err(io::Error::other)?;
                builder.with_root_certificates(Arc::clone(roots))
            }
            Trust::Nobody => return Err(io::Error::other(Unusable)),
            Trust::Anyone => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            }
        };
        let config = builder.with_no_client_auth();
        // They share the sessions of the first one.
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self {
            both: offering(&[HTTP2, b"http/1.1"]),
            http1: offering(&[b"http/1.1"]),
            http2: offering(&[HTTP2]),
        })
    }
}

/// Whether the peer has chosen HTTP/2.
pub fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Whether the peer has ended the handshake since it speaks nothing of what was
/// offered (RFC 7301, section 3.2).
pub fn shares_no_protocol(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let alert = AlertDescription::NoApplicationProtocol;
    matches!(cause, Some(rustls::Error::AlertReceived(it)) if *it == alert)
}

/// The file of `upstream.tls.ca`, which a problem tells of.
#[derive(Debug, thiserror::Error)]
#[error("the file with the authorities to trust cannot be used")]
struct Unusable;

const HTTP2: &[u8] = b"h2";

/// Ways to shake hands that are remembered; each pool with `scheme=https` and
/// each service of `auth.forward` has one.
const CLIENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_built_once_and_the_oldest_makes_room() {
        let clients = Clients::default();
        let named = |number: usize| {
            let name = Some(format!("a{number}.example").into());
            Arc::new(Tls { name, trust: Trust::Anyone })
        };
        for number in (0..=CLIENTS_MAX).chain([CLIENTS_MAX]) {
            clients.client(&named(number)).unwrap();
        }
        let known = clients.0.lock().unwrap();
        assert_eq!((known.len(), &known[0].0), (CLIENTS_MAX, &named(1)));
    }

    #[test]
    fn nobody_is_believed_where_the_file_cannot_be_used() {
        let tls = Arc::new(Tls { name: None, trust: Trust::Nobody });
        assert!(Clients::default().client(&tls).is_err());
    }
}
