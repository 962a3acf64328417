//! A container from its labels to its traffic: the first thing that is missing
//! is what keeps requests from it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::admin::explain::{Outcome, Unanswerable, step};
use crate::admin::view::explain::{Container, Containers, Step};
use crate::admin::{Edge, status};
use crate::control::Overview;
use crate::domain::labels::{LeftOut, schema};
use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::{Member, PoolPlan};
use crate::domain::pool::{Endpoint, EndpointId};
use crate::domain::problem::{Problem, Subject};
use crate::domain::routing::{Asked, Considered, Fate, Lead, PathMatch, RoutingTable};
use crate::domain::rule::Access;
use crate::domain::suggest::nearest;
use crate::domain::world::{
    BYSTANDERS_MAX, Bystander, NetworkMode, Observation, Place, RunState, SourceHealth, Vantage,
    Workload,
};

/// The containers that `name` names, from their labels to their traffic.
pub(super) fn explained(
    name: &str,
    overview: &Overview,
    table: &RoutingTable,
    edge: &Edge,
) -> Result<Containers, Unanswerable> {
    let name = name.trim().trim_start_matches('/');
    let all: Vec<_> = overview.world.values().flat_map(|seen| found(seen)).collect();
    let ways: [fn(&Found<'_>, &str) -> bool; 3] = [
        |it, name| it.name() == name,
        |it, name| it.is_of_service(name),
        |it, name| name.len() >= ID_LEN_MIN && it.id().starts_with(&name.to_ascii_lowercase()),
    ];
    let meant = ways
        .into_iter()
        .map(|is_meant| all.iter().filter(|it| is_meant(it, name)).collect::<Vec<_>>());
    let Some(meant) = meant.into_iter().find(|meant| !meant.is_empty()) else {
        return Err(unknown(name, &all, overview));
    };
    let view = View { overview, table, edge };
    Ok(Containers {
        containers: meant.iter().take(SHOWN_MAX).map(|it| view.container(it)).collect(),
        left_out: meant.len().saturating_sub(SHOWN_MAX),
    })
}

/// A container or written server as its source saw it.
enum Found<'a> {
    Ours(&'a Workload, &'a Observation),
    Bystander(&'a Bystander),
}

fn found(seen: &Observation) -> impl Iterator<Item = Found<'_>> {
    let ours = seen.workloads.iter().map(move |it| Found::Ours(it, seen));
    ours.chain(seen.bystanders.iter().map(Found::Bystander))
}

impl Found<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Ours(it, _) => &it.name,
            Self::Bystander(it) => &it.name,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Ours(it, _) => &it.id.id,
            Self::Bystander(it) => &it.id,
        }
    }

    /// `service` or `project/service`.
    fn is_of_service(&self, name: &str) -> bool {
        let (project, service) = match self {
            Self::Ours(it, _) => (&it.project, &it.service),
            Self::Bystander(it) => (&it.project, &it.service),
        };
        let Some(service) = service.as_deref() else { return false };
        let full = project.as_deref().map(|project| format!("{project}/{service}"));
        service == name || full.as_deref() == Some(name)
    }
}

fn unknown(name: &str, all: &[Found<'_>], overview: &Overview) -> Unanswerable {
    let away = overview.sources.iter().find_map(|source| match &source.health {
        Some(SourceHealth::Away { message, .. }) => Some((source.name.as_str(), message)),
        Some(SourceHealth::Connected { .. }) | None => None,
    });
    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
    let services = all.iter().filter_map(|it| match it {
        Found::Ours(it, _) => it.service.as_deref(),
        Found::Bystander(it) => it.service.as_deref(),
    });
    let near = nearest(&shown, all.iter().map(Found::name).chain(services));
    let bystanders = all.iter().filter(|it| matches!(it, Found::Bystander(_))).count();
    let hint = match (near, away) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some((source, message))) => format!("source `{source}` is away: {message}"),
        (None, None) if all.is_empty() => "no container has been seen at all".to_owned(),
        (None, None) if bystanders >= BYSTANDERS_MAX => format!(
            "more than {BYSTANDERS_MAX} containers have no label of ours, and not all are kept: \
             `docker ps -a` knows it"
        ),
        (None, None) => {
            "`docker ps -a` lists what there is on the engine that is watched".to_owned()
        }
    };
    Unanswerable { message: format!("no container or service is called `{shown}`"), hint }
}

