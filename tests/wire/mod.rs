//! Bytes in, bytes out: the real binary between a raw client and raw replicas.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and its clock is the real one"
)]

mod backend;
pub(crate) mod balancer;
mod balancing;
mod client;
mod failover;
mod forwarding;
mod leaving;
mod lifecycle;
mod readiness;
mod refusals;
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

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}
