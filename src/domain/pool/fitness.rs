//! Which endpoints may take one more request, and which are tried again.

use std::slice;
use std::sync::Arc;

use crate::domain::lifecycle::{Probe, State};
use crate::domain::pool::{Draw, Endpoint, InFlight, Pool, PoolState, Tiers, Trial, Tried, Wanted};

impl Pool {
    /// Chooses an ejected endpoint whose time-out is over, for the one request
    /// that decides whether it is back. Who belongs to replicas that serve stays
    /// with them, and who names some may try one of these. `repeatable`: the
    /// request is a short one that could be sent elsewhere if it fails.
    pub fn pick_trial(&self, draw: Draw<'_>, repeatable: bool) -> Option<(&Endpoint, Trial)> {
        let lapse = self.settings.timeouts.response;
        let claim = |it: &Endpoint| Trial::begin(&it.vitals, draw.now, repeatable, lapse);
        self.first_trial(draw.wanted, claim)
    }

    /// The endpoint that [`Pool::pick_trial`] would choose; it is still to be had.
    pub(super) fn peek_trial(&self, draw: Draw<'_>, repeatable: bool) -> Option<&Endpoint> {
        let is_due = |it: &Endpoint| Trial::is_due(&it.vitals, draw.now, repeatable).then_some(());
        self.first_trial(draw.wanted, is_due).map(|(endpoint, ())| endpoint)
    }

    fn first_trial<T>(
        &self,
        wanted: Wanted<'_>,
        claim: impl Fn(&Endpoint) -> Option<T>,
    ) -> Option<(&Endpoint, T)> {
        if self.tiers.ejected.is_empty() {
            return None;
        }
        let trial = |slots: &[u16]| {
            let slots = slots.iter().filter_map(|&slot| self.at(slot));
            slots.filter(|it| self.may_try(it)).find_map(|it| claim(it).map(|trial| (it, trial)))
        };
        let serves = |&slot: &u16| self.at(slot).is_some_and(|it| it.vitals.state().serves());
        for named in wanted.pins.into_iter().flatten() {
            let members = &named.tier.members;
            let own = trial(members);
            if own.is_some() || members.iter().any(serves) {
                return own;
            }
        }
        let own = wanted.session.and_then(|slot| trial(&[slot]));
        if own.is_some() || wanted.session.is_some_and(|slot| serves(&slot)) {
            return own;
        }
        trial(&self.tiers.ejected)
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

    /// Whether a place at an endpoint that is ready is worth waiting for, none
    /// having been free when one was chosen. That is not asked anew: a place that
    /// was freed since must not be taken for none at all.
    pub fn is_full(&self, wanted: Wanted<'_>, tried: &Tried) -> bool {
        let Tiers { primary, backup, .. } = &self.tiers;
        let named = || wanted.pins.into_iter().flatten().map(|named| &named.tier);
        self.tiers.limited
            && ([primary, backup].into_iter().chain(named()))
                .map(|tier| tier.members.as_slice())
                .chain(wanted.session.as_ref().map(slice::from_ref))
                .any(|slots| self.may_free(slots, tried, State::serves))
    }

    /// As [`Pool::is_full`], of those too that are chosen when none is ready.
    pub fn is_full_at_last(&self, wanted: Wanted<'_>, tried: &Tried) -> bool {
        let last = &self.tiers.last.members;
        self.is_full(wanted, tried)
            || self.tiers.limited && self.may_free(last, tried, State::serves_at_last)
    }

    fn may_free(&self, slots: &[u16], tried: &Tried, fits: fn(State) -> bool) -> bool {
        slots
            .iter()
            .filter_map(|&slot| self.at(slot))
            .any(|it| it.max_conns.is_some() && fits(it.vitals.state()) && !tried.contains(it))
    }

    /// Whether an endpoint is ready that has not been tried and takes a request
    /// at once.
    pub fn has_other(&self, tried: &Tried) -> bool {
        let takes = |it: &Endpoint| it.weight > 0 && it.vitals.state().serves() && it.has_room();
        !self.has_line() && self.endpoints.iter().any(|it| takes(it) && !tried.contains(it))
    }
}

impl Pool {
    /// Whether others wait for a place, so that they are served first.
    pub fn has_line(&self) -> bool {
        self.tiers.limited && self.state.queue.waiting() > 0
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
