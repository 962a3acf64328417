//! Readiness: whether a replica accepts connections.
//!
//! Endpoints that take no requests yet, or no longer since a connection to them
//! failed, are asked again and again by a task each. An answer goes into the
//! endpoint's vitals, and the control loop is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::lifecycle::{Probe, State, probe_pause};
use crate::domain::pool::{Endpoint, Vitals};
use crate::domain::routing::RoutingTable;
use crate::live::Alarm;

/// Probes what needs it in the table that it was last shown.
#[derive(Debug)]
pub struct Prober {
    alarm: Alarm,
    at_once: Arc<Semaphore>,
    tasks: BTreeMap<u64, JoinHandle<()>>,
}

impl Prober {
    pub fn new(alarm: Alarm) -> Self {
        Self { alarm, at_once: Arc::new(Semaphore::new(CONNECTS_MAX)), tasks: BTreeMap::new() }
    }

    /// Begins probing the endpoints of `table` that need it, and ends the
    /// probes of all others.
    pub fn follow(&mut self, table: &RoutingTable) {
        let endpoints = table.pools().flat_map(|pool| &pool.endpoints);
        let wanted: BTreeMap<_, _> = endpoints
            .filter(|endpoint| is_wanted(endpoint))
            .map(|endpoint| (endpoint.vitals.serial(), endpoint))
            .collect();
        self.tasks.retain(|serial, task| {
            let stays = wanted.contains_key(serial) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for (serial, endpoint) in wanted {
            self.tasks.entry(serial).or_insert_with(|| {
                let vitals = Arc::clone(&endpoint.vitals);
                let (alarm, at_once) = (self.alarm.clone(), Arc::clone(&self.at_once));
                tokio::spawn(probe(endpoint.id.address, vitals, alarm, at_once))
            });
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

/// An endpoint whose HEALTHCHECK has not spoken is asked too: when nothing else
/// is ready, one that accepts serves those who have waited.
fn is_wanted(endpoint: &Endpoint) -> bool {
    matches!(endpoint.vitals.state(), State::Starting | State::Suspect)
        && endpoint.vitals.probe() != Probe::Passed
}

async fn probe(address: SocketAddr, vitals: Arc<Vitals>, alarm: Alarm, at_once: Arc<Semaphore>) {
    let began = Instant::now();
    loop {
        let pause = match connect(address, &at_once).await {
            Some(true) => {
                vitals.set_probe(Probe::Passed);
                alarm.raise();
                return;
            }
            Some(false) => probe_pause(began.elapsed()),
            // Nobody answers there: asking often would only keep others waiting.
            None => probe_pause(began.elapsed()).max(UNANSWERED_PAUSE),
        };
        sleep(pause).await;
    }
}

/// Whether the address accepts a connection; none if nobody answers in time.
async fn connect(address: SocketAddr, at_once: &Semaphore) -> Option<bool> {
    let _permit = at_once.acquire().await.ok()?;
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.ok()?;
    Some(connected.is_ok())
}

/// Connects under way at once, of all probes together.
const CONNECTS_MAX: usize = 64;

/// A replica that is there accepts within a round trip of the bridge; a longer
/// wait means that packets are dropped.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

const UNANSWERED_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::PoolName;
    use crate::domain::plan::{Member, Plan, PoolPlan};
    use crate::domain::pool::PoolSettings;
    use crate::domain::rule::{Access, Rule};
    use crate::domain::world::{Health, RunState, WorkloadId};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_endpoint_passes_as_soon_as_it_listens() {
        let address = free_address().await;
        let (table, alarm) = (table_of(address), Alarm::default());
        let mut prober = Prober::new(alarm.clone());
        prober.follow(&table);
        assert!(timeout(Duration::from_millis(60), alarm.raised()).await.is_err());

        let _listener = TcpListener::bind(address).await.unwrap();
        timeout(Duration::from_secs(2), alarm.raised()).await.unwrap();

        let pool = table.pools().next().unwrap();
        assert_eq!(pool.endpoints[0].vitals.probe(), Probe::Passed);
    }

    #[tokio::test]
    async fn an_endpoint_that_left_is_no_longer_probed() {
        let mut prober = Prober::new(Alarm::default());
        prober.follow(&table_of(free_address().await));
        assert_eq!(prober.tasks.len(), 1);
        prober.follow(&RoutingTable::default());
        assert!(prober.tasks.is_empty());
    }

    async fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    fn table_of(address: SocketAddr) -> RoutingTable {
        let member = Member {
            workload: WorkloadId { id: "one".into(), life: 0 },
            name: "one".into(),
            service: None,
            run: RunState::Running,
            drained: false,
            health: Health::None,
            address: Some(address),
            weight: 1,
            backup: false,
        };
        let pool = PoolPlan {
            access: Access::Open(Rule::default()),
            settings: PoolSettings::default(),
            members: vec![member],
        };
        let pools = [(PoolName::new(None, "shop").unwrap(), pool)];
        let plan = Plan { pools: pools.into(), problems: Vec::new(), complete: true };
        RoutingTable::build(&plan, &RoutingTable::default())
    }
}
