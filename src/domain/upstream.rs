//! How replicas are spoken to.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::files::Content;

/// What a replica speaks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    #[default]
    Http,
    /// HTTP/2 or HTTP/1.1 by TLS, as it chooses.
    Https,
    /// HTTP/2 in the clear, without asking for it first (RFC 9113, section 3.3).
    H2c,
}

/// How the replicas of a pool prove that they are who they should be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// The DNS name or address that their certificates must be for; without one
    /// it is the address at which each is reached.
    pub name: Option<Arc<str>>,
    pub trust: Trust,
}

/// Whose word is believed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// That of the authorities of the system.
    #[default]
    System,
    /// That of the authorities in this file, and of no other.
    Authorities(Arc<Content>),
    /// A file names them that cannot be used, so that nobody is believed.
    Nobody,
    /// Nothing is verified.
    Anyone,
}

/// Why a file names no authority. `Display` continues "…, which".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAuthorities {
    #[error("holds no certificate in PEM form")]
    None,
    #[error("holds a certificate that cannot be read")]
    Certificate,
    #[error("holds more than {AUTHORITIES_MAX} certificates")]
    TooMany,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The authorities of a text with their certificates in PEM form (RFC 7468).
pub fn authorities(text: &[u8]) -> Result<Arc<RootCertStore>, InvalidAuthorities> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|_| InvalidAuthorities::Certificate)?;
        if roots.len() >= AUTHORITIES_MAX {
            return Err(InvalidAuthorities::TooMany);
        }
        roots.add(certificate).map_err(|_| InvalidAuthorities::Certificate)?;
    }
    if roots.is_empty() { Err(InvalidAuthorities::None) } else { Ok(Arc::new(roots)) }
}

/// Those of whole systems are some 150.
const AUTHORITIES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_authorities_holds_certificates_that_can_be_read() {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let one = made.cert.pem();
        let many = |count| one.repeat(count);
        assert_eq!(authorities(one.as_bytes()).unwrap().len(), 1);
        assert_eq!(authorities(many(AUTHORITIES_MAX).as_bytes()).unwrap().len(), AUTHORITIES_MAX);
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, fault) in [
            (String::new(), InvalidAuthorities::None),
            (made.signing_key.serialize_pem(), InvalidAuthorities::None),
            (garbled.to_owned(), InvalidAuthorities::Certificate),
            (format!("{one}{garbled}"), InvalidAuthorities::Certificate),
            (many(AUTHORITIES_MAX + 1), InvalidAuthorities::TooMany),
        ] {
            assert_eq!(authorities(text.as_bytes()).map(|it| it.len()), Err(fault));
        }
    }
}
