//! The compose files that we ship, on a real Docker Engine.

mod explains;
mod image;
mod quickstart;
