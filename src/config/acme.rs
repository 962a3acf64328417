//! From whom certificates are asked, and as whom.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::Uri;
use rustls::RootCertStore;

use crate::config::mistake::Fault;
use crate::domain::{suggest, upstream};

/// What it takes to get certificates from an ACME directory. None is asked
/// before a pool wants one (`lb.tls=auto`).
#[derive(Clone, Debug)]
pub struct Acme {
    /// Where the authority writes to; it may use it or not.
    pub email: Option<Arc<str>>,
    pub directory: Directory,
    /// Who vouches for the directory itself; none: who is trusted anyway.
    pub authorities: Option<Arc<RootCertStore>>,
    /// Ties our account to one that the authority knows already.
    pub binding: Option<Binding>,
    pub challenge: ChallengeChoice,
}

/// The URL of an ACME directory: https, or http where nobody is in between.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directory(Arc<str>);

/// An external account (RFC 8555, section 7.3.4).
#[derive(Clone, Eq, PartialEq)]
pub struct Binding {
    pub key_id: Arc<str>,
    /// A secret; no log and no message ever shows it.
    pub key: Arc<[u8]>,
}

/// How we show that a name is ours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChallengeChoice {
    /// HTTP-01 where http is served, else TLS-ALPN-01; after a failure the other.
    #[default]
    Auto,
    /// By a file at port 80 (RFC 8555, section 8.3).
    Http01,
    /// By a handshake at port 443 (RFC 8737).
    TlsAlpn01,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            email: None,
            directory: Directory(LETS_ENCRYPT.into()),
            authorities: None,
            binding: None,
            challenge: ChallengeChoice::default(),
        }
    }
}

impl Directory {
    pub(super) fn read(written: &str) -> Result<Self, Fault> {
        let hint = format!("write the directory's URL, such as `{LETS_ENCRYPT}`");
        let uri: Uri = written.parse().map_err(|_| Fault::new("is not a URL", &hint))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(Fault::new("is not a URL", hint));
        };
        match scheme {
            "https" => Ok(Self(written.into())),
            "http" if is_near(host) => Ok(Self(written.into())),
            "http" => Err(Fault::new(
                "is not encrypted",
                "write it with `https://`; `http://` is for loopback, private addresses and names \
                 of the local network only",
            )),
            _ => Err(Fault::new("is neither https nor http", hint)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Whether `host` can only be on this machine or in its own network.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            !host.contains('.') || NEAR.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

pub(super) fn email(written: &str) -> Result<Arc<str>, Fault> {
    let address = written.strip_prefix("mailto:").unwrap_or(written);
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"@,<>?".contains(c))
    };
    match address.split_once('@') {
        Some((user, host)) if plain(user) && plain(host) && address.len() <= EMAIL_BYTES_MAX => {
            Ok(address.into())
        }
        Some(_) | None => {
            Err(Fault::new("is no email address", "write one address, such as `ops@example.com`"))
        }
    }
}

pub(super) fn challenge(written: &str) -> Result<ChallengeChoice, Fault> {
    match written {
        "auto" => Ok(ChallengeChoice::Auto),
        "http-01" => Ok(ChallengeChoice::Http01),
        "tls-alpn-01" => Ok(ChallengeChoice::TlsAlpn01),
        _ => {
            let hint = match suggest::nearest(written, ["auto", "http-01", "tls-alpn-01"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `auto`, `http-01` or `tls-alpn-01`".to_owned(),
            };
            Err(Fault::new("is no challenge that we can answer", hint))
        }
    }
}

pub(super) fn key_id(written: &str) -> Result<Arc<str>, Fault> {
    let fits = written.len() <= KEY_ID_BYTES_MAX && written.chars().all(|c| c.is_ascii_graphic());
    if written.is_empty() || !fits {
        return Err(Fault::new(
            "is no key id",
            "write the id that the authority gave you, often called `EAB KID`",
        ));
    }
    Ok(written.into())
}

/// The key of an external account, as authorities give it: in base64url.
pub(super) fn binding_key(file: &str) -> Result<Arc<[u8]>, Fault> {
    let hint = "write the key that the authority gave you, often called `EAB HMAC key`, in its \
                base64url form";
    let text = file.trim().trim_end_matches('=');
    let key = Base64UrlUnpadded::decode_vec(text)
        .map_err(|_| Fault::new("has a key that is no base64url", hint))?;
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Fault::new(format!("has a key of {} bytes", key.len()), hint));
    }
    Ok(key.into())
}

