//! Everything that needs more than one module: one binary, one link.

mod acme;
mod admin;
mod cli;
mod clients;
mod docker;
mod hostile;
mod labels;
mod monitoring;
mod simulation;
mod stacks;
mod support;
mod wire;
