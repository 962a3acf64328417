//! Choosing the endpoint for an attempt.

use std::net::IpAddr;
use std::time::Instant;

use crate::domain::balance::{self, Cost, Load, Policy};
use crate::domain::lifecycle::{Probe, Share, State};
use crate::domain::pool::pin::Named;
use crate::domain::pool::{Endpoint, Pool, Sticky, Tier, Tiers, Turn, Wanted};

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

/// Why an endpoint is chosen: the first of these that has one gives it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Ejected, and its time-out over: this request decides whether it is back.
    Trial,
    /// The request names it.
    Pinned,
    /// The request belongs to it.
    Session,
    Primary,
    Backup,
    /// Unhealthy, suspect or ejected: better than no answer at all.
    Last,
    /// It has its stop signal, and may still answer.
    Leaving,
    /// Its HEALTHCHECK has not spoken yet; for those who have waited.
    Starting,
}

/// Whether a choice is made for good, or only foreseen.
pub(super) trait Manner: Copy {
    fn turn(self, turn: &Turn) -> u64;

    /// Endpoints of this stage are looked at now.
    fn enters(self, stage: Stage);
}

/// For good: it takes its turn.
#[derive(Clone, Copy)]
struct Live;

impl Manner for Live {
    fn turn(self, turn: &Turn) -> u64 {
        turn.next()
    }

    fn enters(self, _: Stage) {}
}

/// A choice among the endpoints of one rank.
struct Choice<'a, M> {
    pool: &'a Pool,
    tier: &'a Tier,
    turn: &'a Turn,
    draw: Draw<'a>,
    tried: &'a Tried,
    manner: M,
}

impl Pool {
    /// Chooses an endpoint for an attempt. One that leaves is there for those
    /// who `may_meet_leaving`, and one that starts for those who have
    /// `waited_long`, unless a place at a better one is worth waiting for.
    pub fn choose(
        &self,
        draw: Draw<'_>,
        tried: &Tried,
        may_meet_leaving: impl FnOnce() -> bool,
        waited_long: impl FnOnce() -> bool,
    ) -> Option<&Endpoint> {
        self.choose_by(draw, tried, may_meet_leaving, waited_long, Live)
    }

    pub(super) fn choose_by(
        &self,
        draw: Draw<'_>,
        tried: &Tried,
        may_meet_leaving: impl FnOnce() -> bool,
        waited_long: impl FnOnce() -> bool,
        manner: impl Manner,
    ) -> Option<&Endpoint> {
        self.pick_by(draw, tried, manner).or_else(|| {
            if self.is_full_at_last(draw.wanted, tried) {
                return None;
            }
            let leaving =
                may_meet_leaving().then(|| self.pick_leaving(draw, tried, manner)).flatten();
            leaving.or_else(|| {
                waited_long().then(|| self.pick_starting(draw, tried, manner)).flatten()
            })
        })
    }

    /// Chooses an endpoint that is ready and has not been tried: the one that
    /// the request wants, else one of the first tier that has any. The
    /// endpoint's live state counts, which may be newer than this table.
    pub fn pick(&self, draw: Draw<'_>, tried: &Tried) -> Option<&Endpoint> {
        self.pick_by(draw, tried, Live)
    }

    fn pick_by(&self, draw: Draw<'_>, tried: &Tried, manner: impl Manner) -> Option<&Endpoint> {
        let Tiers { primary, backup, last, .. } = &self.tiers;
        let from = |tier, stage, serves| self.pick_from(tier, stage, draw, tried, serves, manner);
        self.pick_wanted(draw, tried, manner)
            .or_else(|| from(primary, Stage::Primary, serves))
            .or_else(|| from(backup, Stage::Backup, serves))
            .or_else(|| {
                // What is full is waited for, and not passed over for what fails.
                let may_wait = self.is_full(draw.wanted, tried);
                (!may_wait).then(|| from(last, Stage::Last, serves_at_last)).flatten()
            })
    }

    /// Chooses an endpoint that was ready until its stop signal came, and may
    /// still accept: better than no answer at all.
    fn pick_leaving(
        &self,
        draw: Draw<'_>,
        tried: &Tried,
        manner: impl Manner,
    ) -> Option<&Endpoint> {
        let accepts = |it: &Endpoint| {
            let vitals = &it.vitals;
            vitals.state() == State::Draining
                && vitals.probe() != Probe::Failed
                && vitals.times_ready() > 0
                && !vitals.is_cut()
        };
        self.pick_from(&self.tiers.leaving, Stage::Leaving, draw, tried, accepts, manner)
    }

    /// Chooses an endpoint whose HEALTHCHECK has not spoken yet but that
    /// accepts connections, for a request that has waited long enough. A health
    /// check of ours speaks soon after it starts: it is waited for.
    fn pick_starting(
        &self,
        draw: Draw<'_>,
        tried: &Tried,
        manner: impl Manner,
    ) -> Option<&Endpoint> {
        if self.settings.ready_strict {
            return None;
        }
        let accepts = |it: &Endpoint| {
            it.check.is_none()
                && it.vitals.state() == State::Starting
                && it.vitals.probe() == Probe::Passed
        };
        self.pick_from(&self.tiers.starting, Stage::Starting, draw, tried, accepts, manner)
    }

    /// Whether any endpoint is ready.
    pub fn is_ready(&self) -> bool {
        self.endpoints.iter().any(serves)
    }

    /// The endpoint that the request names or belongs to, whatever its weight;
    /// none if it takes no requests now. A backup must be named while any other
    /// serves: who came to know it meanwhile goes back.
    fn pick_wanted(&self, draw: Draw<'_>, tried: &Tried, manner: impl Manner) -> Option<&Endpoint> {
        let wanted = draw.wanted;
        let named = |Named { tier, turn }: &Named| {
            manner.enters(Stage::Pinned);
            let choice = Choice { pool: self, tier, turn, draw, tried, manner };
            choice.slot(serves)
        };
        let pinned = wanted.pins.into_iter().flatten().find_map(named);
        let slot = pinned.or_else(|| {
            let slot = wanted.session?;
            manner.enters(Stage::Session);
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
        stage: Stage,
        draw: Draw<'_>,
        tried: &Tried,
        serves: fn(&Endpoint) -> bool,
        manner: impl Manner,
    ) -> Option<&Endpoint> {
        manner.enters(stage);
        let turn = &self.state.turn;
        let choice = Choice { pool: self, tier, turn, draw, tried, manner };
        choice.slot(serves).and_then(|slot| self.at(slot))
    }

    pub(super) fn at(&self, slot: u16) -> Option<&Endpoint> {
        self.endpoints.get(usize::from(slot))
    }
}

pub(super) fn serves(endpoint: &Endpoint) -> bool {
    endpoint.vitals.state().serves()
}

pub(super) fn serves_at_last(endpoint: &Endpoint) -> bool {
    endpoint.vitals.state().serves_at_last()
}

impl<M: Manner> Choice<'_, M> {
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
                balance::least_request(&tier.ring, load, self.next_turn(), willing)
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
        let turn = || balance::round_robin(&self.tier.ring, self.next_turn(), &usable);
        let taken = (0..TURNS_MAX).map_while(|_| turn()).find(|&slot| takes(slot));
        let willing = |slot: u16| usable(slot) && takes(slot);
        taken.or_else(|| balance::round_robin(&self.tier.ring, self.next_turn(), willing))
    }

    fn next_turn(&self) -> u64 {
        self.manner.turn(self.turn)
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
