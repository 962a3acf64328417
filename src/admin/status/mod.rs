//! Pools and replicas as the API shows them: what the plan wants, joined with
//! what lives in the table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::admin::view;
use crate::domain::lifecycle::{self, Probe, Signs, State, Trouble};
use crate::domain::names::PoolName;
use crate::domain::plan::{Member, Plan, PoolPlan};
use crate::domain::pool::{Endpoint, EndpointId, Pool, StatusClass, Vitals};
use crate::domain::problem::Problem;
use crate::domain::rule::Access;
use crate::domain::world::{Health, RunState};

/// Every pool that is planned or still in the table.
pub(super) fn pools<'a>(
    plan: &Plan,
    table: impl Iterator<Item = &'a Arc<Pool>>,
) -> Vec<view::Pool> {
    let mut known: BTreeMap<&PoolName, (Option<&PoolPlan>, Option<&Pool>)> = BTreeMap::new();
    for (name, planned) in &plan.pools {
        known.entry(name).or_default().0 = Some(planned);
    }
    for live in table {
        known.entry(&live.name).or_default().1 = Some(live);
    }
    known.into_iter().map(|(name, (planned, live))| pool(name, planned, live)).collect()
}

pub(super) fn problem(problem: &Problem) -> view::Problem {
    view::Problem {
        subject: problem.subject.to_string(),
        key: problem.key.as_deref().map(str::to_owned),
        message: problem.message.clone(),
        hint: problem.hint.clone(),
    }
}

fn pool(name: &PoolName, planned: Option<&PoolPlan>, live: Option<&Pool>) -> view::Pool {
    let settings = planned.map(|it| &it.settings).or(live.map(|it| &it.settings));
    let settings = settings.cloned().unwrap_or_default();
    let tally = live.map(|it| &it.state.tally);
    let requests = StatusClass::ALL
        .map(|class| (class.as_str().to_owned(), tally.map_or(0, |tally| tally.requests(class))));
    view::Pool {
        name: name.name.to_string(),
        project: name.project.as_deref().map(str::to_owned),
        label: name.to_string(),
        rule: planned.map_or_else(left_behind, |it| rule(&it.access)),
        policy: settings.policy.to_string(),
        hold_seconds: settings.hold.as_secs_f64(),
        hold_max: settings.hold_max,
        state: pool_state(planned, live).to_owned(),
        waiting: live.map_or(0, |it| it.state.waiting()),
        queued: live.map_or(0, |it| it.state.queue.waiting()),
        requests: requests.into(),
        retries: live.map_or(0, |it| it.state.efforts.retries_in_all()),
        replicas: replicas(planned, live),
    }
}

fn pool_state(planned: Option<&PoolPlan>, live: Option<&Pool>) -> &'static str {
    match planned.map(|it| &it.access) {
        Some(Access::Closed(_)) => "closed",
        Some(Access::Open(_)) | None if live.is_some_and(Pool::is_ready) => "ready",
        Some(Access::Open(_)) | None => "not_ready",
    }
}

fn rule(access: &Access) -> view::Rule {
    let (rule, text) = match access {
        Access::Open(rule) => (rule, rule.to_string()),
        Access::Closed(rule) => {
            (rule, format!("answered 503, since a guard cannot be read: {rule}"))
        }
    };
    let texts = |list: &[Arc<str>]| list.iter().map(ToString::to_string).collect();
    view::Rule {
        text,
        hosts: rule.hosts.iter().map(ToString::to_string).collect(),
        prefixes: texts(&rule.prefixes),
        exact: texts(&rule.exact),
        conditions: rule.conditions.as_ref().map(ToString::to_string),
        priority: rule.priority,
    }
}

fn left_behind() -> view::Rule {
    let text = "its last container was removed; requests are held for a new one".to_owned();
    view::Rule { text, ..view::Rule::default() }
}

