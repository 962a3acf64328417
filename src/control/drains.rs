//! Who drains since when: a leaving replica gets its time to finish, and no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    /// When its WebSockets are to leave, since it is killed soon after.
    goodbye_at: Option<Instant>,
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
                let time_to_stop = endpoint.vitals.time_to_stop();
                let goodbye_at = time_to_stop.map(|time| began + time - ahead_of_end(time));
                let drain = drains.entry(serial).or_insert_with(|| Drain {
                    name: Arc::clone(&endpoint.name),
                    vitals: Arc::clone(&endpoint.vitals),
                    began,
                    goodbye_at,
                    until,
                });
                drain.until = drain.until.max(until);
            }
        }
        self.0 = drains;
    }

    /// When the next of them has had its time, or is about to be killed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(Drain::next_deadline).min()
    }

    /// Cuts those that have had their time, and has those say goodbye that are
    /// about to be killed. Whether there is any.
    pub(super) fn cut(&self, now: Instant) -> bool {
        let mut any = false;
        for drain in self.0.values().filter(|it| it.goodbye_due().is_some_and(|at| at <= now)) {
            drain.vitals.say_goodbye();
            any = true;
        }
        let overdue = self.0.values().filter(|it| it.until <= now && !it.vitals.is_cut());
        for drain in overdue {
            drain.vitals.cut();
            let in_flight = drain.vitals.in_flight();
            info!(replica = %drain.name, in_flight, "The time to drain is over");
            any = true;
        }
        any
    }
}

impl Drain {
    fn next_deadline(&self) -> Option<Instant> {
        let cut_due = (!self.vitals.is_cut()).then_some(self.until);
        self.goodbye_due().into_iter().chain(cut_due).min()
    }

    fn goodbye_due(&self) -> Option<Instant> {
        self.goodbye_at.filter(|_| !self.vitals.says_goodbye())
    }
}

/// How long before a container is killed its WebSockets are closed, where it has
/// so much `time` from its stop signal on.
fn ahead_of_end(time: Duration) -> Duration {
    GOODBYE_AHEAD.min(time / 2)
}

/// For the close frames and their answers, and for the clock of an engine that is
/// not ours.
const GOODBYE_AHEAD: Duration = Duration::from_secs(2);
