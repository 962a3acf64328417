//! Taking traffic away at once: what a hint says goes into live vitals, before
//! anything is planned.

use std::net::IpAddr;

use crate::domain::lifecycle;
use crate::domain::routing::RoutingTable;
use crate::domain::world::{Hint, Loss, Observation, Place, Workload};

impl RoutingTable {
    /// Has the endpoints of one container lose what `hint` says that it lost.
    /// Whether any of them had it. `seen` is what its source saw before.
    pub fn heed(&self, hint: &Hint, seen: Option<&Observation>) -> bool {
        let lost = match &hint.loss {
            Loss::Stopping | Loss::Stopped | Loss::Paused => None,
            Loss::Network(network) => {
                match seen.and_then(|seen| address_on(seen, &hint.id, network)) {
                    Some(address) => Some(address),
                    None => return false,
                }
            }
        };
        let within = seen.and_then(|seen| workload(seen, &hint.id)?.stop_timeout);
        let mut any = false;
        for endpoint in self.endpoints().filter(|it| it.id.workload.id == hint.id) {
            if lost.is_some_and(|address| address != endpoint.id.address.ip()) {
                continue;
            }
            if let (Loss::Stopping, Some(within)) = (&hint.loss, within) {
                endpoint.vitals.stops_within(within);
            }
            let before = endpoint.vitals.state();
            let after = lifecycle::lose(before, &hint.loss);
            if after != before {
                endpoint.vitals.set_state(after);
                any = true;
            }
        }
        any
    }
}

fn address_on(seen: &Observation, id: &str, network: &str) -> Option<IpAddr> {
    let Place::Container { networks, .. } = &workload(seen, id)?.place else { return None };
    networks.iter().find(|it| *it.network == *network)?.address
}

fn workload<'a>(seen: &'a Observation, id: &str) -> Option<&'a Workload> {
    seen.workloads.iter().find(|it| *it.id.id == *id)
}