fn replicas(planned: Option<&PoolPlan>, live: Option<&Pool>) -> Vec<view::Replica> {
    let endpoints = live.map(|it| it.endpoints.as_slice()).unwrap_or_default();
    let mut endpoints: BTreeMap<_, _> = endpoints.iter().map(|it| (&it.id, it)).collect();
    let members = planned.map(|it| it.members.as_slice()).unwrap_or_default();
    let mut replicas: Vec<_> = members
        .iter()
        .map(|member| {
            let (workload, scheme) = (&member.workload, member.scheme);
            let id = |address| EndpointId { workload: workload.clone(), address, scheme };
            replica(member, member.address.and_then(|address| endpoints.remove(&id(address))))
        })
        .collect();
    replicas.extend(endpoints.into_values().map(leaving));
    replicas
}

fn replica(member: &Member, endpoint: Option<&Endpoint>) -> view::Replica {
    let Member { run, drained, health, .. } = *member;
    let probe = endpoint.map_or(Probe::Untried, |it| it.vitals.probe());
    let checked = endpoint.is_some_and(|it| it.check.is_some());
    let (been_ready, ejected) = (false, false);
    let signs = Signs { run, drained, health, checked, probe, been_ready, ejected };
    let state = endpoint.map_or_else(|| lifecycle::state(signs), |it| it.vitals.state());
    let (state, reason) = match (member.address, run) {
        (None, RunState::Running) => {
            (UNREACHABLE, "it has no address that we can reach; the problems say why".to_owned())
        }
        _ => (state.as_str(), reason(state, member, endpoint, probe)),
    };
    view::Replica {
        state: state.to_owned(),
        reason,
        name: member.name.to_string(),
        id: member.workload.id.to_string(),
        service: member.service.as_deref().map(str::to_owned),
        address: member.address.as_ref().map(SocketAddr::to_string),
        scheme: member.scheme.to_string(),
        weight: member.weight,
        backup: member.backup,
        max_conns: member.max_conns.map(NonZeroU32::get),
        run: run_text(run).to_owned(),
        health: health_text(health).to_owned(),
        ..counts(endpoint)
    }
}

/// An endpoint that the table still has and the plan no more.
fn leaving(endpoint: &Endpoint) -> view::Replica {
    let mut reason = "its container was removed".to_owned();
    if endpoint.vitals.in_flight() > 0 {
        reason.push_str("; it finishes what it has");
    }
    view::Replica {
        state: endpoint.vitals.state().as_str().to_owned(),
        reason,
        name: endpoint.name.to_string(),
        id: endpoint.id.workload.id.to_string(),
        service: endpoint.service.as_deref().map(str::to_owned),
        address: Some(endpoint.id.address.to_string()),
        scheme: endpoint.id.scheme.to_string(),
        weight: endpoint.weight,
        backup: endpoint.backup,
        max_conns: endpoint.max_conns.map(NonZeroU32::get),
        run: "removed".to_owned(),
        health: health_text(Health::None).to_owned(),
        ..counts(Some(endpoint))
    }
}

fn counts(endpoint: Option<&Endpoint>) -> view::Replica {
    endpoint.map_or_else(view::Replica::default, |it| view::Replica {
        in_flight: it.vitals.in_flight(),
        requests: it.tally.attempts(),
        failures: it.tally.failures(),
        ..view::Replica::default()
    })
}

/// Why an endpoint is in the state that it is in.
pub(super) fn endpoint_reason(planned: Option<&PoolPlan>, endpoint: &Endpoint) -> String {
    let members = planned.map(|it| it.members.as_slice()).unwrap_or_default();
    let id = &endpoint.id;
    let is_its = |it: &&Member| it.workload == id.workload && it.address == Some(id.address);
    match members.iter().find(is_its) {
        Some(member) => replica(member, Some(endpoint)).reason,
        None => leaving(endpoint).reason,
    }
}

