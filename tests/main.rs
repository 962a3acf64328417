//! Everything that needs more than one module: one binary, one link.

mod admin;
mod cli;
mod docker;
mod hostile;
mod labels;
mod simulation;
mod stacks;
mod support;
mod wire;
