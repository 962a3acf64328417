//! What a request can be sent to.

mod ejection;
mod in_flight;
mod queue;
mod tally;
mod tiers;
mod tolerance;
mod vitals;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use ejection::{Ejected, Trial};
pub use in_flight::InFlight;
pub use queue::{Queue, Turn};
pub use tally::{BUCKETS, Histogram, StatusClass, Tally};
pub use tiers::{Tier, Tiers};
pub use tolerance::Tolerance;
pub use vitals::{Ticket, Vitals};

use crate::domain::balance::{self, Policy};
use crate::domain::lifecycle::{HealthCheck, Probe, Share, State};
use crate::domain::middleware::Middleware;
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
    /// Requests that it may have at once; none: any number.
    pub max_conns: Option<NonZeroU32>,
    /// Constant for the replica's name, so that hashing survives a restart.
    pub seed: u64,
    /// How it is asked whether it can serve; without one it must only accept
    /// connections.
    pub check: Option<Arc<HealthCheck>>,
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
    /// Replicas are asked whether they can serve.
    pub health: Option<Arc<HealthCheck>>,
    /// How long a new replica's share of the traffic grows. 0 to 1 h.
    pub slow_start: Duration,
    pub tolerance: Tolerance,
    /// In the order in which requests meet them.
    pub middlewares: Arc<[Middleware]>,
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
    rotation: Rotation,
    pub tally: Tally,
    pub budget: Budget,
    pub queue: Queue,
    waiting: AtomicU32,
}

/// The round-robin counter, alone on its cache lines, since every worker
/// writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Rotation(AtomicU64);

/// What the choice of an endpoint may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Uniform random bits.
    pub random: u64,
    pub client: IpAddr,
    /// When the request began.
    pub now: Instant,
}

/// The endpoints that this request has been sent to, each with how often it had
/// been ready by then: one that is ready anew has not been tried.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<Mark>);

/// An endpoint as it was when it was tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark(u64, u32);

/// One of the waiting requests of a pool; it leaves when dropped.
#[derive(Debug)]
pub struct Waiting(Arc<PoolState>);

impl Pool {
    /// Chooses an endpoint that is ready and has not been tried: one of the
    /// first tier that has any. The endpoint's live state counts, which may be
    /// newer than this table.
    pub fn pick(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        let serves = |it: &Endpoint| it.vitals.state().serves();
        let serves_at_last = |it: &Endpoint| it.vitals.state().serves_at_last();
        self.pick_from(&self.tiers.primary, draw, tried, serves)
            .or_else(|| self.pick_from(&self.tiers.backup, draw, tried, serves))
            .or_else(|| {
                // What is full is waited for, and not passed over for what fails.
                let may_wait = self.is_full(tried, State::serves);
                let last = &self.tiers.last;
                (!may_wait).then(|| self.pick_from(last, draw, tried, serves_at_last)).flatten()
            })
    }

    /// Chooses an endpoint that was ready until its stop signal came, and may
    /// still accept: better than no answer at all.
    pub fn pick_leaving(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        let accepts = |it: &Endpoint| {
            let vitals = &it.vitals;
            vitals.state() == State::Draining
                && vitals.probe() != Probe::Failed
                && vitals.times_ready() > 0
                && !vitals.is_cut()
        };
        self.pick_from(&self.tiers.leaving, draw, tried, accepts)
    }

    /// Chooses an endpoint whose HEALTHCHECK has not spoken yet but that
    /// accepts connections, for a request that has waited long enough. A health
    /// check of ours speaks soon after it starts: it is waited for.
    pub fn pick_starting(&self, draw: Draw, tried: &Tried) -> Option<&Endpoint> {
        if self.settings.ready_strict {
            return None;
        }
        let accepts = |it: &Endpoint| {
            it.check.is_none()
                && it.vitals.state() == State::Starting
                && it.vitals.probe() == Probe::Passed
        };
        self.pick_from(&self.tiers.starting, draw, tried, accepts)
    }

    /// Chooses an ejected endpoint whose time-out is over, for the one request
    /// that decides whether it is back. `repeatable`: the request could be sent
    /// elsewhere if it fails.
    pub fn pick_trial(&self, draw: Draw, repeatable: bool) -> Option<(&Endpoint, Trial)> {
        let ejected = &self.tiers.ejected.members;
        let ejected = ejected.iter().filter_map(|&slot| self.endpoints.get(usize::from(slot)));
        ejected
            .filter(|it| self.may_try(it))
            .find_map(|it| Trial::begin(&it.vitals, draw.now, repeatable).map(|trial| (it, trial)))
    }

    /// A backup is tried only when it would have been used. None is that does
    /// not even accept connections, which a probe finds out.
    fn may_try(&self, endpoint: &Endpoint) -> bool {
        let vitals = &endpoint.vitals;
        let fits = vitals.state() == State::Ejected && vitals.probe() != Probe::Failed;
        let served = || self.endpoints.iter().any(|it| !it.backup && it.vitals.state().serves());
        fits && endpoint.has_room() && !(endpoint.backup && served())
    }

    /// Whether other endpoints can do without this one: the last one in service
    /// stays, and so does one that serves only by its name.
    pub fn can_spare(&self, endpoint: &Endpoint) -> bool {
        let serial = endpoint.vitals.serial();
        let serves = |it: &Endpoint| it.weight > 0 && it.vitals.state().serves();
        let other = |it: &Endpoint| it.vitals.serial() != serial && serves(it);
        endpoint.weight > 0 && self.endpoints.iter().any(other)
    }

