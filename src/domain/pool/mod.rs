//! What a request can be sent to.

mod tally;
mod tiers;
mod vitals;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub use tally::{BUCKETS, Histogram, StatusClass, Tally};
pub use tiers::{Tier, Tiers};
pub use vitals::{InFlight, Vitals};

use crate::domain::balance::{self, Policy};
use crate::domain::lifecycle::{Probe, State};
use crate::domain::names::PoolName;
use crate::domain::retry::Budget;
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
    /// Constant for the replica's name, so that hashing survives a restart.
    pub seed: u64,
    pub vitals: Arc<Vitals>,
}

/// An endpoint's identity. Two lives of a container, or one life at two
/// addresses, share nothing: no connection, no vitals, no probe.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EndpointId {
    pub workload: WorkloadId,
    pub address: SocketAddr,
}

/// How a pool treats requests; the same for all of its endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolSettings {
    pub policy: Policy,
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
}

/// Limits of the waits for a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// For a TCP connection.
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
    pub budget: Budget,
    waiting: AtomicU32,
}

/// The round-robin counter, alone on its cache lines, since every worker
/// writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turn(AtomicU64);

/// What the choice of an endpoint may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Uniform random bits.
    pub random: u64,
    pub client: IpAddr,
}

/// The endpoints that this request has been sent to, each with how often it had
/// been ready by then: one that is ready anew has not been tried.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<(u64, u32)>);

/// One of the waiting requests of a pool; it leaves when dropped.
#[derive(Debug)]
pub struct Waiting(Arc<PoolState>);

impl Pool {
    /// Chooses an endpoint that is ready and has not been tried: one of the
    /// first tier that has any. The endpoint's live state counts, which may be
    /// newer than this table.
    pub fn pick(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        let serves = |vitals: &Vitals| vitals.state().serves();
        let serves_at_last = |vitals: &Vitals| vitals.state().serves_at_last();
        self.pick_from(&self.tiers.primary, draw, tried, serves)
            .or_else(|| self.pick_from(&self.tiers.backup, draw, tried, serves))
            .or_else(|| self.pick_from(&self.tiers.last, draw, tried, serves_at_last))
    }

    /// Chooses an endpoint that has its stop signal but may still accept: better
    /// than no answer at all.
    pub fn pick_leaving(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        let accepts =
            |vitals: &Vitals| vitals.state() == State::Draining && vitals.probe() != Probe::Failed;
        self.pick_from(&self.tiers.leaving, draw, tried, accepts)
    }

    /// Chooses an endpoint whose HEALTHCHECK has not spoken yet but that
    /// accepts connections, for a request that has waited long enough.
    pub fn pick_starting(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        if self.settings.ready_strict {
            return None;
        }
        let accepts =
            |vitals: &Vitals| vitals.state() == State::Starting && vitals.probe() == Probe::Passed;
        self.pick_from(&self.tiers.starting, draw, tried, accepts)
    }

    /// Whether any endpoint is ready.
    pub fn is_ready(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.vitals.state().serves())
    }

    fn pick_from(
        &self,
        tier: &Tier,
        draw: Draw,
        tried: &Tried,
        serves: fn(&Vitals) -> bool,
    ) -> Option<&Endpoint> {
        if tier.is_empty() {
            return None;
        }
        let at = |slot: u16| self.endpoints.get(usize::from(slot));
        let usable =
            |slot: u16| at(slot).is_some_and(|it| serves(&it.vitals) && !tried.contains(it));
        let load = |slot: u16| {
            at(slot).map_or(balance::Load::MAX, |it| balance::Load {
                in_flight: it.vitals.in_flight(),
                weight: it.weight,
            })
        };
        let slot = match self.settings.policy {
            Policy::RoundRobin => balance::round_robin(&tier.ring, self.state.next_turn(), usable),
            Policy::LeastRequest => {
                balance::least_request(&tier.ring, load, self.state.next_turn(), usable)
            }
            Policy::P2c => balance::p2c(&tier.ring, load, draw.random, usable),
            Policy::Random => balance::random(&tier.ring, draw.random, usable),
            Policy::IpHash => {
                let score = |slot: u16| at(slot).map_or((0, 0), |it| (it.seed, it.weight));
                balance::hash(&tier.members, balance::client_key(draw.client), score, usable)
            }
        }?;
        at(slot)
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            timeouts: Timeouts::default(),
            hold: Duration::from_secs(10),
            hold_max: 16_384,
            retries: 2,
            drain: Duration::from_secs(30),
            ready_strict: false,
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

impl PoolState {
    fn next_turn(&self) -> u64 {
        self.turn.0.fetch_add(1, Ordering::Relaxed)
    }

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

impl Tried {
    pub fn add(&mut self, endpoint: &Endpoint) {
        self.0.push((endpoint.vitals.serial(), endpoint.vitals.times_ready()));
    }

    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        !self.0.is_empty()
            && self.0.contains(&(endpoint.vitals.serial(), endpoint.vitals.times_ready()))
    }
}