/// What the answers are made from.
struct View<'a> {
    overview: &'a Overview,
    table: &'a RoutingTable,
    edge: &'a Edge,
}

impl View<'_> {
    fn container(&self, found: &Found<'_>) -> Container {
        let (name, id) = (found.name().to_owned(), found.id().to_owned());
        let (image, steps) = match found {
            Found::Ours(workload, seen) => (None, self.ours(workload, seen)),
            Found::Bystander(it) => (Some(it.image.to_string()), self.bystander(it)),
        };
        let obstacle = steps.iter().find(|it| it.outcome == STOPPED);
        let (served, verdict, hint) = match obstacle {
            Some(it) => (false, format!("it gets no requests: {}", it.message), it.hint.clone()),
            None => (true, "it gets requests".to_owned(), String::new()),
        };
        Container { name, id, image, served, verdict, hint, steps }
    }

    fn bystander(&self, it: &Bystander) -> Vec<Step> {
        vec![self.labels_missing(), running(it.run, None, &it.name)]
    }

    fn labels_missing(&self) -> Step {
        let prefix = &self.edge.label_prefix;
        step(
            Outcome::Stopped,
            "labels",
            format!("it has no label that begins with `{prefix}.`"),
            format!(
                "add the label `{prefix}.pool=NAME` to its service and create it anew; labels of a \
                 container cannot be changed"
            ),
        )
    }

    fn ours(&self, workload: &Workload, seen: &Observation) -> Vec<Step> {
        let mut steps = Vec::new();
        let left_out = self.overview.plan.left_out.get(&workload.id.id);
        steps.extend(self.labels(workload, left_out));
        if matches!(workload.place, Place::Container { .. }) {
            steps.push(running(workload.run, workload.exit_code, &workload.name));
        }
        if left_out.is_some() {
            return told_once(steps);
        }
        let mut memberships = Vec::new();
        for (name, pool) in &self.overview.plan.pools {
            for member in pool.members.iter().filter(|it| it.workload == workload.id) {
                memberships.push(self.member(workload, seen, name, pool, member));
            }
        }
        if memberships.is_empty() {
            let message = "it was seen a moment ago, and is not planned yet";
            steps.push(step(Outcome::Stopped, "pool", message, "ask again"));
        }
        // One pool that leads to it is enough.
        let is_open = |it: &Vec<Step>| it.iter().all(|it| it.outcome != STOPPED);
        if memberships.iter().any(is_open) {
            memberships.iter_mut().flatten().for_each(excuse);
        }
        steps.extend(memberships.into_iter().flatten());
        told_once(steps)
    }

    fn labels(&self, workload: &Workload, left_out: Option<&LeftOut>) -> Vec<Step> {
        let prefix = &*self.edge.label_prefix;
        let is_own = |key: &str| {
            let head = key.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
            head && key.get(prefix.len()..).is_some_and(|rest| rest.starts_with('.'))
        };
        let own = workload.labels.iter().filter(|(key, _)| is_own(key));
        let own: Vec<_> =
            own.map(|(key, value)| format!("`{key}={}`", shown(key, prefix, value))).collect();
        let problems = self.problems(&workload.name);
        let mut steps = Vec::new();
        steps.push(match left_out {
            Some(LeftOut::Unlabelled) => self.labels_missing(),
            Some(LeftOut::Constraint(label, value)) => step(
                Outcome::Stopped,
                "constraint",
                format!(
                    "it lacks the label `{label}={value}`, which this balancer's `constraint` wants"
                ),
                format!("add the label `{label}={value}`, or change the setting `constraint`"),
            ),
            Some(LeftOut::Disabled) => step(
                Outcome::Stopped,
                "labels",
                format!("its label `{prefix}.enable` says no"),
                format!("remove the label `{prefix}.enable`, or set it to `true`"),
            ),
            Some(LeftOut::OneOff) => step(
                Outcome::Stopped,
                "labels",
                "it was made by `docker-compose run`, and is no replica of its service",
                format!("add the label `{prefix}.oneoff=true` if it shall be one"),
            ),
            Some(LeftOut::NoPool) => {
                // What is wrong with its labels is usually why.
                let hint = problems.first().map_or_else(
                    || format!("add the label `{prefix}.pool=NAME`"),
                    |problem| problem.hint.clone(),
                );
                let message = match problems.first() {
                    Some(problem) => format!("no label puts it into a pool: {}", problem.message),
                    None => "no label puts it into a pool".to_owned(),
                };
                step(Outcome::Stopped, "labels", message, hint)
            }
            None => step(Outcome::Passed, "labels", own.join(", "), ""),
        });
        if left_out.is_some() && !own.is_empty() {
            steps.push(step(Outcome::Noted, "labels", format!("it has {}", own.join(", ")), ""));
        }
        for problem in problems {
            let what = problem.key.as_deref().unwrap_or("problem");
            steps.push(step(Outcome::Noted, what, &problem.message, &problem.hint));
        }
        steps
    }

    fn problems(&self, name: &str) -> Vec<&Problem> {
        let all = self.overview.problems.iter();
        all.filter(|it| matches!(&it.subject, Subject::Container(it) if **it == *name)).collect()
    }

    /// What keeps it from its part of one pool.
    fn member(
        &self,
        workload: &Workload,
        seen: &Observation,
        name: &PoolName,
        pool: &PoolPlan,
        member: &Member,
    ) -> Vec<Step> {
        let mut steps = vec![self.pool(name, pool)];
        steps.extend(self.address(workload, seen, member));
        let live = self.table.pool(name);
        let endpoint = member.address.and_then(|address| {
            let (workload, scheme) = (member.workload.clone(), member.scheme);
            let id = EndpointId { workload, address, scheme };
            live?.endpoints.iter().find(|it| it.id == id)
        });
        if let Some(endpoint) = endpoint {
            let others = live.is_some_and(|pool| pool.is_ready());
            steps.push(readiness(pool, endpoint, others));
            steps.push(weight(self.edge, endpoint, pool));
        }
        steps.extend(self.routes(name, pool));
        if let Some(endpoint) = endpoint {
            let Endpoint { tally, vitals, .. } = endpoint;
            let (sent, failed, open) = (tally.attempts(), tally.failures(), vitals.in_flight());
            let message = format!("requests so far: {sent} ({failed} failed), in flight: {open}");
            steps.push(step(Outcome::Noted, "traffic", message, ""));
        }
        steps
    }

    fn pool(&self, name: &PoolName, pool: &PoolPlan) -> Step {
        let rule = pool.access.rule();
        match pool.access {
            Access::Open(_) => {
                step(Outcome::Passed, "pool", format!("it is in pool `{name}`, for {rule}"), "")
            }
            Access::Closed(_) => step(
                Outcome::Stopped,
                "pool",
                format!("a guard of pool `{name}` cannot be read, so that all get 503"),
                "mend the label that `evenkeel status` names",
            ),
        }
    }

    fn address(&self, workload: &Workload, seen: &Observation, member: &Member) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Place::Container { mode: NetworkMode::Own, networks, .. } = &workload.place {
            let theirs = networks.iter().map(|it| &*it.name).collect::<Vec<_>>();
            let own = match &seen.vantage {
                Vantage::Container { networks, host_network: false, .. } => {
                    networks.iter().map(|it| &*it.name).collect()
                }
                Vantage::Container { .. } | Vantage::Host => Vec::new(),
            };
            let message = match own.is_empty() {
                true => {
                    format!("it is on {}; the balancer reaches all from the host", list(&theirs))
                }
                false => format!("it is on {}, the balancer on {}", list(&theirs), list(&own)),
            };
            steps.push(step(Outcome::Noted, "network", message, ""));
        }
        match member.address {
            Some(address) => {
                let message =
                    format!("{} {address}{}", member.scheme, self.origin(workload, address.port()));
                steps.push(step(Outcome::Passed, "address", message, ""));
            }
            None if workload.run.is_alive() => {
                // Who has no address has a problem that says why, of itself rather
                // than of one of its labels where there are several.
                let problems = self.problems(&workload.name);
                let why = problems.iter().find(|it| it.key.is_none()).or(problems.first());
                let (message, hint) = why.map_or_else(
                    || ("it has no address that we can reach".to_owned(), String::new()),
                    |it| (it.message.clone(), it.hint.clone()),
                );
                steps.push(step(Outcome::Stopped, "address", message, hint));
            }
            None => {}
        }
        steps
    }

    /// Where its port comes from.
    fn origin(&self, workload: &Workload, port: u16) -> String {
        let ending = |key: &str| key.to_ascii_lowercase().ends_with(".port");
        let text = port.to_string();
        let labelled = workload.labels.iter().find(|(key, value)| ending(key) && **value == text);
        match (&workload.place, labelled) {
            (Place::Fixed(_), _) => ", as it is written".to_owned(),
            (Place::Container { .. }, Some((key, _))) => format!(", the port by the label `{key}`"),
            (Place::Container { exposed, .. }, None) => match exposed.as_deref() {
                Some([_]) => ", the only port that it exposes".to_owned(),
                Some(_) | None => ", the usual one of the ports that it exposes".to_owned(),
            },
        }
    }

    /// Whether requests for its pool's hosts and paths get there.
    fn routes(&self, name: &PoolName, pool: &PoolPlan) -> Vec<Step> {
        let rule = pool.access.rule();
        let any = Arc::from("/");
        let hosts: Vec<_> = match rule.hosts.as_slice() {
            [] => vec!["any.host.example".to_owned()],
            hosts => hosts.iter().take(SAMPLES_MAX).map(sample).collect(),
        };
        let paths: Vec<&Arc<str>> =
            rule.exact.iter().chain(&rule.prefixes).take(SAMPLES_MAX).collect();
        let paths = if paths.is_empty() { vec![&any] } else { paths };
        let mut steps = Vec::new();
        for host in &hosts {
            for path in &paths {
                let asked = Asked::get(host, path, CLIENT);
                let ways = self.table.ways(&asked);
                let own = ways.iter().find(|it| {
                    it.pool.name == *name && matches!(it.fate, Fate::Taken | Fate::Behind(_))
                });
                let taken = ways.iter().find(|it| it.fate == Fate::Taken);
                let url =
                    if rule.hosts.is_empty() { path.to_string() } else { format!("{host}{path}") };
                steps.extend(match (own, own.map(|it| it.fate), taken) {
                    (_, Some(Fate::Taken), _) => Some(step(
                        Outcome::Passed,
                        "route",
                        format!("`{url}` leads to its pool"),
                        "",
                    )),
                    (Some(own), Some(Fate::Behind(lead)), Some(taken)) => Some(step(
                        if takes_all(taken, own) { Outcome::Stopped } else { Outcome::Noted },
                        "route",
                        format!(
                            "`{url}` goes to pool `{}`, whose rule {}",
                            taken.pool.name,
                            comes_first(lead)
                        ),
                        format!(
                            "give one of them another host or path, or the larger `{}.priority`",
                            self.edge.label_prefix
                        ),
                    )),
                    // It asks for more than a host and a path.
                    (_, _, _) => None,
                });
            }
        }
        if steps.is_empty() {
            let message = format!("requests reach it for {rule}");
            steps.push(step(Outcome::Noted, "route", message, "`evenkeel explain URL` tries one"));
        }
        // One way that is open is enough, and one that was not tried may be.
        let is_cut =
            rule.hosts.len() > SAMPLES_MAX || rule.exact.len() + rule.prefixes.len() > SAMPLES_MAX;
        if is_cut || steps.iter().any(|it| it.outcome == PASSED) {
            steps.iter_mut().for_each(excuse);
        }
        steps
    }
}

