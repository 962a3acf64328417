//! What we put up to show that a name is ours.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use crate::domain::names::Host;
use crate::tls::Store;
use crate::tls::acme::failure::{Failure, clean};

/// How a name is shown to be ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Http01,
    TlsAlpn01,
}

/// The answers to HTTP-01 challenges (RFC 8555, section 8.3): what those who
/// ask for a token at port 80 are told. Workers read it.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// As many as there are answers, so that who asks for anything else looks no
    /// further while there are none.
    count: AtomicUsize,
    answers: Mutex<BTreeMap<String, Arc<str>>>,
}

/// Where answers are put up.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) challenges: Challenges,
    pub(super) store: Arc<Store>,
}

/// An answer that is up; dropping it takes it down.
#[derive(Debug)]
pub(super) struct Up {
    board: Board,
    what: What,
}

#[derive(Debug)]
enum What {
    Token(String),
    Handshake(Host),
}

impl Kind {
    pub(super) fn wanted(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }

    /// Where the authority comes to look.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}

impl Challenges {
    /// What is answered at `path`: none unless an authority was told to look
    /// there. While no order is under way this is one relaxed load.
    pub fn answer(&self, path: &str) -> Option<Arc<str>> {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let token = path.strip_prefix(WELL_KNOWN)?;
        self.answers().get(token).cloned()
    }

    fn put(&self, token: &str, answer: &str) {
        let mut answers = self.answers();
        answers.insert(token.to_owned(), answer.into());
        self.0.count.store(answers.len(), Ordering::Relaxed);
    }

    fn take(&self, token: &str) {
        let mut answers = self.answers();
        answers.remove(token);
        self.0.count.store(answers.len(), Ordering::Relaxed);
    }

    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<str>>> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Puts up the answer to a challenge of this `kind` for `name`.
    pub(super) fn put_up(
        &self,
        kind: Kind,
        name: &Host,
        token: &str,
        answer: &KeyAuthorization,
    ) -> Result<Up, Failure> {
        let what = match kind {
            Kind::Http01 => {
                if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
                    let words = "it gave a token that is none".to_owned();
                    return Err(Failure::Order { kind: None, words });
                }
                self.challenges.put(token, answer.as_str());
                What::Token(token.to_owned())
            }
            Kind::TlsAlpn01 => {
                let ours = |error: &dyn fmt::Display| {
                    Failure::Ours(clean(&format!("no certificate to be asked for: {error}")))
                };
                let key = certificate(name, answer).map_err(|error| ours(&error))?;
                self.store.set_challenge(name, Some(&key)).map_err(|error| ours(&error))?;
                What::Handshake(name.clone())
            }
        };
        Ok(Up { board: self.clone(), what })
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        match &self.what {
            What::Token(token) => self.board.challenges.take(token),
            What::Handshake(name) => {
                // Taking away makes nothing that could fail.
                let _ = self.board.store.set_challenge(name, None);
            }
        }
    }
}

/// The certificate that answers a TLS-ALPN-01 challenge: signed by itself, with
/// the digest of the key authorization in an extension (RFC 8737, section 3).
fn certificate(
    name: &Host,
    answer: &KeyAuthorization,
) -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new([name.as_str().to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(answer.digest().as_ref())];
    let key = KeyPair::generate()?;
    let chain = vec![params.self_signed(&key)?.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok(CertifiedKey::new(chain, any_supported_type(&key)?))
}

/// RFC 8555, section 8.3.
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// Authorities give 43 characters.
const TOKEN_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tls::{Profile, UnknownName};

    #[test]
    fn only_a_known_token_is_answered_and_only_while_it_is_up() {
        let challenges = Challenges::default();
        let path = "/.well-known/acme-challenge/abc";
        assert_eq!(challenges.answer(path), None);
        challenges.put("abc", "abc.thumb");
        challenges.put("def", "def.thumb");
        assert_eq!(challenges.answer(path).as_deref(), Some("abc.thumb"));
        for other in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/abcd",
            "/.well-known/acme-challenge/abc/",
            "/x/.well-known/acme-challenge/abc",
            "abc",
        ] {
            assert_eq!(challenges.answer(other), None, "{other}");
        }
        challenges.take("abc");
        assert_eq!(challenges.answer(path), None);
        challenges.take("def");
        assert_eq!(challenges.0.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_up_is_down_once_it_is_dropped() {
        let challenges = Challenges::default();
        let store = Arc::new(Store::new(Profile::default(), UnknownName::default()).unwrap());
        let board = Board { challenges: challenges.clone(), store: Arc::clone(&store) };
        challenges.put("abc", "x");
        drop(Up { board: board.clone(), what: What::Token("abc".to_owned()) });
        assert_eq!(challenges.answer("/.well-known/acme-challenge/abc"), None);
        let name: Host = "shop.example".parse().unwrap();
        let made = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let chain = vec![made.cert.der().clone()];
        let key = CertifiedKey::new(chain, any_supported_type(&key).unwrap());
        store.set_challenge(&name, Some(&key)).unwrap();
        assert!(store.challenge("shop.example").is_some());
        drop(Up { board, what: What::Handshake(name) });
        assert!(store.challenge("shop.example").is_none());
    }
}
