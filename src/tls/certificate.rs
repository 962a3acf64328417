//! One certificate with its key, checked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::domain::names::HostPattern;

/// A certificate that can be shown to clients: its key belongs to it, and its
/// chain is in order.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Whom it speaks for, in the order in which it names them. Without any it
    /// serves as the default alone.
    pub names: Vec<HostPattern>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub key: Arc<CertifiedKey>,
    /// Places of the chain that are not sent, since what stands there is the same
    /// as another or has issued none of the others.
    pub strays: Vec<usize>,
}

/// Why a chain and a key are no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("the certificate is not in PEM form, or only half of it is there")]
    ChainNotPem,
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    #[error("the certificate at place {place} of the chain cannot be read")]
    Unreadable { place: usize },
    #[error("the chain has more than {CHAIN_MAX} certificates")]
    LongChain,
    #[error("the key is not in PEM form, or only half of it is there")]
    KeyNotPem,
    #[error("it holds no private key in PEM form")]
    NoKey,
    #[error("the key is protected by a passphrase")]
    EncryptedKey,
    #[error("the key is of no kind that we can sign with")]
    UnknownKey(#[source] rustls::Error),
    #[error("the key belongs to another certificate")]
    Mismatch,
}

impl Certificate {
    /// Checks a chain, whose first certificate is our own, with its key. The
    /// others are put in the order in which they have issued each other, which
    /// TLS 1.2 demands (RFC 5246, section 7.4.2); what does not belong to it is
    /// left out.
    pub fn new(
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, Fault> {
        let (chain, strays, (names, not_before, not_after)) = in_order(chain)?;
        let key = any_supported_type(key).map_err(Fault::UnknownKey)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| Fault::Mismatch)?;
        Ok(Self { names, not_before, not_after, key: Arc::new(key), strays })
    }

    /// Whether it is good at `now`, as far as its dates go.
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether `other` is the very same, in which case its key is too.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Fault {
    /// Whether it is the key's and not the certificate's.
    pub fn is_of_key(&self) -> bool {
        match self {
            Self::KeyNotPem
            | Self::NoKey
            | Self::EncryptedKey
            | Self::UnknownKey(_)
            | Self::Mismatch => true,
            Self::ChainNotPem | Self::NoCertificate | Self::Unreadable { .. } | Self::LongChain => {
                false
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ChainNotPem | Self::NoCertificate | Self::Unreadable { .. } => {
                "write the certificate in PEM form (`-----BEGIN CERTIFICATE-----`), then those \
                 that lead from it to the authority"
            }
            Self::LongChain => {
                "keep our own certificate and those that lead from it to the authority, nothing \
                 else"
            }
            Self::KeyNotPem | Self::NoKey | Self::UnknownKey(_) => {
                "write a key for RSA (of 2048 bits or more), ECDSA (P-256, P-384) or Ed25519 in PEM \
                 form (`-----BEGIN PRIVATE KEY-----`)"
            }
            Self::EncryptedKey => "take the passphrase off with `openssl pkey -in KEY -out NEW`",
            Self::Mismatch => {
                "put the certificate and the key that were made together side by side, our own \
                 certificate first in its file"
            }
        }
    }
}

/// Until when a certificate is good; none if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, read) = parse_x509_certificate(certificate).ok()?;
    Some(time(read.validity().not_after))
}

/// What the first certificate says of itself.
type Said = (Vec<HostPattern>, SystemTime, SystemTime);

/// The chain in order, the places of those that are not in it, and what the
/// first says.
fn in_order(
    chain: &[CertificateDer<'static>],
) -> Result<(Vec<CertificateDer<'static>>, Vec<usize>, Said), Fault> {
    if chain.len() > CHAIN_MAX {
        return Err(Fault::LongChain);
    }
    let mut parsed = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        let unreadable = |_| Fault::Unreadable { place: index + 1 };
        let (_, read) = parse_x509_certificate(certificate).map_err(unreadable)?;
        parsed.push((index, read));
    }
    let mut rest = parsed.into_iter();
    let (_, own) = rest.next().ok_or(Fault::NoCertificate)?;
    let mut rest: Vec<_> = rest.collect();
    let mut order = vec![0];
    let mut issuer = own.issuer().as_raw().to_vec();
    let is_repeated = |index: usize| {
        let mut before = chain.iter().take(index);
        before.any(|it| Some(it) == chain.get(index))
    };
    let mut strays: Vec<usize> = Vec::new();
    while let Some(at) = rest.iter().position(|(_, it)| it.subject().as_raw() == issuer) {
        let (index, next) = rest.remove(at);
        if is_repeated(index) {
            strays.push(index + 1);
            continue;
        }
        issuer = next.issuer().as_raw().to_vec();
        order.push(index);
    }
    strays.extend(rest.iter().map(|(index, _)| index + 1));
    strays.sort_unstable();
    let said = said(&own);
    let ordered = order.into_iter().filter_map(|index| chain.get(index).cloned()).collect();
    Ok((ordered, strays, said))
}

fn said(own: &X509Certificate<'_>) -> Said {
    let validity = own.validity();
    (names(own), time(validity.not_before), time(validity.not_after))
}

/// Those of the subject's alternative names that a client may ask for. The
/// common name counts for nothing (RFC 9525, section 2), and nobody asks for an
/// address (RFC 6066, section 3).
fn names(own: &X509Certificate<'_>) -> Vec<HostPattern> {
    let alternative = own.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|it| &it.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    });
    hosts.take(NAMES_MAX).collect()
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time =
        if time.timestamp() < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) };
    time.unwrap_or(epoch)
}

/// Clients refuse longer ones, and each costs bytes in every handshake.
const CHAIN_MAX: usize = 10;

/// Authorities that people use sign at most 100 (Let's Encrypt) or 250.
const NAMES_MAX: usize = 1000;
