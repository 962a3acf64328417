//! Choosing the endpoint for an attempt.

use std::net::IpAddr;
use std::time::Instant;

use crate::domain::balance::{self, Cost, Load, Policy};
use crate::domain::lifecycle::{Probe, Share, State};
use crate::domain::pool::pin::Named;
use crate::domain::pool::{Endpoint, Pool, Sticky, Tier, Turn, Wanted};

/// What the choice of an endpoint may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Uniform random bits.
    pub random: u64,
    pub client: IpAddr,
    /// When the request began.
    pub now: Instant,
    /// Of the pool that is asked.
    pub wanted: Wanted<'a>,
}

/// The endpoints that this request has been sent to, each with how often it had
/// become ready, and been heard of again, by then: after that it has not been
/// tried. One that is ejected is heard of again though it does not become ready.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<Mark>);

/// An endpoint as it was when it was tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark(u64, u32, u32);

/// A choice among the endpoints of one rank.
struct Choice<'a> {
    pool: &'a Pool,
    tier: &'a Tier,
    turn: &'a Turn,
    draw: Draw<'a>,
    tried: &'a Tried,
}

impl Pool {
    /// Chooses an endpoint that is ready and has not been tried: the one that
    /// the request wants, else one of the first tier that has any. The
    /// endpoint's live state counts, which may be newer than this table.
    pub fn pick(&self, draw: Draw<'_>, tried: &Tried) -> Option<&Endpoint> {
        let serves_at_last = |it: &Endpoint| it.vitals.state().serves_at_last();
        self.pick_wanted(draw, tried)
            .or_else(|| self.pick_from(&self.tiers.primary, draw, tried, serves))
            .or_else(|| self.pick_from(&self.tiers.backup, draw, tried, serves))
            .or_else(|| {
                // What is full is waited for, and not passed over for what fails.
                let may_wait = self.is_full(draw.wanted, tried);
                let last = &self.tiers.last;
                (!may_wait).then(|| self.pick_from(last, draw, tried, serves_at_last)).flatten()
            })
    }

