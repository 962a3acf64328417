//! Certificates and keys as they stand in files.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::certificate::{Certificate, Fault};

/// The certificate that `chain` and `key` hold in PEM form. Text around them
/// is passed over, as OpenSSL does.
pub fn certificate(chain: &[u8], key: &[u8]) -> Result<Certificate, Fault> {
    Certificate::new(&certificates(chain)?, &private_key(key)?)
}

/// Every certificate that `text` holds; at least one.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| Fault::ChainNotPem)?;
    if found.is_empty() { Err(Fault::NoCertificate) } else { Ok(found) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        if !matches!(error, Error::NoItemsFound) {
            Fault::KeyNotPem
        } else if contains(text, b"ENCRYPTED PRIVATE KEY") {
            Fault::EncryptedKey
        } else {
            Fault::NoKey
        }
    })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(text, word).is_some()
}

#[cfg(test)]
mod tests;