/// An obstacle that there is a way around.
fn excuse(step: &mut Step) {
    if step.outcome == STOPPED {
        NOTED.clone_into(&mut step.outcome);
    }
}

/// Leaves out the problems that an obstacle repeats.
fn told_once(mut steps: Vec<Step>) -> Vec<Step> {
    let obstacles = steps.iter().filter(|it| it.outcome == STOPPED);
    let obstacles: Vec<_> = obstacles.map(|it| it.message.clone()).collect();
    let is_told = |it: &Step| obstacles.iter().any(|told| told.ends_with(&it.message));
    steps.retain(|it| it.outcome != NOTED || !is_told(it));
    steps
}

/// Whether nothing is left to `own` of the requests that it would take, of which
/// the route takes one.
fn takes_all(route: &Considered<'_>, own: &Considered<'_>) -> bool {
    let is_exact = |way: &Considered<'_>| matches!(way.path, PathMatch::Exact(_));
    (is_exact(own) || !is_exact(route))
        && (route.conditions.is_none() || route.conditions == own.conditions)
}

fn comes_first(lead: Lead) -> &'static str {
    match lead {
        Lead::Host => "names the host more closely",
        Lead::Priority => "has a higher priority",
        Lead::Path => "has a longer path, or an exact one",
        Lead::Conditions => "has narrower conditions",
        Lead::Readable => "can be read whole",
        Lead::Ready => "is the same, and has a replica that is ready",
        Lead::Earlier => "is as narrow, and was there first",
    }
}

