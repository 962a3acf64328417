//! A pool, made of what its containers ask for.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::labels::Membership;
use crate::domain::lifecycle::HealthCheck;
use crate::domain::middleware::Middleware;
use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::{Member, Memory, PoolPlan};
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::{Access, Rule};
use crate::domain::world::{RunState, Workload};

/// A workload that joins a pool.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) workload: &'a Workload,
    pub(super) membership: Membership,
    pub(super) member: Member,
}

/// Merges the candidates of one pool. The newest that has been ready decides,
/// so that a broken newcomer changes nothing; if none has, the newest does.
pub(super) fn merge(
    name: &PoolName,
    mut candidates: Vec<Candidate<'_>>,
    memory: Memory<'_>,
    problems: &mut Vec<Problem>,
) -> Option<PoolPlan> {
    candidates.sort_by_cached_key(|it| it.age());
    let ranked = by_rank(&candidates, memory);
    let decides = ranked.first()?;
    let mut settings = decides.membership.settings.clone();
    let (access, kept) = access(name, &ranked, memory, problems);
    // What guards beside the rule is kept with it: a label that cannot be read
    // opens nothing.
    settings.middlewares = kept.unwrap_or(settings.middlewares);
    problems.extend(disagreement(name, decides, &ranked));
    settings.health = settings.health.map(|check| named(check, &access));
    let mut members = members(name, candidates, problems);
    for member in &mut members {
        member.check = member.check.take().map(|check| named(check, &access));
    }
    Some(PoolPlan { access, settings, members })
}

/// The check, asking for the first host name of the pool's rule unless it asks
/// for another.
fn named(check: Arc<HealthCheck>, access: &Access) -> Arc<HealthCheck> {
    let (Access::Open(rule) | Access::Closed(rule)) = access;
    let exact = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(host) => Some(host.to_string()),
        HostPattern::Wildcard(_) => None,
    };
    match rule.hosts.iter().find_map(exact).filter(|_| check.host.is_none()) {
        Some(host) => Arc::new(HealthCheck { host: Some(host.into()), ..(*check).clone() }),
        None => check,
    }
}

impl Candidate<'_> {
    fn rule(&self) -> &Rule {
        let (Access::Open(rule) | Access::Closed(rule)) = &self.membership.access;
        rule
    }

    /// Sorts the oldest first. Of one container the default group is the newest.
    fn age(&self) -> impl Ord + use<> {
        let Workload { created, id, name, .. } = self.workload;
        let stem = &self.membership.stem;
        (*created, id.clone(), Arc::clone(name), Reverse((stem.len(), stem.clone())))
    }
}

/// Who decides first, from candidates that are sorted by age.
fn by_rank<'c, 'a>(candidates: &'c [Candidate<'a>], memory: Memory<'_>) -> Vec<&'c Candidate<'a>> {
    let been_ready = |it: &&Candidate<'_>| memory.been_ready.contains(&it.workload.id.id);
    let (mut proven, untried): (Vec<_>, Vec<_>) = candidates.iter().rev().partition(been_ready);
    proven.extend(untried);
    proven
}

/// The rule as one unit: the first that can be used, else the last good one,
/// else the door stays shut. With one that is not of who decides come the
/// middlewares that it was good with.
fn access(
    name: &PoolName,
    ranked: &[&Candidate<'_>],
    memory: Memory<'_>,
    problems: &mut Vec<Problem>,
) -> (Access, Option<Arc<[Middleware]>>) {
    let Some(decides) = ranked.first() else {
        return (Access::Closed(Rule::default()), None);
    };
    // A container that joins twice has one rule, shut if any part of it is:
    // else its second group would open what its first one closes.
    let closed = ranked.iter().filter(|it| matches!(it.membership.access, Access::Closed(_)));
    let shut: BTreeSet<_> = closed.map(|it| &it.workload.id).collect();
    let good = ranked.iter().find(|it| !shut.contains(&it.workload.id));
    if let Some(good) = good.filter(|good| good.workload.id == decides.workload.id) {
        return (Access::Open(good.rule().clone()), None);
    }

    let broken = &decides.workload.name;
    let mut tell = |message: String| {
        let hint = format!("mend the labels of container `{broken}`");
        problems.push(Problem::new(Subject::Pool(name.to_string().into()), message, hint));
    };
    if let Some(good) = good {
        let other = &good.workload.name;
        tell(format!("it keeps the rule of `{other}`, since that of `{broken}` cannot be used"));
        let kept = Arc::clone(&good.membership.settings.middlewares);
        return (Access::Open(good.rule().clone()), Some(kept));
    }
    match memory.previous.pools.get(name).map(|pool| (&pool.access, &pool.settings)) {
        Some((Access::Open(rule), settings)) => {
            tell(format!("it keeps its last good rule, since that of `{broken}` cannot be used"));
            (Access::Open(rule.clone()), Some(Arc::clone(&settings.middlewares)))
        }
        Some((Access::Closed(_), _)) | None => {
            let rest = decides.rule();
            tell(format!(
                "requests for {rest} are answered 503, since the rule of `{broken}` cannot be used"
            ));
            (Access::Closed(rest.clone()), None)
        }
    }
}

/// Tells whose labels are passed over, as long as they run: after a change of
/// labels, containers from before and after it may stand side by side. A rule
/// that cannot be used is told of elsewhere.
fn disagreement(
    name: &PoolName,
    decides: &Candidate<'_>,
    ranked: &[&Candidate<'_>],
) -> Option<Problem> {
    let held = &decides.membership;
    let Access::Open(rule) = &held.access else { return None };
    let differs = |it: &&&Candidate<'_>| {
        let asked = &it.membership;
        let other_rule = matches!(&asked.access, Access::Open(asked) if asked != rule);
        it.workload.id != decides.workload.id
            && matches!(it.workload.run, RunState::Running | RunState::Paused)
            && (other_rule || asked.settings != held.settings)
    };
    let others = ranked.iter().filter(differs).map(|it| &*it.workload.name);
    let others: BTreeSet<&str> = others.collect();
    let mut shown: Vec<_> = others.iter().take(SHOWN_MAX).map(|it| format!("`{it}`")).collect();
    if let Some(more) = others.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    let verb = if others.len() == 1 { "asks" } else { "ask" };
    let (decides, others) = (&decides.workload.name, shown.join(", "));
    let message = format!("it is served as `{decides}` asks; {others} {verb} for something else");
    let hint =
        "give all containers of a pool the same labels, and make those anew that have others";
    (!shown.is_empty()).then(|| Problem::new(Subject::Pool(name.to_string().into()), message, hint))
}

/// Two members at one address would be one endpoint with twice its share.
fn members(
    name: &PoolName,
    candidates: Vec<Candidate<'_>>,
    problems: &mut Vec<Problem>,
) -> Vec<Member> {
    let mut places = BTreeSet::new();
    let mut members = Vec::with_capacity(candidates.len());
    // The newest first, so that of one container the default group stays.
    for candidate in candidates.into_iter().rev() {
        let Candidate { membership, member, .. } = candidate;
        if member.address.is_none() || places.insert((member.workload.clone(), member.address)) {
            members.push(member);
            continue;
        }
        let subject = Subject::Container(member.name);
        let stem = membership.stem;
        problems.push(Problem::new(
            subject,
            format!("its labels `{stem}.…` put it into pool `{name}` a second time"),
            format!("remove them, or give it another port by `{stem}.port`"),
        ));
    }
    members.reverse();
    members
}

/// Of the containers that a problem names.
const SHOWN_MAX: usize = 3;