/// Those whose certificates a file in PEM form holds.
pub(super) fn authorities(file: &str) -> Result<Arc<RootCertStore>, Fault> {
    let hint = "name a file with the certificates of the authority in PEM form";
    upstream::authorities(file.as_bytes()).map_err(|why| Fault::new(why.to_string(), hint))
}

/// Let's Encrypt, as most people expect.
pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names that never leave a machine or its network (RFC 6761, RFC 6762, and
/// `.internal`, which ICANN keeps free).
const NEAR: [&str; 4] = [".localhost", ".local", ".internal", ".test"];

/// RFC 5321, section 4.5.3.1.3.
const EMAIL_BYTES_MAX: usize = 254;

/// Longer than any that an authority gives.
const KEY_ID_BYTES_MAX: usize = 256;

/// Longer than any HMAC key has use for.
const KEY_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_tls_is_one_that_is_near() {
        for near in [
            "https://acme.example.com/directory",
            "http://127.0.0.1:14000/dir",
            "http://[::1]:14000/dir",
            "http://10.0.0.5/dir",
            "http://localhost/dir",
            "http://step-ca:9000/acme/acme/directory",
            "http://ca.internal/dir",
        ] {
            assert_eq!(Directory::read(near).unwrap().as_str(), near);
        }
        for (written, what) in [
            ("http://acme.example.com/directory", "is not encrypted"),
            ("http://8.8.8.8/directory", "is not encrypted"),
            ("ftp://127.0.0.1/dir", "is neither https nor http"),
            ("acme.example.com", "is not a URL"),
            ("", "is not a URL"),
        ] {
            assert_eq!(Directory::read(written).unwrap_err().what, what, "{written}");
        }
    }

    #[test]
    fn an_email_is_one_address() {
        assert_eq!(&*email("mailto:ops@example.com").unwrap(), "ops@example.com");
        for written in ["", "ops", "@example.com", "ops@", "a@b@c", "a@b,c@d", "a b@c"] {
            assert!(email(written).is_err(), "{written}");
        }
    }

    #[test]
    fn a_key_is_base64url_and_is_never_shown() {
        for file in ["c2VjcmV0LWtleQ", "c2VjcmV0LWtleQ==\n"] {
            assert_eq!(&*binding_key(file).unwrap(), b"secret-key");
        }
        for file in ["", "no key!", "c2VjcmV0+2V5"] {
            let fault = binding_key(file).unwrap_err();
            assert!(!fault.what.contains("c2Vj"), "{fault:?}");
        }
        let binding = Binding { key_id: "kid-1".into(), key: (*b"secret").into() };
        assert_eq!(format!("{binding:?}"), "Binding { key_id: \"kid-1\", .. }");
    }

    #[test]
    fn a_misspelt_challenge_is_told() {
        assert_eq!(challenge("http-01").unwrap(), ChallengeChoice::Http01);
        assert_eq!(challenge("http01").unwrap_err().hint, "did you mean `http-01`?");
        assert!(challenge("dns-01").is_err());
    }

    #[test]
    fn a_file_of_authorities_holds_one_at_least() {
        assert_eq!(authorities("").unwrap_err().what, "holds no certificate in PEM form");
        let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert_eq!(
            authorities(broken).unwrap_err().what,
            "holds a certificate that cannot be read"
        );
    }
}
