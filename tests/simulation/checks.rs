//! What must always hold, checked while it happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use evenkeel::domain::lifecycle::State;
use evenkeel::domain::pool::Endpoint;
use evenkeel::domain::world::{Health, Hint, Loss, Observation, Place, RunState};
use tokio::time::Instant;

use super::engine::Engine;

/// What the balancer was told, and what it did wrong in spite of it.
pub(super) struct Checks {
    engine: Rc<Engine>,
    told: RefCell<BTreeMap<Arc<str>, Told>>,
    pub(super) last: RefCell<Option<Observation>>,
}

/// What was told last of a container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Told {
    run: RunState,
    life: u32,
    has_address: bool,
    health: Health,
    at: Instant,
}

impl Checks {
    pub(super) fn new(engine: Rc<Engine>) -> Rc<Self> {
        let (told, last) = Default::default();
        Rc::new(Self { engine, told, last })
    }

    /// The balancer is told of a loss.
    pub(super) fn hinted(&self, hint: &Hint) {
        let mut told = self.told.borrow_mut();
        let Some(told) = told.get_mut(&hint.id) else {
            return self.engine.fault(format!("{hint:?} is about a container that was never seen"));
        };
        let (run, has_address) = match &hint.loss {
            Loss::Stopping => (RunState::Stopping, told.has_address),
            Loss::Stopped => (RunState::Stopped, false),
            Loss::Paused => (RunState::Paused, told.has_address),
            Loss::Network(_) => (told.run, false),
        };
        *told = Told { run, has_address, at: Instant::now(), ..*told };
    }

    /// The balancer is told of all there is.
    pub(super) fn observed(&self, observation: &Observation) {
        let mut told = self.told.borrow_mut();
        told.retain(|id, _| observation.workloads.iter().any(|it| it.id.id == *id));
        for workload in &observation.workloads {
            let has_address = match &workload.place {
                Place::Container { networks, .. } => networks.iter().any(|it| it.address.is_some()),
                Place::Fixed(_) => true,
            };
            let (run, life) = (workload.run, workload.id.life);
            let health = workload.health;
            let now = Told { run, life, has_address, health, at: Instant::now() };
            let before = told.entry(Arc::clone(&workload.id.id)).or_insert(now);
            let same = Told { at: before.at, ..now };
            if *before != same {
                *before = now;
            }
        }
        drop(told);
        *self.last.borrow_mut() = Some(observation.clone());
    }

    /// An attempt begins. `waited` is long enough for a replica that only
    /// starts or that leaves.
    pub(super) fn attempt(&self, request: &str, endpoint: &Endpoint, waited: bool) {
        let (vitals, id) = (&endpoint.vitals, &endpoint.id.workload);
        let state = vitals.state();
        let told = self.told.borrow().get(&id.id).copied();
        // HEALTHCHECK has come to a verdict: the endpoint serves, as a last resort
        // if a request that had waited made it suspect, or the verdict is bad.
        let judged =
            told.is_some_and(|told| matches!(told.health, Health::Healthy | Health::Unhealthy));
        let starts = state == State::Starting && waited;
        if vitals.times_ready() == 0 && !starts && !judged {
            self.engine
                .fault(format!("{request} goes to {id:?}, which was never ready ({state:?})"));
        }
        // What is told in this very moment has not been heard yet.
        let told = told.filter(|told| told.at < Instant::now());
        let wrong = match told {
            None => false,
            Some(told) => {
                let serves = match told.run {
                    RunState::Running => told.has_address && told.life == id.life,
                    // Only where nothing else is ready, which the pick has seen to.
                    RunState::Stopping => state == State::Draining,
                    RunState::Created
                    | RunState::Paused
                    | RunState::Restarting
                    | RunState::Stopped => false,
                };
                !serves
            }
        };
        if wrong {
            self.engine.fault(format!("{request} goes to {id:?} ({state:?}) in spite of {told:?}"));
        }
    }
}
