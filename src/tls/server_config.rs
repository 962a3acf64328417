//! How a handshake with one certificate goes.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    NoServerSessionStorage, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion, version,
};

use crate::domain::tls::{ClientAuth, Profile};

/// What all handshakes have in common.
#[derive(Debug)]
pub(super) struct Terms {
    profile: Profile,
    provider: Arc<CryptoProvider>,
    /// Judge the certificates of clients; none without an authority for them.
    optional: Option<Arc<dyn ClientCertVerifier>>,
    required: Option<Arc<dyn ClientCertVerifier>>,
}

/// The ways to shake hands with one certificate.
///
/// Sessions go on only where clients are not asked for certificates, and each of
/// those has ticket keys and a memory of its own. A session can thus never go on
/// under another certificate or policy, where its client would pass unchecked
/// (CVE-2025-23419).
#[derive(Debug)]
pub(super) struct Configs {
    off: Arc<ServerConfig>,
    optional: Arc<ServerConfig>,
    required: Arc<ServerConfig>,
}

impl Terms {
    /// Clients are known by certificates of `clients`.
    pub(super) fn new(
        profile: Profile,
        clients: Option<&Arc<RootCertStore>>,
    ) -> Result<Self, VerifierBuilderError> {
        let provider = Arc::new(default_provider());
        let verifier = |roots| {
            WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
        };
        let optional = clients.map(|roots| verifier(roots).allow_unauthenticated().build());
        let required = clients.map(|roots| verifier(roots).build());
        let (optional, required) = (optional.transpose()?, required.transpose()?);
        Ok(Self { profile, provider, optional, required })
    }

    pub(super) fn configs(&self, key: &CertifiedKey) -> Result<Configs, Error> {
        let off = Arc::new(self.config(key, None)?);
        let optional = match &self.optional {
            Some(verifier) => Arc::new(self.config(key, Some(verifier))?),
            // Nobody could show a good one, so nobody is asked.
            None => Arc::clone(&off),
        };
        let required = match &self.required {
            Some(verifier) => self.config(key, Some(verifier))?,
            None => self.refusing(key)?,
        };
        Ok(Configs { off, optional, required: Arc::new(required) })
    }

    /// What a client gets that comes to validate a name (RFC 8737, section 3).
    pub(super) fn challenge(&self, key: &CertifiedKey) -> Result<ServerConfig, Error> {
        let mut config = self.bare(key, None)?;
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        Ok(config)
    }

    fn config(
        &self,
        key: &CertifiedKey,
        clients: Option<&Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, Error> {
        let mut config = self.bare(key, clients)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients.is_some() {
            // A session that goes on brings the certificate of its client along,
            // at whose dates nobody would look again.
            return Ok(config);
        }
        // It renews its keys every six hours.
        config.ticketer = Ticketer::new()?;
        // A client that has used it up gets the next one with that handshake.
        config.send_tls13_tickets = 1;
        if self.profile == Profile::Intermediate {
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        }
        Ok(config)
    }

    /// Without an authority for clients none can be known.
    fn refusing(&self, key: &CertifiedKey) -> Result<ServerConfig, Error> {
        let nobody: Arc<dyn ClientCertVerifier> =
            Arc::new(Nobody { provider: Arc::clone(&self.provider) });
        self.bare(key, Some(&nobody))
    }

    /// Without any memory of sessions. Data before the end of a handshake, which
    /// may be replayed by anyone, is refused by rustls unless asked for.
    fn bare(
        &self,
        key: &CertifiedKey,
        clients: Option<&Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions(self.profile))?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl Configs {
    pub(super) fn under(&self, auth: ClientAuth) -> &Arc<ServerConfig> {
        match auth {
            ClientAuth::Off => &self.off,
            ClientAuth::Optional => &self.optional,
            ClientAuth::Required => &self.required,
        }
    }
}

fn versions(profile: Profile) -> &'static [&'static SupportedProtocolVersion] {
    match profile {
        Profile::Intermediate => &INTERMEDIATE,
        Profile::Modern => &MODERN,
    }
}

/// Asks for a certificate and takes none.
#[derive(Debug)]
struct Nobody {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Nobody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Err(CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

static INTERMEDIATE: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

static MODERN: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// RFC 8737, section 6.2.
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Of clients of TLS 1.2 that know no tickets, for each certificate and policy;
/// there may be a thousand certificates, and the memory is taken at once.
const SESSIONS_MAX: usize = 128;
