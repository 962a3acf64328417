//! What would become of a request that came now, and why.
//!
//! The choice is the one of serving, made by the same code; it only takes no
//! turn, claims no trial and counts nothing.

use std::cell::Cell;
use std::ptr;

use crate::domain::lifecycle::Share;
use crate::domain::pool::pick::{Manner, serves, serves_at_last};
use crate::domain::pool::{Draw, Endpoint, Pool, Stage, Tried, Turn};

/// What would become of a request's first attempt.
#[derive(Clone, Debug)]
pub struct Foreseen<'a> {
    pub outcome: Result<(&'a Endpoint, Stage), Wait>,
    /// Every endpoint, in the pool's order.
    pub candidates: Vec<Candidate<'a>>,
}

/// What a request waits for that meets no endpoint at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Others wait already for a place.
    InLine,
    /// All that could serve it have as many requests as they may.
    Place,
    /// None can serve it.
    Replica,
}

/// An endpoint as one request would find it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub endpoint: &'a Endpoint,
    /// Among whom it is looked for; none where nothing but its name leads to it.
    pub stage: Option<Stage>,
    pub standing: Standing,
    /// Of its part of the requests, while it is new.
    pub share: Share,
    /// How long it takes to answer of late; none before it has.
    pub latency_us: Option<u32>,
}

/// Whether an endpoint would be chosen, and if not, why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    Chosen,
    /// It could be as well: the policy prefers another one this time.
    Passed,
    /// Its state says no.
    NotServing,
    /// It has as many requests as it may.
    Full,
    /// With weight 0 nothing but a name or a cookie leads to it.
    NoWeight,
    /// The request names, or belongs to, another one.
    Elsewhere,
    /// It is looked at only where those before it have nobody.
    Later,
}

impl Pool {
    /// Foresees the first attempt of a request. `repeatable`: it could be sent
    /// again elsewhere if that fails.
    pub fn foresee<'a>(&'a self, draw: Draw<'_>, repeatable: bool) -> Foreseen<'a> {
        let outcome = self.outcome(draw, repeatable);
        let chosen = outcome.ok();
        let candidates = (0..u16::MAX).zip(&self.endpoints).map(|(slot, endpoint)| {
            let stage = self.stage(slot);
            Candidate {
                endpoint,
                stage,
                standing: standing(endpoint, stage, chosen),
                share: Share::after(endpoint.vitals.ready_for(draw.now), self.settings.slow_start),
                latency_us: endpoint.vitals.latency.expected_us(draw.now),
            }
        });
        Foreseen { outcome, candidates: candidates.collect() }
    }

    fn outcome(&self, draw: Draw<'_>, repeatable: bool) -> Result<(&Endpoint, Stage), Wait> {
        if self.has_line() {
            return Err(Wait::InLine);
        }
        if let Some(endpoint) = self.peek_trial(draw, repeatable) {
            return Ok((endpoint, Stage::Trial));
        }
        let (tried, peek) = (Tried::default(), Peek::default());
        match self.choose_by(draw, &tried, || repeatable, || false, &peek) {
            Some(endpoint) => Ok((endpoint, peek.stage.get())),
            None if self.is_full_at_last(draw.wanted, &tried) => Err(Wait::Place),
            None => Err(Wait::Replica),
        }
    }

    fn stage(&self, slot: u16) -> Option<Stage> {
        let tiers = &self.tiers;
        let ranked = [
            (&tiers.primary, Stage::Primary),
            (&tiers.backup, Stage::Backup),
            (&tiers.last, Stage::Last),
            (&tiers.leaving, Stage::Leaving),
            (&tiers.starting, Stage::Starting),
        ];
        ranked.into_iter().find_map(|(tier, stage)| tier.members.contains(&slot).then_some(stage))
    }
}

fn standing(
    endpoint: &Endpoint,
    stage: Option<Stage>,
    chosen: Option<(&Endpoint, Stage)>,
) -> Standing {
    let fits = match stage {
        None | Some(Stage::Primary | Stage::Backup) => serves(endpoint),
        Some(Stage::Last) => serves_at_last(endpoint),
        Some(_) => true,
    };
    match chosen {
        Some((it, _)) if ptr::eq(it, endpoint) => Standing::Chosen,
        _ if !fits => Standing::NotServing,
        _ if stage.is_none() => Standing::NoWeight,
        _ if !endpoint.has_room() => Standing::Full,
        Some((_, Stage::Pinned | Stage::Session)) => Standing::Elsewhere,
        Some((_, of)) if of == Stage::Trial || Some(of) == stage => Standing::Passed,
        Some(_) | None => Standing::Later,
    }
}

/// Sees what a choice would be without making it.
#[derive(Debug)]
struct Peek {
    /// The turn that was asked last, and what it would give next.
    turn: Cell<Option<(*const Turn, u64)>>,
    /// That was entered last.
    stage: Cell<Stage>,
}

impl Default for Peek {
    fn default() -> Self {
        Self { turn: Cell::new(None), stage: Cell::new(Stage::Primary) }
    }
}

impl Manner for &Peek {
    fn turn(self, turn: &Turn) -> u64 {
        let this = ptr::from_ref(turn);
        let asked = self.turn.get().filter(|(last, _)| *last == this);
        let number = asked.map_or_else(|| turn.peek(), |(_, next)| next);
        self.turn.set(Some((this, number.wrapping_add(1))));
        number
    }

    fn enters(self, stage: Stage) {
        self.stage.set(stage);
    }
}
