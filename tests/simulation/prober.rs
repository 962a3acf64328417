//! The probes, on the model network: who needs one and how often is as in the
//! balancer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::domain::lifecycle::{Probe, State, probe_pause};
use evenkeel::domain::pool::{Endpoint, Vitals};
use evenkeel::domain::routing::RoutingTable;
use evenkeel::live::Alarm;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::container::last_byte;
use super::engine::Engine;

pub(super) struct Prober {
    engine: Rc<Engine>,
    alarm: Alarm,
    tasks: RefCell<BTreeMap<u64, JoinHandle<()>>>,
}

impl Prober {
    pub(super) fn new(engine: Rc<Engine>, alarm: Alarm) -> Self {
        Self { engine, alarm, tasks: RefCell::default() }
    }

    pub(super) fn follow(&self, table: &RoutingTable) {
        let endpoints = table.pools().flat_map(|pool| &pool.endpoints);
        let wanted: BTreeMap<_, _> = endpoints
            .filter(|endpoint| is_wanted(endpoint))
            .map(|endpoint| (endpoint.vitals.serial(), endpoint))
            .collect();
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|serial, task| {
            let stays = wanted.contains_key(serial) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (serial, endpoint) in wanted {
            tasks.entry(serial).or_insert_with(|| {
                let (engine, alarm) = (Rc::clone(&self.engine), self.alarm.clone());
                let address = last_byte(endpoint.id.address);
                spawn_local(probe(engine, address, Arc::clone(&endpoint.vitals), alarm))
            });
        }
    }
}

fn is_wanted(endpoint: &Endpoint) -> bool {
    let vitals = &endpoint.vitals;
    match vitals.state() {
        State::Starting | State::Suspect => vitals.probe() != Probe::Passed,
        // It was paused.
        State::Ready => vitals.probe() == Probe::Untried,
        State::Unhealthy | State::Paused | State::Draining | State::Gone => false,
    }
}

async fn probe(engine: Rc<Engine>, address: u8, vitals: Arc<Vitals>, alarm: Alarm) {
    let began = Instant::now();
    loop {
        match timeout(CONNECT_TIMEOUT, engine.connect(address)).await {
            Ok(Some(_)) => {
                vitals.set_probe(Probe::Passed);
                return alarm.raise();
            }
            Ok(None) => sleep(probe_pause(began.elapsed())).await,
            Err(_) => sleep(probe_pause(began.elapsed()).max(CONNECT_TIMEOUT)).await,
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
