//! Evenkeel: the load balancer for Docker.
//!
//! The modules in reading order; each may use only those above it that
//! `docs/ARCHITECTURE.md` names.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod discovery;
pub mod domain;
pub mod live;
pub mod probe;
pub mod proxy;
pub mod telemetry;
pub mod tls;
