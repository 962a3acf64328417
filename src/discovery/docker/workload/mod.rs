//! The daemon's words for a container, put into ours.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::debug;

use super::wire::{self, Connection, Event, Listed};
use crate::domain::world::{
    Attachment, Bystander, Health, NetworkMode, Place, RunState, Workload, WorkloadId,
};

/// Whether a container asks for anything of ours: `prefix` ends with a dot.
pub(super) fn has_labels_of(listed: &Listed, prefix: &str) -> bool {
    listed.labels.keys().any(|key| begins_with(key, prefix))
}

/// Label keys are compared without case.
pub(super) fn begins_with(key: &str, prefix: &str) -> bool {
    key.as_bytes()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// The container as the list alone shows it, in its first life. `all` is the
/// list that it stands in.
pub(super) fn workload(listed: &Listed, all: &[Listed]) -> Workload {
    let label = |key: &str| listed.labels.get(key).map(String::as_str);
    let run = run_state(listed);
    Workload {
        id: WorkloadId { id: listed.id.as_str().into(), life: 0 },
        name: name(listed),
        project: PROJECT_LABELS.iter().find_map(|key| label(key)).map(Arc::from),
        service: SERVICE_LABELS.iter().find_map(|key| label(key)).map(Arc::from),
        host_name: None,
        labels: listed.labels.clone(),
        run,
        health: health(listed),
        created: listed.created.saturating_mul(1_000_000_000),
        place: Place::Container {
            mode: network_mode(listed, all),
            networks: attachments(listed, run),
            exposed: exposed(listed),
        },
        stop_timeout: None,
        exit_code: exit_code(listed),
        oneoff: label(ONEOFF_LABEL).is_some_and(|value| value.eq_ignore_ascii_case("true")),
    }
}

/// A container without labels of ours.
pub(super) fn bystander(listed: &Listed) -> Bystander {
    let label = |key: &&str| listed.labels.get(*key).map(|it| Arc::from(it.as_str()));
    Bystander {
        id: listed.id.as_str().into(),
        name: name(listed),
        image: listed.image.as_str().into(),
        project: PROJECT_LABELS.iter().find_map(label),
        service: SERVICE_LABELS.iter().find_map(label),
        run: run_state(listed),
    }
}

/// The same, as the event tells it that shows it for the first time.
pub(super) fn bystander_of(event: &Event) -> Option<Bystander> {
    let told = |key: &&str| event.attributes.get(*key).map(|it| Arc::from(it.as_str()));
    Some(Bystander {
        id: Arc::clone(&event.container),
        name: told(&"name")?,
        image: told(&"image").unwrap_or_default(),
        project: PROJECT_LABELS.iter().find_map(told),
        service: SERVICE_LABELS.iter().find_map(told),
        run: RunState::Created,
    })
}

/// With what its process ended: the list tells it only in the text for people,
/// as in `Exited (137) 3 minutes ago`.
fn exit_code(listed: &Listed) -> Option<i32> {
    let rest = ENDED.iter().find_map(|word| listed.status.strip_prefix(word))?;
    rest.split_once(')')?.0.parse().ok()
}

/// The container's own name: a link adds further ones, such as `/other/alias`.
pub(super) fn name(listed: &Listed) -> Arc<str> {
    let mut names = listed.names.iter().map(|name| name.trim_start_matches('/'));
    match names.find(|name| !name.is_empty() && !name.contains('/')) {
        Some(name) => name.into(),
        None => listed.id.chars().take(SHORT_ID).collect::<String>().into(),
    }
}

pub(super) fn network_mode(listed: &Listed, all: &[Listed]) -> NetworkMode {
    match listed.host_config.network_mode.as_str() {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        mode => match mode.strip_prefix("container:") {
            Some(peer) => NetworkMode::Container(full_id(peer, all)),
            None => NetworkMode::Own,
        },
    }
}

/// A peer may be written by id, by a part of it or by name; as it was written
/// where no container answers to it.
fn full_id(written: &str, all: &[Listed]) -> Arc<str> {
    let exact = all.iter().find(|listed| listed.id == written || *name(listed) == *written);
    let found = exact.or_else(|| {
        let shortened = written.len() >= SHORT_ID;
        all.iter().find(|listed| shortened && listed.id.starts_with(written))
    });
    found.map_or(written, |listed| listed.id.as_str()).into()
}

fn run_state(listed: &Listed) -> RunState {
    match listed.state.as_str() {
        "created" | "configured" | "initialized" => RunState::Created,
        "running" => RunState::Running,
        "paused" => RunState::Paused,
        "stopping" => RunState::Stopping,
        "restarting" => RunState::Restarting,
        "exited" | "dead" | "removing" | "stopped" => RunState::Stopped,
        other => {
            debug!(container = %name(listed), state = other, "Unknown state, taken for stopped");
            RunState::Stopped
        }
    }
}

/// The verdict of the HEALTHCHECK. Before API 1.52 the list tells it only in
/// the text for people, and nothing tells it of a paused container.
fn health(listed: &Listed) -> Health {
    let told = listed.status.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let told = told.and_then(wire::verdict);
    wire::verdict(&listed.health.status).or(told).unwrap_or(Health::None)
}

fn attachments(listed: &Listed, run: RunState) -> Vec<Attachment> {
    let mut attachments: Vec<_> = listed
        .network_settings
        .networks
        .iter()
        .map(|(name, connection)| {
            let connection = connection.clone().unwrap_or_default();
            Attachment {
                name: name.as_str().into(),
                network: network_id(name, &connection),
                // A stopped container can list an address that another one has now.
                address: holds_addresses(run).then(|| address(&connection)).flatten(),
            }
        })
        .collect();
    attachments.sort();
    attachments
}

/// Whether a container in this state owns the addresses it lists.
pub(super) fn holds_addresses(run: RunState) -> bool {
    match run {
        RunState::Running | RunState::Paused | RunState::Stopping => true,
        RunState::Created | RunState::Restarting | RunState::Stopped => false,
    }
}

/// The id, or the name of a network that has none yet.
pub(super) fn network_id(name: &str, connection: &Connection) -> Arc<str> {
    if connection.network.is_empty() { name.into() } else { connection.network.as_str().into() }
}

/// IPv4 before IPv6.
pub(super) fn address(connection: &Connection) -> Option<IpAddr> {
    [&connection.ipv4, &connection.ipv6].into_iter().find_map(|written| written.parse().ok())
}

/// The list leaves out what a container exposes in some states and modes, so
/// that nothing listed says nothing.
fn exposed(listed: &Listed) -> Option<Vec<u16>> {
    let tcp = listed.ports.iter().filter(|port| matches!(port.protocol.as_str(), "tcp" | ""));
    let mut ports: Vec<_> = tcp.map(|port| port.private_port).filter(|&port| port != 0).collect();
    ports.sort_unstable();
    ports.dedup();
    (!ports.is_empty()).then_some(ports)
}

const PROJECT_LABELS: [&str; 2] = ["com.docker.compose.project", "com.docker.stack.namespace"];

const SERVICE_LABELS: [&str; 2] = ["com.docker.compose.service", "com.docker.swarm.service.name"];

const ENDED: [&str; 2] = ["Exited (", "Restarting ("];

const ONEOFF_LABEL: &str = "com.docker.compose.oneoff";

/// As many digits of an id as the CLI shows.
const SHORT_ID: usize = 12;

#[cfg(test)]
mod tests;
