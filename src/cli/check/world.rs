//! The services of a project as a balancer would see them, were they all up.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::cli::check::compose::{Project, Service, range};
use crate::domain::world::{
    Attachment, Health, NetworkMode, Observation, OwnNetwork, Place, RunState, Vantage, Workload,
    WorkloadId,
};

/// These services, seen from `balancer`. It is taken to be on every network: whom
/// it shares none with is told apart, with a remedy that is written in the file.
pub(super) fn seen(
    project: &Project,
    services: &[&Service],
    balancer: Option<&Service>,
) -> Observation {
    let names: BTreeSet<&str> = services.iter().flat_map(|it| networks(project, it)).collect();
    let own = names.iter().map(|name| OwnNetwork {
        name: (*name).into(),
        network: (*name).into(),
        gateway: Some(GATEWAY),
        address: None,
    });
    let mode = balancer.and_then(|balancer| project.holder(balancer).network_mode.as_ref());
    let vantage = Vantage::Container {
        id: balancer.map_or("", |balancer| balancer.name.as_str()).into(),
        name: balancer.map_or("", |balancer| balancer.name.as_str()).into(),
        host_network: mode.is_some_and(|mode| mode.text == "host"),
        networks: own.collect(),
    };
    let workloads = services.iter().zip(1_u32..);
    let workloads = workloads.map(|(service, number)| workload(project, service, number));
    Observation { workloads: workloads.collect(), vantage, ..Observation::default() }
}

/// The service as its container would be.
pub(super) fn workload(project: &Project, service: &Service, number: u32) -> Workload {
    let name: Arc<str> = service.name.as_str().into();
    let labels = service.all_labels();
    let address = IpAddr::V4(Ipv4Addr::from_bits(FIRST + number));
    let attachment =
        |name: &str| Attachment { name: name.into(), network: name.into(), address: Some(address) };
    let mut attachments: Vec<_> = networks(project, service).map(attachment).collect();
    // Labels may name a network as the engine does: after the project.
    let full = |key: &str| {
        let ends = |value: &&String| {
            value
                .strip_suffix(key)
                .is_some_and(|project| project.len() > 1 && project.ends_with('_'))
        };
        labels.values().find(ends).map(|value| attachment(value))
    };
    let named = networks(project, service).filter_map(full).collect::<Vec<_>>();
    attachments.extend(named);
    Workload {
        id: WorkloadId { id: Arc::clone(&name), life: 0 },
        name: Arc::clone(&name),
        project: None,
        service: Some(name),
        labels,
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place: Place::Container {
            mode: mode(project, service),
            networks: attachments,
            // Its image may expose others than the file says.
            exposed: None,
        },
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

/// What the engine calls the networks of a service.
pub(super) fn networks<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = &'a str> {
    let default = service.networks.as_ref().is_none_or(|networks| networks.is_empty());
    let own = match service.network_mode.as_ref().map(|mode| mode.text.as_str()) {
        None => None,
        // One of a container that is not in the file stands for those it has.
        Some(mode) => Some(mode).filter(|mode| !["host", "none"].contains(mode)),
    };
    let is_by_name = service.network_mode.is_none();
    let by_name = service.networks.iter().flatten().map(|(name, _)| name.as_str());
    let by_name = by_name.chain(default.then_some("default")).filter(move |_| is_by_name);
    let called = |name: &'a str| project.networks.get(name).map_or(name, String::as_str);
    own.into_iter().chain(by_name.map(called))
}

fn mode(project: &Project, service: &Service) -> NetworkMode {
    match service.network_mode.as_ref().map(|mode| mode.text.as_str()) {
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(other) => {
            let other = other.strip_prefix("service:");
            let other = other.filter(|name| project.services.contains_key(*name));
            other.map_or(NetworkMode::Own, |name| NetworkMode::Container(name.into()))
        }
        None => NetworkMode::Own,
    }
}

/// The TCP ports that the file says a service has; none where it says nothing, or
/// not which, since its image may have others.
pub(super) fn exposed(service: &Service) -> Option<Vec<u16>> {
    let mut ports = BTreeSet::new();
    for port in service.ports.iter().filter(|port| port.is_tcp) {
        ports.extend(port.target.clone()?);
    }
    for written in &service.expose {
        let (text, protocol) = written.text.split_once('/').unwrap_or((&written.text, "tcp"));
        if protocol == "tcp" {
            ports.extend(range(text)?);
        }
    }
    (!ports.is_empty()).then(|| ports.into_iter().collect())
}

/// Addresses that nothing has: they only tell the containers apart.
const FIRST: u32 = Ipv4Addr::new(172, 16, 0, 0).to_bits();
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 255, 254));
