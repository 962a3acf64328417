//! Taking traffic away at once: what hints say goes into live vitals before
//! anything is planned.

use std::net::IpAddr;

use crate::domain::lifecycle;
use crate::domain::routing::RoutingTable;
use crate::domain::world::{Hint, Loss, Observation, Place, Report, World};

/// Has the endpoints of `table` lose what the hints among `reports` take from
/// them. Whether any of them had it. `world` is what was seen before.
pub(super) fn heed(reports: &[Report], table: &RoutingTable, world: &World) -> bool {
    let mut any = false;
    for report in reports {
        match report {
            Report::Hint { source, hint } => any |= lose(table, world.get(source), hint),
            Report::Seen { .. } | Report::Health { .. } => {}
        }
    }
    any
}

fn lose(table: &RoutingTable, seen: Option<&Observation>, hint: &Hint) -> bool {
    let lost = match &hint.loss {
        Loss::Stopping | Loss::Stopped | Loss::Paused => None,
        Loss::Network(network) => match seen.and_then(|seen| address_on(seen, &hint.id, network)) {
            Some(address) => Some(address),
            None => return false,
        },
    };
    let mut any = false;
    for endpoint in table.endpoints().filter(|it| it.id.workload.id == hint.id) {
        if lost.is_some_and(|address| address != endpoint.id.address.ip()) {
            continue;
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

fn address_on(seen: &Observation, id: &str, network: &str) -> Option<IpAddr> {
    let workload = seen.workloads.iter().find(|it| *it.id.id == *id)?;
    let Place::Container { networks, .. } = &workload.place else { return None };
    networks.iter().find(|it| *it.network == *network)?.address
}
