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
mod access_log;
mod auth;
mod backend;
pub(crate) mod balancer;
mod balancing;
mod body_limit;
mod client;
mod client_cap;
mod compression;
mod conditions;
mod cors;
mod ejection;
mod entrypoints;
mod error_page;
mod failover;
mod forward_auth;
mod forwarding;
mod grpc;
mod grpc_health;
mod hashing;
mod headers;
mod http2;
mod http2_backend;
mod label_files;
mod leaving;
mod lifecycle;
mod limits;
mod metrics;
mod pin;
mod pressure;
mod proxy_protocol;
mod rate;
mod readiness;
mod refusals;
mod retry_status;
mod rewriting;
mod sniffing;
mod sticky;
mod streaming;
mod tls_edge;
mod tls_files;
mod upgrade;
mod upstream_http2;
mod upstream_tls;
mod upstream_websocket;
mod websocket;

use std::net::SocketAddr;

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
    before_pools(&[("web", backends, labels)], &[])
}

/// As [`before_with`], of replicas that the test holds one by one.
fn before_these(backends: &[&Backend], labels: &str) -> Balancer {
    let servers: Vec<_> = backends.iter().map(|it| it.address).collect();
    before_servers(&servers, labels)
}

/// As [`before_with`], by the servers' addresses.
fn before_servers(servers: &[SocketAddr], labels: &str) -> Balancer {
    let servers: Vec<_> = servers.iter().map(SocketAddr::to_string).collect();
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), format!("[pools.web]\nservers = {servers:?}\n{labels}")).unwrap();
    let balancer = Balancer::start(&["--config", file.path().to_str().unwrap()]);
    for server in &servers {
        balancer.logged(&format!("address={server}"));
    }
    balancer
}

/// A balancer before several pools, each with its labels, and with `args`.
fn before_pools(pools: &[(&str, &[Backend], &str)], args: &[&str]) -> Balancer {
    let mut text = String::new();
    for (name, backends, labels) in pools {
        let servers: Vec<_> = backends.iter().map(|it| it.address.to_string()).collect();
        text += &format!("[pools.{name}]\nservers = {servers:?}\n{labels}\n");
    }
    let all = pools.iter().flat_map(|(_, backends, _)| backends.iter());
    configured(&text, args, all)
}

/// A balancer with a settings file and flags, before replicas that are all ready.
fn configured<'a>(
    settings: &str,
    flags: &[&str],
    backends: impl IntoIterator<Item = &'a Backend>,
) -> Balancer {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let file = ["--config", file.path().to_str().unwrap()];
    let balancer = Balancer::start(&[&file, flags].concat());
    for backend in backends {
        balancer.logged(&format!("address={}", backend.address));
    }
    balancer
}

/// What the admin port says.
fn admin(balancer: &Balancer, path: &str) -> client::Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Client::connect(balancer.admin).send(request).answer()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}
