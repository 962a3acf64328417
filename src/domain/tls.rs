//! How clients and balancer know each other by certificates.

use std::net::Ipv4Addr;

use crate::domain::names::HostPattern;

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ClientAuth {
    /// It is not asked for one.
    #[default]
    Off,
    /// It is asked; one that it shows must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// Which clients can shake hands with us, by the names that Mozilla gives to
/// such sets (Server Side TLS).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Profile {
    /// TLS 1.2 with forward secrecy and AEAD ciphers, and TLS 1.3.
    #[default]
    Intermediate,
    /// TLS 1.3 alone.
    Modern,
}

/// What a client gets that asks for a name of which there is no certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UnknownName {
    /// The default certificate, so that it can be told more by http.
    #[default]
    Default,
    /// The alert `unrecognized_name` (RFC 6066, section 3), and nothing that
    /// tells whom we serve.
    Refuse,
}

/// Where the certificate for a pool's hosts comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateSource {
    /// An authority is asked for one (RFC 8555).
    Auto,
    /// Those that are given to us.
    File,
}

/// Why no authority would certify `host` by the challenges that we can meet, to
/// follow "it"; none if one may.
pub fn unfit(host: &HostPattern) -> Option<&'static str> {
    let host = match host {
        // That takes a record in the name server (RFC 8555, section 7.1.3).
        HostPattern::Wildcard(_) => return Some("is a wildcard"),
        HostPattern::Exact(host) => host.as_str(),
    };
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return Some("is an address");
    }
    (!host.contains('.')).then_some("has no dot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_asked_for_public_names_alone() {
        for (host, why) in [
            ("shop.example", None),
            ("1.2.3.example", None),
            ("*.shop.example", Some("is a wildcard")),
            ("10.1.2.3", Some("is an address")),
            ("[::1]", Some("is an address")),
            ("localhost", Some("has no dot")),
        ] {
            assert_eq!(unfit(&host.parse().unwrap()), why, "{host}");
        }
    }
}
