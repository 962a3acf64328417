//! Ports that cannot be what they say, and services that cannot be scaled for a
//! port or a name.

use crate::cli::check::balancer::Balancer;
use crate::cli::check::compose::{Port, Project, Service, Told};
use crate::cli::check::world;
use crate::cli::finding::Severity;
use crate::domain::labels::{LabelSettings, Membership, value};

/// Ports of which the file alone does not say that they are right: another than
/// those of which it knows, and none where it knows several.
pub(super) fn unsure(service: &Service, memberships: &[Membership]) -> Vec<Told> {
    let Some(exposed) = world::exposed(service) else {
        return Vec::new();
    };
    let shown: Vec<_> = exposed.iter().take(SHOWN_MAX).map(u16::to_string).collect();
    let more = if exposed.len() > SHOWN_MAX { ", …" } else { "" };
    let shown = shown.join(", ");
    let told = memberships.iter().filter_map(|membership| {
        let Some(port) = membership.port else {
            let is_sure = value::usual_port(&exposed).is_some();
            return (!is_sure).then(|| Told {
                at: service.at,
                severity: Severity::Warning,
                message: format!(
                    "service `{}`: it exposes several ports: {shown}{more}",
                    service.name
                ),
                hint: format!("add the label `{}.port` with one of them", membership.stem),
            });
        };
        if exposed.contains(&port) {
            return None;
        }
        let label = format!("{}.port", membership.stem);
        let (_, text) = service.labels.iter().find(|(key, _)| key.eq_ignore_ascii_case(&label))?;
        Some(Told {
            at: text.at,
            severity: Severity::Warning,
            message: format!(
                "service `{}`: label `{label}` is `{port}`, while `expose` and `ports` say \
                 {shown}{more}",
                service.name
            ),
            hint: format!(
                "see which port it listens on: that its image exposes {port} cannot be seen here"
            ),
        })
    });
    told.collect()
}

/// Ports of the host that the balancer needs for itself.
pub(super) fn taken(
    project: &Project,
    balancer: Balancer<'_>,
    settings: &LabelSettings,
) -> Vec<Told> {
    let own = balancer.service;
    let on_host = own.network_mode.as_ref().is_some_and(|mode| mode.text == "host");
    let listeners = settings.listeners.iter().filter(|_| on_host);
    let listeners = listeners.map(|address| Port {
        at: own.at,
        ip: address.ip().to_string(),
        published: Some(address.port()..=address.port()),
        target: None,
        is_tcp: true,
    });
    let ours: Vec<Port> = own.ports.iter().cloned().chain(listeners).collect();
    let others = project.services.values().filter(|service| service.name != own.name);
    let told = others.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    let told = told.filter_map(|(service, port)| {
        let meeting = ours.iter().find_map(|own| own.meets(port))?;
        Some(Told {
            at: port.at,
            severity: Severity::Error,
            message: format!(
                "service `{}`: it publishes port {meeting} of the host, which is that of the \
                 balancer `{}`",
                service.name, own.name
            ),
            hint: "leave its `ports` out, since it is reached through the balancer, or publish \
                   another port"
                .to_owned(),
        })
    });
    told.collect()
}

/// What keeps a service from the number of containers that it asks for.
pub(super) fn unscalable(service: &Service) -> Vec<Told> {
    let count = service.replicas.as_ref().and_then(|it| it.text.parse::<u32>().ok());
    let Some(count) = count.filter(|count| *count > 1) else {
        return Vec::new();
    };
    let tell = |at, what: String, hint: &str| Told {
        at,
        severity: Severity::Error,
        message: format!(
            "service `{}`: it cannot have {count} containers, since {what}",
            service.name
        ),
        hint: hint.to_owned(),
    };
    let name = service.container_name.as_ref().map(|name| {
        let what = format!("`container_name` gives each the name `{}`", name.text);
        tell(name.at, what, "leave `container_name` out")
    });
    let ports = service.ports.iter().filter_map(|port| {
        let published = port.published.as_ref()?;
        let target = port.target.as_ref()?;
        // Of several published ports each container takes the next free one.
        let (given, wanted) = (published.len(), target.len());
        let is_short = given == wanted && wanted > 1 || given < usize::try_from(count).ok()?;
        let what = format!("each would publish port {} of the host", published.start());
        let hint = "leave its `ports` out, since it is reached through the balancer";
        is_short.then(|| tell(port.at, what, hint))
    });
    name.into_iter().chain(ports).collect()
}

/// Ports that a message names.
const SHOWN_MAX: usize = 8;
