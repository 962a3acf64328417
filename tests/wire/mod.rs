//! Bytes in, bytes out: the real binary between a raw client and raw replicas.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and its clock is the real one"
)]

mod access;
mod backend;
pub(crate) mod balancer;
mod balancing;
mod client;
mod compression;
mod conditions;
mod cors;
mod failover;
mod forwarding;
mod hashing;
mod headers;
mod leaving;
mod lifecycle;
mod pin;
mod proxy_protocol;
mod readiness;
mod refusals;
mod rewriting;
mod sticky;
mod streaming;
mod upgrade;

pub(crate) use backend::{Backend, ok};
pub(crate) use balancer::{Balancer, wait_for};
use client::Client;

/// A balancer before one replica that answers everything with its own view.
fn before(backend: &Backend) -> Balancer {
    let balancer = Balancer::start(&["--pool", &format!("web={}", backend.address)]);
    balancer.logged("Replica ready");
    balancer
}

/// A balancer before replicas that are all ready.
fn before_all(backends: &[Backend]) -> Balancer {
    let addresses: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
    let balancer = Balancer::start(&["--pool", &format!("web={}", addresses.join(","))]);
    for address in &addresses {
        balancer.logged(&format!("address={address}"));
    }
    balancer
}

/// A balancer before replicas that are all ready, whose pool has `labels`, as
/// lines of the settings file.
fn before_with(backends: &[Backend], labels: &str) -> Balancer {
    let servers: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
    configured(&format!("[pools.web]\nservers = {servers:?}\n{labels}"), &[], backends)
}

/// A balancer with a settings file and flags, before replicas that are all ready.
fn configured(settings: &str, flags: &[&str], backends: &[Backend]) -> Balancer {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let file = ["--config", file.path().to_str().unwrap()];
    let balancer = Balancer::start(&[&file, flags].concat());
    for backend in backends {
        balancer.logged(&format!("address={}", backend.address));
    }
    balancer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}