    /// Chooses an endpoint that was ready until its stop signal came, and may
    /// still accept: better than no answer at all.
    pub fn pick_leaving(&self, draw: Draw<'_>, tried: &Tried) -> Option<&Endpoint> {
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
    pub fn pick_starting(&self, draw: Draw<'_>, tried: &Tried) -> Option<&Endpoint> {
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

    /// Whether any endpoint is ready.
    pub fn is_ready(&self) -> bool {
        self.endpoints.iter().any(serves)
    }

    /// The endpoint that the request names or belongs to, whatever its weight;
    /// none if it takes no requests now. A backup must be named while any other
    /// serves: who came to know it meanwhile goes back.
    pub fn pick_wanted(&self, draw: Draw<'_>, tried: &Tried) -> Option<&Endpoint> {
        let wanted = draw.wanted;
        let named = |Named { tier, turn }: &Named| {
            let choice = Choice { pool: self, tier, turn, draw, tried };
            choice.slot(serves)
        };
        let pinned = wanted.pins.into_iter().flatten().find_map(named);
        let slot = pinned.or_else(|| {
            let slot = wanted.session?;
            let usable = |it: &Endpoint| serves(it) && it.has_room() && !tried.contains(it);
            let others = || self.tiers.primary.members.iter().filter_map(|&slot| self.at(slot));
            let is_due = |it: &Endpoint| !it.backup || !others().any(usable);
            self.at(slot).filter(|it| usable(it) && is_due(it)).map(|_| slot)
        })?;
        self.at(slot)
    }

    fn pick_from(
        &self,
        tier: &Tier,
        draw: Draw<'_>,
        tried: &Tried,
        serves: fn(&Endpoint) -> bool,
    ) -> Option<&Endpoint> {
        let choice = Choice { pool: self, tier, turn: &self.state.turn, draw, tried };
        choice.slot(serves).and_then(|slot| self.at(slot))
    }

    pub(super) fn at(&self, slot: u16) -> Option<&Endpoint> {
        self.endpoints.get(usize::from(slot))
    }
}

fn serves(endpoint: &Endpoint) -> bool {
    endpoint.vitals.state().serves()
}

impl Choice<'_> {
    fn slot(&self, serves: fn(&Endpoint) -> bool) -> Option<u16> {
        if self.tier.is_empty() {
            return None;
        }
        let untried = |it: &Endpoint| it.has_room() && !self.tried.contains(it);
        let usable = |slot: u16| self.pool.at(slot).is_some_and(|it| serves(it) && untried(it));
        if self.pool.settings.slow_start.is_zero() {
            return self.by_policy(usable, |_| true, |_| Share::FULL);
        }
        let most = self.most_share(usable);
        let takes = |slot: u16| {
            let random = balance::mix(self.draw.random ^ balance::mix(u64::from(slot)));
            self.share(slot).takes(most, random)
        };
        // Who was the furthest up may be taken by another meanwhile.
        let share = |slot: u16| self.share(slot);
        self.by_policy(usable, takes, share).or_else(|| self.by_policy(usable, |_| true, share))
    }

    /// The slot that the policy chooses. Who has no weight is among the members
    /// only where the others of its name have none either: all share alike. One that does not take the request
    /// stands back; the caller sees to it that some usable one takes it. A hash
    /// knows no standing back, since its keys would stray.
    fn by_policy(
        &self,
        usable: impl Fn(u16) -> bool,
        takes: impl Fn(u16) -> bool,
        share: impl Fn(u16) -> Share,
    ) -> Option<u16> {
        let Self { pool, tier, draw, .. } = *self;
        let load = |slot: u16| {
            pool.at(slot).map_or(Load::MAX, |it| Load {
                in_flight: share(slot).scale(it.vitals.in_flight()),
                weight: it.weight.max(1),
            })
        };
        let willing = |slot: u16| usable(slot) && takes(slot);
        match &pool.settings.policy {
            _ if pool.settings.affinity.sticky == Some(Sticky::Ip) => self.by_client(usable),
            // Whoever stands in for its replica is the same each time.
            _ if draw.wanted.is_away => self.by_client(usable),
            Policy::RoundRobin => self.in_turn(usable, takes),
            Policy::LeastRequest => {
                balance::least_request(&tier.ring, load, self.turn.next(), willing)
            }
            Policy::P2c => balance::p2c(&tier.ring, load, draw.random, willing),
            Policy::PeakEwma => {
                let cost = |slot: u16| {
                    let latency_us = |it: &Endpoint| it.vitals.latency.expected_us(draw.now);
                    let latency_us = pool.at(slot).and_then(latency_us);
                    Cost { load: load(slot), latency_us }
                };
                balance::peak_ewma(&tier.ring, cost, draw.random, willing)
            }
            Policy::Random => balance::random(&tier.ring, draw.random, willing),
            Policy::IpHash => self.by_client(usable),
            Policy::Hash(_) => match draw.wanted.key {
                Some(key) => {
                    let member = |slot: u16| {
                        pool.at(slot).map_or((0, Load::MAX), |it| {
                            let in_flight = it.vitals.in_flight();
                            (it.seed, Load { in_flight, weight: it.weight.max(1) })
                        })
                    };
                    balance::bounded_hash(&tier.members, tier.weight, key, member, usable)
                }
                None => self.in_turn(usable, takes),
            },
        }
    }

    fn in_turn(&self, usable: impl Fn(u16) -> bool, takes: impl Fn(u16) -> bool) -> Option<u16> {
        // Who stands back loses its turn; were it passed on, one neighbour
        // would have all of them.
        let turn = || balance::round_robin(&self.tier.ring, self.turn.next(), &usable);
        let taken = (0..TURNS_MAX).map_while(|_| turn()).find(|&slot| takes(slot));
        let willing = |slot: u16| usable(slot) && takes(slot);
        taken.or_else(|| balance::round_robin(&self.tier.ring, self.turn.next(), willing))
    }

    fn by_client(&self, usable: impl Fn(u16) -> bool) -> Option<u16> {
        let member =
            |slot: u16| self.pool.at(slot).map_or((0, 0), |it| (it.seed, it.weight.max(1)));
        let key = balance::client_key(self.draw.client);
        balance::hash(&self.tier.members, key, member, usable)
    }

    fn share(&self, slot: u16) -> Share {
        let endpoint = self.pool.at(slot);
        let ready_for = endpoint.map(|it| it.vitals.ready_for(self.draw.now)).unwrap_or_default();
        Share::after(ready_for, self.pool.settings.slow_start)
    }

    /// The share of the endpoint that is furthest up, against which those of
    /// the others are measured.
    fn most_share(&self, usable: impl Fn(u16) -> bool) -> Share {
        let mut most = Share::FLOOR;
        for &slot in self.tier.members.iter().filter(|&&slot| usable(slot)) {
            most = most.max(self.share(slot));
            if most == Share::FULL {
                break;
            }
        }
        most
    }
}

impl Tried {
    /// What is added if an attempt that begins now fails.
    pub fn mark(endpoint: &Endpoint) -> Mark {
        let vitals = &endpoint.vitals;
        Mark(vitals.serial(), vitals.times_ready(), vitals.recoveries())
    }

    pub fn add(&mut self, mark: Mark) {
        self.0.push(mark);
    }

    /// That attempt says nothing of the next one.
    pub fn forget(&mut self, mark: Mark) {
        self.0.retain(|it| *it != mark);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        !self.0.is_empty() && self.0.contains(&Self::mark(endpoint))
    }
}

/// Turns that one request may take while replicas stand back; with all but one
/// of a large pool new, it is still likely that one takes it.
const TURNS_MAX: usize = 32;
