//! TLS towards a daemon, from the folder that the Docker CLI uses too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::tls::Anyone;

/// What is wrong with the folder of certificates.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no {what} in PEM form", path.display())]
    Pem { path: PathBuf, what: &'static str, source: pem::Error },
    #[error("the certificates in {} cannot be used", folder.display())]
    Unusable { folder: PathBuf, source: rustls::Error },
}

/// Trusts the authorities of `ca.pem` (anybody, unless `verify`) and shows
/// `cert.pem` with `key.pem`; without `verify` none of the three must exist.
pub(super) async fn connector(folder: &Path, verify: bool) -> Result<TlsConnector, TlsError> {
    let unusable = |source| TlsError::Unusable { folder: folder.to_owned(), source };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = if verify {
        builder.with_root_certificates(authorities(folder).await?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    };
    let config = match identity(folder, verify).await? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn authorities(folder: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(folder.join("ca.pem")).await? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Unusable { folder: folder.to_owned(), source })?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

async fn identity(folder: &Path, required: bool) -> Result<Option<Identity>, TlsError> {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !required && !tokio::fs::try_exists(&certificate).await.unwrap_or(false) {
        return Ok(None);
    }
    let chain = certificates(certificate).await?;
    let text = read(&key).await?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|source| TlsError::Pem {
        path: key,
        what: "private key",
        source,
    })?;
    Ok(Some((chain, key)))
}

async fn certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(&path).await?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::Pem { path, what: "certificate", source: pem::Error::NoItemsFound }),
        Err(source) => Err(TlsError::Pem { path, what: "certificate", source }),
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
