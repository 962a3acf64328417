//! Who drains since when: a leaving replica gets its time to finish, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use crate::domain::lifecycle::State;
use crate::domain::pool::Vitals;
use crate::domain::routing::RoutingTable;

/// The draining endpoints of the table, by serial.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<u64, Drain>);

#[derive(Debug)]
struct Drain {
    name: Arc<str>,
    vitals: Arc<Vitals>,
    began: Instant,
    until: Instant,
}

impl Drains {
    /// Takes note of who has begun to drain, and of who does not any more. What
    /// is in two pools has the time of the more patient one.
    pub(super) fn follow(&mut self, table: &RoutingTable, now: Instant) {
        let mut drains: BTreeMap<u64, Drain> = BTreeMap::new();
        for pool in table.pools() {
            let draining = pool.endpoints.iter().filter(|it| it.vitals.state() == State::Draining);
            for endpoint in draining {
                let serial = endpoint.vitals.serial();
                let began = self.0.get(&serial).map_or(now, |it| it.began);
                let until = began + pool.settings.drain;
                let drain = drains.entry(serial).or_insert_with(|| Drain {
                    name: Arc::clone(&endpoint.name),
                    vitals: Arc::clone(&endpoint.vitals),
                    began,
                    until,
                });
                drain.until = drain.until.max(until);
            }
        }
        self.0 = drains;
    }

    /// When the next of them has had its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().filter(|it| !it.vitals.is_cut()).map(|it| it.until).min()
    }

    /// Cuts those that have had their time. Whether there is any.
    pub(super) fn cut(&self, now: Instant) -> bool {
        let overdue = self.0.values().filter(|it| it.until <= now && !it.vitals.is_cut());
        let mut any = false;
        for drain in overdue {
            drain.vitals.cut();
            let in_flight = drain.vitals.in_flight();
            info!(replica = %drain.name, in_flight, "The time to drain is over");
            any = true;
        }
        any
    }
}
