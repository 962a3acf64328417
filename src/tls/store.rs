//! The certificates in use, and which of them a handshake gets.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::domain::tls::ClientAuth;
use crate::tls::self_signed::self_signed;

/// The certificates in use. Handshakes read it; whoever finds newer ones
/// replaces them at once.
#[derive(Debug)]
pub struct Store {
    certificates: ArcSwap<Certificates>,
}

/// Which of our certificates it is, whatever its content becomes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity(Arc<str>);

/// What a handshake goes on with.
#[derive(Clone, Debug)]
pub struct Choice {
    pub config: Arc<ServerConfig>,
    pub identity: Identity,
}

/// There is no certificate for this name, and no other is to be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no certificate for the name that was asked for")]
pub struct Unrecognised;

#[derive(Debug)]
struct Certificates {
    default: Choice,
}

impl Store {
    /// A store with nothing but a self-signed certificate.
    pub fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let config = config(Arc::new(self_signed()?))?;
        let default = Choice { config: Arc::new(config), identity: Identity("default".into()) };
        Ok(Self { certificates: ArcSwap::from_pointee(Certificates { default }) })
    }

    /// What a client gets that asks for `name`, if it says one, under this
    /// policy for certificates of its own.
    pub fn choose(&self, _name: Option<&str>, _auth: ClientAuth) -> Result<Choice, Unrecognised> {
        Ok(self.certificates.load().default.clone())
    }

    /// What a client gets that comes to validate `name` (RFC 8737): none if
    /// nobody waits for it.
    pub fn challenge(&self, _name: &str) -> Option<Arc<ServerConfig>> {
        None
    }

    /// The certificate that stands for `name`.
    pub fn identity(&self, _name: &str) -> Option<Identity> {
        Some(self.certificates.load().default.identity.clone())
    }
}

#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn config(key: Arc<CertifiedKey>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(One(key)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
