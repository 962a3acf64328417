//! Where workloads come from.
//!
//! A source reports all that it sees, whenever that changes, as whole
//! observations; it reconnects by itself, for ever.

pub mod docker;
pub mod settings;
