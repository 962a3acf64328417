//! The compose files of one project, judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::app;
use crate::cli::check::balancer::Balancer;
use crate::cli::check::compose::{self, Project, Service, Told};
use crate::cli::check::judge::{Kind, judge};
use crate::cli::check::{Label, Subject, networks, ports, world};
use crate::cli::finding::{Finding, Severity};
use crate::config::Key;
use crate::domain::labels::{self, LabelSettings};

/// Judges the services as the balancers among them would see them; if there is
/// none, as one with the settings `labels` would.
pub(super) fn check(
    files: &[PathBuf],
    flags: &[(Key, String)],
    labels: &LabelSettings,
    env: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let project = compose::load(files, env);
    let mut findings = project.findings();
    let balancers = Balancer::all(&project);
    let mut told = networks::unknown(&project);
    let mut eyes = Vec::new();
    let mut looks = balancers.is_empty();
    for &balancer in &balancers {
        let (reading, mistakes) = balancer.settings(flags);
        findings.extend(mistakes);
        told.extend(ports::taken(&project, balancer, &reading.config.labels));
        let is_blind = !balancer.sees_docker(&reading);
        looks |= reading.config.docker.is_some();
        let prefix = &reading.config.labels.prefix;
        if is_blind && project.services.values().any(|it| is_labelled(it, prefix)) {
            told.push(blind(balancer.service));
        }
        eyes.push((Some(balancer), reading.config.labels));
    }
    if balancers.is_empty() {
        eyes.push((None, labels.clone()));
    }
    let own_files = flags.iter().any(|(key, _)| *key == Key::LabelFiles);
    for (balancer, settings) in &eyes {
        let subjects = subjects(&project, settings);
        for services in sets(&project) {
            let seen = world::seen(&project, &services, balancer.map(|it| it.service));
            let with_files = |settings: &LabelSettings, wanted: &BTreeSet<_>| match balancer {
                Some(balancer) if !own_files => balancer.with_files(settings, wanted),
                Some(_) | None => app::with_files(settings, wanted),
            };
            findings.extend(judge(Kind::Service, &subjects, seen, settings, &with_files));
        }
        for service in project.services.values() {
            told.extend(swarm(service, settings));
            let workload = world::workload(&project, service, 0);
            let memberships = labels::read(&workload, settings).memberships;
            if memberships.is_empty() {
                continue;
            }
            told.extend(ports::unsure(service, &memberships));
            told.extend(ports::unscalable(service));
            told.extend(networks::unreached(&project, service, &memberships, &balancers));
        }
    }
    findings.extend(told.iter().map(|told| project.finding(told)));
    let prefixes: BTreeSet<&str> = eyes.iter().map(|(_, settings)| &*settings.prefix).collect();
    let labelled = |service: &Service| prefixes.iter().any(|prefix| is_labelled(service, prefix));
    if looks && findings.is_empty() && !project.services.values().any(labelled) {
        findings
            .extend(prefixes.first().map(|prefix| project.finding(&unlabelled(&project, prefix))));
    }
    findings.sort();
    findings.dedup();
    findings
}

/// The files that compose takes when it is told of none.
pub(super) fn usual_files(folder: &Path) -> Vec<PathBuf> {
    let file = |stem: &str, ending: &str| Some(folder.join(format!("{stem}{ending}")));
    let first = |stem: &str, between: &str| {
        let endings = ["yaml", "yml"].iter();
        let named = endings.map(|ending| file(stem, &format!("{between}.{ending}")));
        named.flatten().find(|path| path.is_file())
    };
    for stem in ["compose", "docker-compose"] {
        if let Some(found) = first(stem, "") {
            return [found].into_iter().chain(first(stem, ".override")).collect();
        }
    }
    Vec::new()
}

/// The services that run together: those without a profile, alone and with those
/// of each profile.
fn sets(project: &Project) -> Vec<Vec<&Service>> {
    let services = || project.services.values();
    let profiles: BTreeSet<&str> =
        services().flat_map(|service| &service.profiles).map(String::as_str).collect();
    let with = |profile: Option<&str>| {
        let runs = |service: &&Service| {
            service.profiles.is_empty() || service.profiles.iter().any(|it| profile == Some(it))
        };
        services().filter(runs).collect()
    };
    let each = profiles.iter().take(PROFILES_MAX).map(|profile| Some(*profile));
    [None].into_iter().chain(each).map(with).collect()
}

fn subjects(project: &Project, settings: &LabelSettings) -> Vec<Subject> {
    let subject = |service: &Service| {
        let all = service.swarm_labels.iter().chain(&service.labels);
        let own = all.filter(|(key, _)| is_own(key, &settings.prefix));
        let label = |text: &compose::Text| Label {
            text: text.text.clone(),
            is_open: text.is_open,
            place: project.place(text.at),
        };
        Subject {
            name: service.name.as_str().into(),
            place: project.place(service.at),
            labels: own.map(|(key, text)| (key.clone(), label(text))).collect(),
        }
    };
    project.services.values().map(subject).collect()
}

fn is_own(key: &str, prefix: &str) -> bool {
    let (head, rest) = key.split_at_checked(prefix.len()).unwrap_or((key, ""));
    rest.starts_with('.') && head.eq_ignore_ascii_case(prefix)
}

fn is_labelled(service: &Service, prefix: &str) -> bool {
    service.all_labels().keys().any(|key| is_own(key, prefix))
}

fn swarm(service: &Service, settings: &LabelSettings) -> Option<Told> {
    let own = service.swarm_labels.iter().filter(|(key, _)| is_own(key, &settings.prefix));
    let at = own.map(|(_, text)| text.at).min()?;
    let message = format!(
        "service `{}`: labels under `deploy` are given to the Swarm service, not to its containers",
        service.name
    );
    let hint = "write them under `labels`".to_owned();
    Some(Told { at, severity: Severity::Warning, message, hint })
}

fn blind(balancer: &Service) -> Told {
    Told {
        at: balancer.at,
        severity: Severity::Warning,
        message: format!(
            "service `{}`: it is the balancer, but sees no socket of Docker, and so no labels",
            balancer.name
        ),
        hint: "add `/var/run/docker.sock:/var/run/docker.sock:ro` to its `volumes`".to_owned(),
    }
}

fn unlabelled(project: &Project, prefix: &str) -> Told {
    Told {
        at: project.beginning(),
        severity: Severity::Warning,
        message: format!("no service has a label that begins with `{prefix}.`"),
        hint: format!("add `{prefix}.pool=NAME` to the labels of a service"),
    }
}

/// Each is planned for itself.
const PROFILES_MAX: usize = 16;
