//! Certificates: those in use, and where they come from.

mod self_signed;
mod store;

pub use store::{Choice, Identity, Store, Unrecognised};
