//! What must always hold, checked while it happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::domain::lifecycle::State;
use evenkeel::domain::pool::{Endpoint, EndpointId};
use evenkeel::domain::world::{Health, Hint, Loss, Observation, Place, RunState};
use tokio::time::Instant;

use super::container::{Fact, Kind};
use super::engine::Engine;

/// What the balancer was told, and what it did wrong in spite of it.
pub(super) struct Checks {
    engine: Rc<Engine>,
    told: RefCell<BTreeMap<Arc<str>, Told>>,
    /// Which true life was met at each endpoint.
    met: RefCell<BTreeMap<EndpointId, u32>>,
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
        let (told, met, last) = Default::default();
        Rc::new(Self { engine, told, met, last })
    }

    /// What the event `fact` took away was there to be taken: nothing that a
    /// former life lost is taken from one whose start was heard of.
    pub(super) fn is_fair(&self, hint: &Hint, fact: Fact) {
        let lives = self.engine.see(fact.container, |it| {
            it.alive && it.heard.start.is_some_and(|(life, _)| life == it.life)
        });
        if hint.loss == Loss::Stopped && lives && fact.kind != Kind::Start {
            self.engine.fault(format!("{hint:?} by {fact:?}, which is of a former life"));
        }
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
        self.is_true(request, endpoint);
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

    /// What was heard of some time ago is heeded, whatever lists have said since,
    /// and no two lives are taken for one.
    fn is_true(&self, request: &str, endpoint: &Endpoint) {
        let id = &endpoint.id.workload;
        let containers = self.engine.containers.borrow();
        let Some(container) = containers.iter().find(|it| *it.id == *id.id).cloned() else {
            return;
        };
        drop(containers);
        if let Some(objection) = container.objection(HEED_MAX) {
            self.engine.fault(format!("{request} goes to {id:?}, but {objection}"));
        }
        if endpoint.vitals.state() == State::Ready && container.is_signalled(HEED_MAX) {
            self.engine.fault(format!("{request} goes to {id:?}, which has its stop signal"));
        }
        if container.alive && !container.heard.misses {
            let mut met = self.met.borrow_mut();
            let before = *met.entry(endpoint.id.clone()).or_insert(container.life);
            // The start of a life is heard of a little after it.
            let heard = container
                .heard
                .start
                .is_some_and(|(life, at)| life == container.life && at.elapsed() > HEED_MAX);
            if before != container.life && heard {
                self.engine.fault(format!("{id:?} stands for two lives of it"));
            }
        }
    }
}

/// From an event that is heard to the last request that does not heed it.
const HEED_MAX: Duration = Duration::from_millis(50);
