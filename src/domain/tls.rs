//! How clients and balancer know each other by certificates.

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
