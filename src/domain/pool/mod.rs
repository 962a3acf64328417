//! What a request can be sent to.

mod affinity;
mod ejection;
mod explain;
mod fitness;
mod histogram;
mod in_flight;
mod latency;
mod pick;
mod pin;
mod queue;
mod routes;
mod session;
mod tally;
mod tiers;
mod tolerance;
mod vitals;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub use affinity::{Affinity, Sticky, Wanted};
pub use ejection::{Ejected, Trial};
pub use explain::{Candidate, Foreseen, Standing, Wait};
pub use histogram::{BUCKETS, Histogram};
pub use in_flight::InFlight;
pub use latency::{Latency, PENALTY};
pub use pick::{Draw, Mark, Stage, Tried};
pub use pin::Names;
pub use queue::{Queue, Spot};
pub use routes::Routes;
pub use session::{KEY_BYTES_MIN, Sessions, StickyKey};
pub use tally::{Efforts, ReplicaTally, Retry, StatusClass, Tally};
pub use tiers::{Tier, Tiers};
pub use tolerance::Tolerance;
pub use vitals::{Ticket, Vitals};

use crate::domain::balance::Policy;
use crate::domain::lifecycle::HealthCheck;
use crate::domain::limit;
use crate::domain::middleware::Middleware;
use crate::domain::names::PoolName;
use crate::domain::proxy_protocol::Version;
use crate::domain::retry::Budget;
use crate::domain::tls::{CertificateSource, ClientAuth};
use crate::domain::upstream::{Scheme, Tls};
use crate::domain::world::WorkloadId;

/// A set of interchangeable endpoints and the rules for using them. Compiled
/// once, never changed; what lives on is in [`PoolState`] and [`Vitals`].
#[derive(Debug)]
pub struct Pool {
    pub name: PoolName,
    /// The name as logs and metrics show it.
    pub label: Arc<str>,
    pub settings: PoolSettings,
    pub endpoints: Vec<Endpoint>,
    pub tiers: Tiers,
    /// Who answers to a name; none where requests cannot name a replica.
    pub names: Option<Box<Names>>,
    /// The cookies of its endpoints; none where it sets none.
    pub sessions: Option<Box<Sessions>>,
    pub routes: Routes,
    pub state: Arc<PoolState>,
}

/// One address of a pool, with the live signs it shares across tables.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    /// The replica's name: its container, or `host:port` for a written server.
    pub name: Arc<str>,
    pub service: Option<Arc<str>>,
    pub weight: u16,
    pub backup: bool,
    /// Requests that it may have at once; none: any number.
    pub max_conns: Option<NonZeroU32>,
    /// Constant for the replica's name, so that hashing survives a restart.
    pub seed: u64,
    /// How it is asked whether it can serve; without one it must only accept
    /// connections.
    pub check: Option<Arc<HealthCheck>>,
    pub vitals: Arc<Vitals>,
    /// Of all replicas of its name in the pool.
    pub tally: Arc<ReplicaTally>,
}

/// An endpoint's identity. Two lives of a container, or one life at two
/// addresses or spoken to in two ways, share nothing: no connection, no vitals,
/// no probe.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EndpointId {
    pub workload: WorkloadId,
    pub address: SocketAddr,
    pub scheme: Scheme,
}

/// How a pool treats requests; the same for all of its endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolSettings {
    pub policy: Policy,
    /// Which requests go where they belong instead.
    pub affinity: Affinity,
    pub timeouts: Timeouts,
    /// How long a request waits in all for a ready replica. 0 to 1 h.
    pub hold: Duration,
    /// How many requests may wait in the pool at once.
    pub hold_max: u32,
    /// Charged attempts after the first.
    pub retries: u32,
    /// How long a leaving replica may finish what it has.
    pub drain: Duration,
    /// Never before HEALTHCHECK's verdict (`lb.ready=strict`).
    pub ready_strict: bool,
    /// Replicas are asked whether they can serve.
    pub health: Option<Arc<HealthCheck>>,
    /// How long a new replica's share of the traffic grows. 0 to 1 h.
    pub slow_start: Duration,
    pub tolerance: Tolerance,
    /// In the order in which requests meet them.
    pub middlewares: Arc<[Middleware]>,
    /// Connections to replicas begin with a PROXY header.
    pub proxy_protocol: Option<Version>,
    /// None: clients come by http and https alike.
    pub tls: Option<CertificateSource>,
    /// Whether they must show a certificate.
    pub client_auth: ClientAuth,
    /// How replicas prove who they are; none where none is spoken to by TLS.
    pub upstream_tls: Option<Arc<Tls>>,
}

/// Limits of the waits for a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// For a connection, with its TLS handshake.
    pub connect: Duration,
    /// From the request's end to the first byte of the answer.
    pub response: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// Of a silent WebSocket or other tunnel.
    pub tunnel: Duration,
}

/// What a pool remembers while tables come and go.
#[derive(Debug, Default)]
pub struct PoolState {
    turn: Turn,
    pub tally: Tally,
    pub efforts: Efforts,
    pub budget: Budget,
    pub queue: Queue,
    /// Of `lb.rate`.
    pub limit: limit::Lazy,
    waiting: AtomicU32,
}

/// A round-robin counter, alone on its cache lines, since every worker writes
/// it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turn(AtomicU64);

/// One of the waiting requests of a pool; it leaves when dropped.
#[derive(Debug)]
pub struct Waiting(Arc<PoolState>);

impl PoolSettings {
    /// How this one of its replicas proves who it is, if it is spoken to by TLS.
    pub fn tls_of(&self, endpoint: &Endpoint) -> Option<&Arc<Tls>> {
        self.upstream_tls.as_ref().filter(|_| endpoint.id.scheme == Scheme::Https)
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            affinity: Affinity::default(),
            timeouts: Timeouts::default(),
            hold: Duration::from_secs(10),
            hold_max: 16_384,
            retries: 2,
            drain: Duration::from_secs(30),
            ready_strict: false,
            health: None,
            slow_start: Duration::ZERO,
            tolerance: Tolerance::default(),
            middlewares: Arc::default(),
            proxy_protocol: None,
            tls: None,
            client_auth: ClientAuth::Off,
            upstream_tls: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
        }
    }
}

impl Turn {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// What [`Turn::next`] would give.
    fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PoolState {
    /// Takes a place among the waiting; none when `most` are taken.
    pub fn wait(self: &Arc<Self>, most: u32) -> Option<Waiting> {
        let taken = |waiting| (waiting < most).then(|| waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(Waiting(Arc::clone(self)))
    }

    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fitness_tests;
