//! A certificate for when there is no other.

use rustls::pki_types::PrivateKeyDer;

use crate::tls::certificate::Certificate;

/// Why there is not even a certificate of our own making.
pub type Unmade = Box<dyn std::error::Error + Send + Sync>;

/// A certificate that nobody vouches for, in the name of `localhost`, with a key
/// of its own.
pub(super) fn self_signed() -> Result<Certificate, Unmade> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    Ok(Certificate::new(&[made.cert.der().clone()], &key)?)
}
