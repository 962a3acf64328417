//! A service that decides whether a request may pass.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::uri::{Authority, PathAndQuery};
use rustls::pki_types::ServerName;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardAuth {
    pub url: AuthUrl,
    /// Of its answer, to be copied into the request.
    pub headers: Arc<[HeaderName]>,
}

/// Where it is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthUrl {
    /// By TLS: it must prove that it is `host`, by the word of an authority of the
    /// system.
    pub secure: bool,
    /// As it was written: what `Host` says.
    pub authority: Authority,
    /// An IPv6 address stands without brackets.
    pub host: Arc<str>,
    pub port: u16,
    pub target: PathAndQuery,
}

/// Why a URL cannot be asked. `Display` continues "…, which".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAuthUrl {
    #[error("is not a URL")]
    Form,
    #[error("has a user or password in it")]
    User,
    #[error("is where we listen ourselves, so that it would ask about itself for ever")]
    Ours,
}

impl AuthUrl {
    pub fn read(written: &str) -> Result<Self, InvalidAuthUrl> {
        let uri: http::Uri = written.trim().parse().map_err(|_| InvalidAuthUrl::Form)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(InvalidAuthUrl::Form),
        };
        let authority = uri.authority().cloned().ok_or(InvalidAuthUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidAuthUrl::User);
        }
        let written_port = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !written_port.is_empty() && authority.port_u16().is_none() {
            return Err(InvalidAuthUrl::Form);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(InvalidAuthUrl::Form);
        }
        if secure && ServerName::try_from(host).is_err() {
            return Err(InvalidAuthUrl::Form);
        }
        Ok(Self {
            secure,
            host: host.into(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            target: uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            authority,
        })
    }
}

impl InvalidAuthUrl {
    /// What to do about it, if that is particular.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Form | Self::User => None,
            Self::Ours => Some("name the service itself, such as `http://auth:9091/verify`"),
        }
    }
}

/// Without the query, which may be a secret.
impl fmt::Display for AuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_may_have_a_port_a_path_and_a_query() {
        for (written, host, port, target) in [
            ("http://auth", "auth", 80, "/"),
            (" http://auth:9091/verify?x=1 ", "auth", 9091, "/verify?x=1"),
            ("http://[::1]:80/", "::1", 80, "/"),
            ("https://auth/verify", "auth", 443, "/verify"),
            ("https://10.0.0.1:8443", "10.0.0.1", 8443, "/"),
        ] {
            let url = AuthUrl::read(written).unwrap();
            assert_eq!((&*url.host, url.port, url.target.as_str()), (host, port, target));
            assert_eq!(url.secure, written.starts_with("https:"));
        }
        for (written, fault) in [
            ("https://a_*b/", InvalidAuthUrl::Form),
            ("auth:9091/verify", InvalidAuthUrl::Form),
            ("/verify", InvalidAuthUrl::Form),
            ("ftp://auth/", InvalidAuthUrl::Form),
            ("http://a:b@auth/", InvalidAuthUrl::User),
            ("http://auth:99999/", InvalidAuthUrl::Form),
            ("http://auth:80x/", InvalidAuthUrl::Form),
            ("", InvalidAuthUrl::Form),
        ] {
            assert_eq!(AuthUrl::read(written).map(|url| url.to_string()), Err(fault), "{written}");
        }
    }
}
