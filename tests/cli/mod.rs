//! The command line, as a person meets it: the binary is run.

mod check;
mod client;
mod documentation;
mod drain;
mod explain;
mod help;
mod settings;
pub(crate) mod support;
mod whoami;
mod whoami_protocols;