    /// Whether an endpoint in such a state has not been tried and has as many
    /// requests as it may: a place there is worth waiting for.
    pub fn is_full(&self, tried: &Tried, wanted: fn(State) -> bool) -> bool {
        let is_full = |it: &Endpoint| it.weight > 0 && !it.has_room() && !tried.contains(it);
        self.tiers.limited
            && self.endpoints.iter().any(|it| wanted(it.vitals.state()) && is_full(it))
    }

    /// Whether an endpoint is ready that has not been tried and takes a request
    /// at once.
    pub fn has_other(&self, tried: &Tried) -> bool {
        let takes = |it: &Endpoint| it.weight > 0 && it.vitals.state().serves() && it.has_room();
        self.endpoints.iter().any(|it| takes(it) && !tried.contains(it))
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
        serves: fn(&Endpoint) -> bool,
    ) -> Option<&Endpoint> {
        if tier.is_empty() {
            return None;
        }
        let at = |slot: u16| self.endpoints.get(usize::from(slot));
        let usable = |slot: u16| {
            at(slot).is_some_and(|it| serves(it) && it.has_room() && !tried.contains(it))
        };
        let slot = if self.settings.slow_start.is_zero() {
            self.choose(tier, draw, usable, |_| true, |_| Share::FULL)
        } else {
            let share = |slot: u16| self.share(slot, draw.now);
            let most = self.most_share(tier, usable, share);
            let takes = |slot: u16| {
                let random = balance::mix(draw.random ^ balance::mix(u64::from(slot)));
                share(slot).takes(most, random)
            };
            self.choose(tier, draw, usable, takes, share)
        }?;
        at(slot)
    }

    /// The slot that the policy chooses. One that does not take the request
    /// stands back; the caller sees to it that some usable one takes it. A hash
    /// knows no standing back, since its keys would stray.
    fn choose(
        &self,
        tier: &Tier,
        draw: Draw,
        usable: impl Fn(u16) -> bool,
        takes: impl Fn(u16) -> bool,
        share: impl Fn(u16) -> Share,
    ) -> Option<u16> {
        let at = |slot: u16| self.endpoints.get(usize::from(slot));
        let load = |slot: u16| {
            at(slot).map_or(balance::Load::MAX, |it| balance::Load {
                in_flight: share(slot).scale(it.vitals.in_flight()),
                weight: it.weight,
            })
        };
        let willing = |slot: u16| usable(slot) && takes(slot);
        match self.settings.policy {
            Policy::RoundRobin => {
                // Who stands back loses its turn; were it passed on, one
                // neighbour would have all of them.
                let turn = || balance::round_robin(&tier.ring, self.state.next_turn(), &usable);
                let taken = (0..TURNS_MAX).map_while(|_| turn()).find(|&slot| takes(slot));
                taken.or_else(|| balance::round_robin(&tier.ring, self.state.next_turn(), willing))
            }
            Policy::LeastRequest => {
                balance::least_request(&tier.ring, load, self.state.next_turn(), willing)
            }
            Policy::P2c => balance::p2c(&tier.ring, load, draw.random, willing),
            Policy::Random => balance::random(&tier.ring, draw.random, willing),
            Policy::IpHash => {
                let score = |slot: u16| at(slot).map_or((0, 0), |it| (it.seed, it.weight));
                balance::hash(&tier.members, balance::client_key(draw.client), score, usable)
            }
        }
    }

    fn share(&self, slot: u16, now: Instant) -> Share {
        let endpoint = self.endpoints.get(usize::from(slot));
        let ready_for = endpoint.map(|it| it.vitals.ready_for(now)).unwrap_or_default();
        Share::after(ready_for, self.settings.slow_start)
    }

    /// The share of the endpoint that is furthest up, against which those of
    /// the others are measured.
    fn most_share(
        &self,
        tier: &Tier,
        usable: impl Fn(u16) -> bool,
        share: impl Fn(u16) -> Share,
    ) -> Share {
        let mut most = Share::FLOOR;
        for &slot in tier.members.iter().filter(|&&slot| usable(slot)) {
            most = most.max(share(slot));
            if most == Share::FULL {
                break;
            }
        }
        most
    }
}

impl Endpoint {
    /// Whether it may have one more request.
    pub fn has_room(&self) -> bool {
        self.max_conns.is_none_or(|most| self.vitals.in_flight() < most.get())
    }

    /// A request begins there, unless others have taken its last place. Those
    /// who wait in `pool` for a place are told when it ends.
    pub fn begin(&self, pool: &Arc<PoolState>) -> Option<InFlight> {
        match self.max_conns {
            None => Some(self.vitals.begin()),
            Some(most) => self.vitals.begin_within(most.get(), pool),
        }
    }
}

/// Turns that one request may take while replicas stand back; with all but one
/// of a large pool new, it is still likely that one takes it.
const TURNS_MAX: usize = 32;

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
            health: None,
            slow_start: Duration::ZERO,
            tolerance: Tolerance::default(),
            middlewares: Arc::default(),
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
        self.rotation.0.fetch_add(1, Ordering::Relaxed)
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
    /// What is added if an attempt that begins now fails.
    pub fn mark(endpoint: &Endpoint) -> Mark {
        Mark(endpoint.vitals.serial(), endpoint.vitals.times_ready())
    }

    pub fn add(&mut self, mark: Mark) {
        self.0.push(mark);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        !self.0.is_empty() && self.0.contains(&Self::mark(endpoint))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fitness_tests;
