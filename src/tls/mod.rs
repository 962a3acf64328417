//! Certificates: those in use, and where they come from.

mod client;
mod roots;
mod self_signed;
mod store;

pub use client::{Clients, Offer, speaks_http2};
pub use roots::roots;
pub use store::{Choice, Identity, Store, Unrecognised};
