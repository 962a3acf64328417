//! Which endpoints may take one more request, and which are tried again.

use std::sync::Arc;

use crate::domain::lifecycle::{Probe, State};
use crate::domain::pool::{Draw, Endpoint, InFlight, Pool, PoolState, Trial, Tried};

impl Pool {
    /// Chooses an ejected endpoint whose time-out is over, for the one request
    /// that decides whether it is back. `repeatable`: the request could be sent
    /// elsewhere if it fails.
    pub fn pick_trial(&self, draw: Draw<'_>, repeatable: bool) -> Option<(&Endpoint, Trial)> {
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
