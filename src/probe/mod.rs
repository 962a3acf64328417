//! Readiness: whether a replica can serve.
//!
//! Each endpoint that may take requests is watched by a task. Without a health
//! check of its own it is asked, by a connection, only while it takes none;
//! with one it is asked for as long as it is there. What is found goes into the
//! endpoint's vitals, and the control loop is told of what changed.

mod ask;
mod http2;
mod watch;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::domain::lifecycle::{HealthCheck, Probe};
use crate::domain::pool::Endpoint;
use crate::domain::routing::RoutingTable;
use crate::live::Alarm;
use crate::probe::ask::Limits;
use crate::probe::watch::Watch;
use crate::tls::Clients;

/// Watches the endpoints of the table that it was last shown.
#[derive(Debug)]
pub struct Prober {
    alarm: Alarm,
    limits: Arc<Limits>,
    clients: Arc<Clients>,
    watched: BTreeMap<u64, Watched>,
}

/// An endpoint under watch, by the serial number of its vitals.
#[derive(Debug)]
struct Watched {
    check: Option<Arc<HealthCheck>>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Prober {
    pub fn new(alarm: Alarm) -> Self {
        Self { alarm, limits: Arc::default(), clients: Arc::default(), watched: BTreeMap::new() }
    }

    /// Watches the endpoints of `table` that it makes sense to ask, and no
    /// others. It also notes which of them are ready now.
    pub fn follow(&mut self, table: &RoutingTable) {
        let now = Instant::now().into_std();
        let mut asked = BTreeMap::new();
        for endpoint in table.pools().flat_map(|pool| &pool.endpoints) {
            endpoint.vitals.note_ready(now);
            if endpoint.vitals.state().is_asked() {
                asked.insert(endpoint.vitals.serial(), endpoint);
            }
        }
        self.watched.retain(|serial, it| {
            asked.get(serial).is_some_and(|endpoint| endpoint.check == it.check)
                && !it.task.is_finished()
        });
        for (serial, endpoint) in asked {
            match self.watched.entry(serial) {
                Entry::Occupied(it) if endpoint.vitals.probe() != Probe::Passed => {
                    it.get().wake.notify_one();
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    let (limits, clients) = (Arc::clone(&self.limits), Arc::clone(&self.clients));
                    place.insert(watch(endpoint, &self.alarm, limits, clients));
                }
            }
        }
    }
}

fn watch(
    endpoint: &Endpoint,
    alarm: &Alarm,
    limits: Arc<Limits>,
    clients: Arc<Clients>,
) -> Watched {
    let wake = Arc::<Notify>::default();
    let watch = Watch {
        address: endpoint.id.address,
        scheme: endpoint.id.scheme,
        check: endpoint.check.clone(),
        vitals: Arc::clone(&endpoint.vitals),
        alarm: alarm.clone(),
        limits,
        clients,
        wake: Arc::clone(&wake),
    };
    Watched { check: endpoint.check.clone(), wake, task: tokio::spawn(watch.run()) }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
