//! The compose files that we ship, on a real Docker Engine.

mod churn;
mod explains;
mod image;
mod quickstart;
