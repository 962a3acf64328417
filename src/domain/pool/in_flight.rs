//! A request that an endpoint is working on.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use crate::domain::lifecycle::{Outliers, Trouble};
use crate::domain::pool::{Ejected, PoolState, Trial, Vitals};

/// Counts one request against an endpoint until it is dropped.
#[derive(Debug)]
pub struct InFlight {
    vitals: Arc<Vitals>,
    /// The endpoint was out of service when it began.
    at_last: bool,
    trial: Option<Trial>,
    /// Whose waiting are told when its place is free.
    freed: Option<Arc<PoolState>>,
}

impl Vitals {
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.entered(None)
    }

    /// As [`Vitals::begin`], if fewer than `most` are in flight. Those who wait
    /// in `pool` are told when it ends.
    pub fn begin_within(self: &Arc<Self>, most: u32, pool: &Arc<PoolState>) -> Option<InFlight> {
        let taken = |count| (count < most).then(|| count + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(self.entered(Some(Arc::clone(pool))))
    }

    fn entered(self: &Arc<Self>, freed: Option<Arc<PoolState>>) -> InFlight {
        InFlight { vitals: Arc::clone(self), at_last: self.is_ejected(), trial: None, freed }
    }
}

impl InFlight {
    /// The request decides whether the endpoint is in service again.
    pub fn on_trial(self, trial: Trial) -> Self {
        let mut request = self;
        request.trial = Some(trial);
        request
    }

    pub fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// The endpoint has answered. Whether it is back in service by that.
    pub fn succeeded(&self, now: impl FnOnce() -> Instant) -> bool {
        self.at_last && self.vitals.ejection.pass(now())
    }

    /// The endpoint failed the request, by a fault of its own. Whether it is
    /// ejected for that; `spared`: others can do without it.
    pub fn failed(
        &self,
        trouble: Trouble,
        now: Instant,
        limits: Outliers,
        spared: impl FnOnce() -> bool,
    ) -> Option<Ejected> {
        if limits.max_fails == 0 && self.trial.is_none() {
            return None;
        }
        let vitals = &self.vitals;
        let ejected = vitals.ejection.fail(trouble, now, limits, self.trial.as_ref(), spared)?;
        vitals.mark_ejected();
        Some(ejected)
    }

    #[cfg(test)]
    pub(super) fn decides(&self) -> bool {
        self.trial.as_ref().is_some_and(Trial::decides)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.vitals.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(pool) = &self.freed {
            // Who begins to wait looks once more after it is in the queue: one
            // of the two sees what the other has done.
            fence(Ordering::SeqCst);
            pool.queue.call();
        }
    }
}
