//! The compose files that we ship, on a real Docker Engine.

mod backup;
mod churn;
mod edge;
mod explains;
mod hardened;
mod image;
mod pin;
mod quickstart;
mod sticky;
mod tls;
