//! The authorities that we trust when we ask others.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use tracing::{debug, info};

/// The authorities that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` say
/// where else they stand); those of Mozilla where it has none, as in an image
/// with nothing but us in it.
///
/// The first call reads files, so it is none for a worker.
pub fn roots() -> Arc<RootCertStore> {
    Arc::clone(ROOTS.get_or_init(|| Arc::new(load())))
}

/// Whether they have been read.
pub(super) fn are_read() -> bool {
    ROOTS.get().is_some()
}

static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

fn load() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors.iter().take(ERRORS_TOLD_MAX) {
        debug!("Cannot read an authority of the system: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        info!("The system trusts no authority that we can read: those of Mozilla count");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// A folder of authorities holds hundreds.
const ERRORS_TOLD_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_always_authorities_to_trust_and_they_are_read_once() {
        assert!(!roots().is_empty());
        assert!(Arc::ptr_eq(&roots(), &roots()) && are_read());
    }
}
