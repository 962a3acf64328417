//! A certificate for when there is no other.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate that nobody vouches for, in the name of `localhost`, with a key
/// of its own.
pub(super) fn self_signed() -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    Ok(CertifiedKey::new(chain, any_supported_type(&key)?))
}
