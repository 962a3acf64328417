//! The probes, on the model network: who needs one and how often is as in the
//! balancer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::domain::lifecycle::{Probe, probe_pause};
use evenkeel::domain::pool::{Endpoint, Vitals};
use evenkeel::domain::routing::RoutingTable;
use evenkeel::live::Alarm;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::container::last_byte;
use super::engine::Engine;

pub(super) struct Prober {
    engine: Rc<Engine>,
    alarm: Alarm,
    watched: RefCell<BTreeMap<u64, Watched>>,
}

struct Watched {
    wake: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Prober {
    pub(super) fn new(engine: Rc<Engine>, alarm: Alarm) -> Self {
        Self { engine, alarm, watched: RefCell::default() }
    }

    pub(super) fn follow(&self, table: &RoutingTable) {
        let endpoints = table.pools().flat_map(|pool| &pool.endpoints);
        let asked: BTreeMap<_, _> = endpoints
            .filter(|endpoint| endpoint.vitals.state().is_asked())
            .map(|endpoint| (endpoint.vitals.serial(), endpoint))
            .collect();
        let mut watched = self.watched.borrow_mut();
        watched.retain(|serial, _| asked.contains_key(serial));
        for (serial, endpoint) in asked {
            let watched = watched.entry(serial).or_insert_with(|| self.watch(endpoint));
            if endpoint.vitals.probe() != Probe::Passed {
                watched.wake.notify_one();
            }
        }
    }

    fn watch(&self, endpoint: &Endpoint) -> Watched {
        let wake = Rc::new(Notify::new());
        let watch = Watch {
            engine: Rc::clone(&self.engine),
            alarm: self.alarm.clone(),
            address: last_byte(endpoint.id.address),
            vitals: Arc::clone(&endpoint.vitals),
            wake: Rc::clone(&wake),
        };
        Watched { wake, task: self.engine.spawn(watch.run()) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watch {
    engine: Rc<Engine>,
    alarm: Alarm,
    address: u8,
    vitals: Arc<Vitals>,
    wake: Rc<Notify>,
}

impl Watch {
    async fn run(self) {
        let mut hurried = Instant::now();
        loop {
            let ticket = self.vitals.begin_probe();
            let Some(ticket) = ticket.filter(|ticket| ticket.probe() != Probe::Passed) else {
                let _ = timeout(LOOK, self.wake.notified()).await;
                hurried = Instant::now();
                continue;
            };
            let heard = timeout(CONNECT_TIMEOUT, self.engine.connect(self.address)).await;
            let verdict = match (&heard, ticket.probe()) {
                (Ok(Some(_)), _) => Probe::Passed,
                (_, Probe::Untried) if self.vitals.state().serves() => Probe::Failed,
                (_, before) => before,
            };
            if !self.vitals.conclude(ticket, verdict) {
                hurried = Instant::now();
                continue;
            }
            if verdict != ticket.probe() {
                self.alarm.raise();
            }
            if verdict != Probe::Passed {
                let pause = probe_pause(hurried.elapsed());
                let pause = if heard.is_err() { pause.max(CONNECT_TIMEOUT) } else { pause };
                let _ = timeout(pause, self.wake.notified()).await;
            }
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A wake-up that was lost costs time only.
const LOOK: Duration = Duration::from_secs(1);
