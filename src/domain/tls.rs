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