fn running(run: RunState, exit_code: Option<i32>, name: &str) -> Step {
    let with = exit_code.map(|code| format!(" with code {code}")).unwrap_or_default();
    let stopped =
        |message: String, hint: String| step(Outcome::Stopped, "container", message, hint);
    match run {
        RunState::Running => step(Outcome::Passed, "container", "it runs", ""),
        RunState::Created => {
            stopped("it has not been started".to_owned(), format!("run `docker start {name}`"))
        }
        RunState::Paused => {
            stopped("it is paused".to_owned(), format!("run `docker unpause {name}`"))
        }
        RunState::Stopping => stopped("it has its stop signal".to_owned(), String::new()),
        RunState::Restarting => stopped(
            format!("it ended{with} and waits for its restart policy"),
            format!("see `docker logs {name}`"),
        ),
        RunState::Stopped => stopped(
            format!("it has ended{with}"),
            format!("see `docker logs {name}`, and run `docker start {name}`"),
        ),
    }
}

/// Who is not ready may serve where no other is.
fn readiness(pool: &PoolPlan, endpoint: &Endpoint, others_are: bool) -> Step {
    let state = endpoint.vitals.state();
    let message = format!("{}: {}", state.as_str(), status::endpoint_reason(Some(pool), endpoint));
    let outcome = match state.serves() {
        true => Outcome::Passed,
        false if state.serves_at_last() && !others_are => Outcome::Noted,
        false => Outcome::Stopped,
    };
    step(outcome, "readiness", message, "")
}

