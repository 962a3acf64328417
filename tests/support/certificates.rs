//! Authorities and certificates, made for one test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    reason = "unit tests and those of the whole balancer share it, each a part; their clock is real"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

/// Signs what it is asked to.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key, in PEM form.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// From when and until when a certificate is good.
#[derive(Clone, Copy)]
pub(crate) struct Term {
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self(
            CertifiedIssuer::self_signed(of_authority(name), KeyPair::generate().unwrap()).unwrap(),
        )
    }

    /// One that this one vouches for.
    pub(crate) fn beneath(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(of_authority(name), key, &self.0).unwrap())
    }

    /// A certificate for these hosts, good for three months.
    pub(crate) fn issue(&self, names: &[&str]) -> Made {
        self.issue_for(names, Term::days(90))
    }

    pub(crate) fn issue_for(&self, names: &[&str], term: Term) -> Made {
        self.sign(names, term, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate by which a client called `name` shows who it is.
    pub(crate) fn client(&self, name: &str, term: Term) -> Made {
        self.sign(&[name], term, ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Those who trust it alone.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn sign(&self, names: &[&str], term: Term, usage: ExtendedKeyUsagePurpose) -> Made {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().map_or("", String::as_str));
        params.not_before = term.from.into();
        params.not_after = term.until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Made { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Made {
    /// With the certificate of `authority` after it.
    pub(crate) fn with(mut self, authority: &Authority) -> Self {
        self.chain.push_str(&authority.pem());
        self
    }

    pub(crate) fn write(&self, chain: &Path, key: &Path) {
        fs::write(chain, &self.chain).unwrap();
        fs::write(key, &self.key).unwrap();
    }

    pub(crate) fn der(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect()
    }

    /// How a server speaks that shows it.
    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.der(), self.key_der())
            .unwrap()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

impl Term {
    /// From yesterday on, so many days from now.
    pub(crate) fn days(days: u64) -> Self {
        let now = SystemTime::now();
        Self { from: now - DAY, until: now + DAY * u32::try_from(days).unwrap() }
    }

    /// It was good for a day, and is no more.
    pub(crate) fn over() -> Self {
        let now = SystemTime::now();
        Self { from: now - 2 * DAY, until: now - DAY }
    }
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
