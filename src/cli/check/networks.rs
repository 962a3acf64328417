//! Networks that are not there, and services that the balancer cannot reach.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cli::check::balancer::Balancer;
use crate::cli::check::compose::{Project, Service, Told};
use crate::cli::check::world;
use crate::cli::finding::Severity;
use crate::domain::labels::Membership;
use crate::domain::suggest;

/// Names of networks and services that the files do not define.
pub(super) fn unknown(project: &Project) -> Vec<Told> {
    let mut told = Vec::new();
    for service in project.services.values() {
        for (name, &at) in service.networks.iter().flatten() {
            if is_known(project, name) || name.contains('$') {
                continue;
            }
            let known = project.networks.keys().map(String::as_str);
            let hint = match suggest::nearest(name, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("define `{name}` under the `networks` of the file"),
            };
            let message = format!(
                "service `{}`: it is put on network `{name}`, which the file does not define",
                service.name
            );
            told.push(Told { at, severity: Severity::Error, message, hint });
        }
        let mode = service.network_mode.as_ref().filter(|mode| !mode.is_open);
        let Some(mode) = mode else { continue };
        let other = mode.text.strip_prefix("service:");
        if let Some(other) = other.filter(|name| !project.services.contains_key(*name)) {
            let message = format!(
                "service `{}`: `network_mode` is `{}`, but there is no service `{other}`",
                service.name, mode.text
            );
            let hint = "name a service of the file".to_owned();
            told.push(Told { at: mode.at, severity: Severity::Error, message, hint });
        }
    }
    told
}

/// What keeps each of these balancers from a service that joins pools.
pub(super) fn unreached(
    project: &Project,
    service: &Service,
    memberships: &[Membership],
    balancers: &[Balancer<'_>],
) -> Option<Told> {
    let own = on(project, service)?;
    // None of a balancer that is not on networks alone, but where they all are.
    let theirs: Option<Vec<_>> = balancers.iter().map(|it| on(project, it.service)).collect();
    let theirs = theirs.filter(|theirs| !theirs.is_empty())?;
    let names = balancers.iter().map(|it| format!("`{}`", it.service.name));
    let us = names.collect::<Vec<_>>().join(" or ");
    let shared = |network: &str| theirs.iter().any(|theirs| theirs.contains(network));
    let severity = Severity::Error;
    if !own.iter().any(|network| shared(network)) {
        let theirs: BTreeSet<&str> = theirs.iter().flatten().copied().collect();
        let message = format!(
            "service `{}`: it shares no network with the balancer {us}; it is on {}, the balancer \
             on {}",
            service.name,
            listed(&own),
            listed(&theirs)
        );
        let hint = "put both on one network, by `networks` of either service".to_owned();
        return Some(Told { at: service.at, severity, message, hint });
    }
    memberships.iter().find_map(|membership| {
        let wanted: &Arc<str> = membership.network.as_ref()?;
        let known = own.contains(&**wanted);
        if !known || shared(wanted) {
            return None;
        }
        let label = format!("{}.network", membership.stem);
        let written = service.labels.iter().find(|(key, _)| key.eq_ignore_ascii_case(&label));
        let message = format!(
            "service `{}`: label `{label}` is `{wanted}`, where the balancer {us} is not",
            service.name
        );
        let both = own.iter().filter(|network| shared(network)).copied().collect();
        let hint = format!(
            "put the balancer on `{wanted}` too, or name a network that both are on: {}",
            listed(&both)
        );
        let at = written.map_or(service.at, |(_, text)| text.at);
        Some(Told { at, severity, message, hint })
    })
}

/// Every project has a default network.
fn is_known(project: &Project, name: &str) -> bool {
    name == "default" || project.networks.contains_key(name)
}

/// The networks of a service; none if it is not by them that it is reached, or
/// that it reaches others, and while one of them is not known.
fn on<'a>(project: &'a Project, service: &'a Service) -> Option<BTreeSet<&'a str>> {
    let holder = project.holder(service);
    let mode = holder.network_mode.as_ref();
    let by_name = mode.is_none_or(|mode| mode.text == "bridge");
    let mut named = holder.networks.iter().flatten().map(|(name, _)| name);
    let all_known = named.all(|name| is_known(project, name));
    (by_name && all_known).then(|| world::networks(project, holder).collect())
}

fn listed(names: &BTreeSet<&str>) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN_MAX { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Networks that a message names.
const SHOWN_MAX: usize = 4;