fn weight(edge: &Edge, endpoint: &Endpoint, pool: &PoolPlan) -> Step {
    let prefix = &edge.label_prefix;
    let others = pool.members.iter().any(|it| !it.backup && it.name != endpoint.name);
    match (endpoint.weight, endpoint.backup) {
        (0, _) => step(
            Outcome::Stopped,
            "weight",
            "with weight 0 only a name or a cookie leads to it",
            format!("give it a larger `{prefix}.weight`"),
        ),
        (weight, true) if others => step(
            Outcome::Noted,
            "weight",
            format!("weight {weight}; as a backup it serves while no other is ready"),
            "",
        ),
        (weight, _) => step(Outcome::Passed, "weight", format!("weight {weight}"), ""),
    }
}

/// A host that the pattern takes.
fn sample(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Wildcard(suffix) => format!("any.{suffix}"),
    }
}

/// What it may repeat of a label's value: nothing that may be a secret, as those of
/// headers are, nor of a label that is not known, which may be one misspelt.
fn shown<'a>(key: &str, prefix: &str, value: &'a str) -> &'a str {
    let plain = key.get(prefix.len()..).and_then(|rest| rest.strip_prefix('.'));
    let of_group = plain.and_then(|it| it.split_once('.')).map(|(_, rest)| rest);
    let mut known = [plain, of_group].into_iter().flatten().filter_map(schema::find);
    match known.next() {
        Some((label, _)) if !SECRETIVE.contains(&label.head()) => value,
        Some(_) | None => "…",
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "no network".to_owned();
    }
    let shown = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`"));
    shown.collect::<Vec<_>>().join(", ")
}

/// Where labels begin that may hold a secret.
const SECRETIVE: [&str; 4] = ["auth", "header", "headers", "query"];

/// As steps spell it.
const PASSED: &str = "passed";
const STOPPED: &str = "stopped";
const NOTED: &str = "noted";

/// Who asks for the samples.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// As many digits of an id as are enough to mean it.
const ID_LEN_MIN: usize = 4;

/// Containers that one name names, and networks of one container.
const SHOWN_MAX: usize = 20;

/// Hosts, and paths, of a rule that are tried.
const SAMPLES_MAX: usize = 4;

/// In characters.
const NAME_SHOWN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for (key, value, told) in [
            ("lb.pool", "api", "api"),
            ("lb.admin.host", "a.example", "a.example"),
            ("LB.Max-Fails", "3", "3"),
            ("lb.auth.basic", "user:$2y$", "…"),
            ("lb.admin.auth.basic", "user:$2y$", "…"),
            ("lb.headers.request.Authorization", "Bearer secret", "…"),
            ("lb.header.X-Key", "secret", "…"),
            ("lb.admin.query.token", "secret", "…"),
            ("lb.basic_auth", "user:$2y$", "…"),
        ] {
            assert_eq!(shown(key, "lb", value), told, "{key}");
        }
    }
}