fn reason(state: State, member: &Member, endpoint: Option<&Endpoint>, probe: Probe) -> String {
    let check = endpoint.filter(|it| it.check.is_some() || probe == Probe::Unfit);
    if let Some(reason) = check.and_then(|it| check_reason(state, &it.vitals)) {
        return reason + note(state, member);
    }
    match state {
        State::Starting => match (member.health, probe) {
            (Health::Starting, Probe::Passed) => {
                "it accepts connections; its HEALTHCHECK has not spoken yet".to_owned()
            }
            (Health::Starting, Probe::Untried | Probe::Failed | Probe::Unfit) => {
                "its HEALTHCHECK has not spoken yet".to_owned()
            }
            (Health::None | Health::Healthy | Health::Unhealthy, _) => {
                "it has not accepted a connection yet".to_owned()
            }
        },
        State::Ready => {
            let reason = match member.health {
                Health::Healthy => "its HEALTHCHECK says healthy",
                Health::None | Health::Starting | Health::Unhealthy => "it accepts connections",
            };
            reason.to_owned() + note(state, member)
        }
        State::Unhealthy => {
            "its HEALTHCHECK says unhealthy; it serves only when no other can".to_owned()
        }
        State::Suspect => {
            "a connection to it failed; it is checked again and serves only when no other can"
                .to_owned()
        }
        State::Ejected => {
            let trouble = endpoint.and_then(|it| it.vitals.ejected_for());
            let trouble = trouble.map_or("did not answer", Trouble::what);
            format!(
                "it failed too many requests, the last time it {trouble}; after its time-out one \
                 request at a time is tried"
            )
        }
        State::Paused => "it is paused".to_owned(),
        State::Draining => {
            let drained = member.drained && member.run == RunState::Running;
            let why = if drained { "drained by an operator" } else { "it has its stop signal" };
            match endpoint.map_or(0, |it| it.vitals.in_flight()) {
                0 => why.to_owned(),
                1 => format!("{why}; it finishes 1 request"),
                count => format!("{why}; it finishes {count} requests"),
            }
        }
        State::Gone => match member.run {
            RunState::Created => "it has not been started".to_owned(),
            RunState::Restarting => {
                "it ended and waits for its restart policy to start it again".to_owned()
            }
            RunState::Stopped => "it has stopped".to_owned(),
            RunState::Running | RunState::Paused | RunState::Stopping => {
                "it has ended or left the network".to_owned()
            }
        },
    }
}

/// What our own health check makes of it, where that decides.
fn check_reason(state: State, vitals: &Vitals) -> Option<String> {
    let fault = vitals.fault().map(|fault| format!("it {fault}"));
    Some(match (state, fault) {
        (State::Starting, None) => "its health check has not passed yet".to_owned(),
        (State::Starting, Some(fault)) => format!("its health check has not passed yet: {fault}"),
        (State::Ready, None) => "it passes its health check".to_owned(),
        (State::Ready, Some(fault)) => format!("it is ready; its last health check: {fault}"),
        (State::Unhealthy, Some(fault)) if vitals.probe() == Probe::Unfit => {
            format!("it fails its health check: {fault}; it serves only when no other can")
        }
        (
            State::Unhealthy
            | State::Suspect
            | State::Ejected
            | State::Paused
            | State::Draining
            | State::Gone,
            _,
        ) => return None,
    })
}

/// What keeps a ready replica from its share.
fn note(state: State, member: &Member) -> &'static str {
    match (state, member.weight, member.backup) {
        (State::Ready, 0, _) => "; with weight 0 it gets no requests",
        (State::Ready, _, true) => "; as a backup it serves when no other is ready",
        (_, _, _) => "",
    }
}

fn run_text(run: RunState) -> &'static str {
    match run {
        RunState::Created => "created",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::Stopping => "stopping",
        RunState::Restarting => "restarting",
        RunState::Stopped => "stopped",
    }
}

fn health_text(health: Health) -> &'static str {
    match health {
        Health::None => "none",
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

const UNREACHABLE: &str = "unreachable";

#[cfg(test)]
mod tests;
