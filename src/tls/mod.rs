//! Certificates: those in use, and where they come from.

pub mod acme;
mod anyone;
mod certificate;
mod client;
mod clock;
mod files;
pub mod pem;
mod roots;
mod self_signed;
mod server_config;
mod store;

pub use anyone::Anyone;
pub use certificate::{Certificate, Fault, not_after};
pub use client::{Clients, Offer, shares_no_protocol, speaks_http2};
pub use clock::{date, wall_clock};
pub use files::Files;
pub use roots::roots;
pub use self_signed::Unmade;
pub use store::{
    Authorities, Choice, Identity, Issued, Origin, Standing, Store, Unrecognised, Unusable,
};

/// The certificates of our tests.
#[cfg(test)]
#[path = "../../tests/support/certificates.rs"]
pub(crate) mod made;

#[cfg(test)]
mod handshakes;
