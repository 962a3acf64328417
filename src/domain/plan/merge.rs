//! A pool, made of what its containers ask for.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::domain::labels::Membership;
use crate::domain::lifecycle::HealthCheck;
use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::{Member, Memory, PoolPlan};
use crate::domain::pool::PoolSettings;
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::{Access, Rule};
use crate::domain::tls::ClientAuth;
use crate::domain::upstream::{Scheme, Tls, Trust};
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
    let (access, guards) = access(name, decides, &ranked, memory, problems);
    settings.middlewares = Arc::clone(&guards.middlewares);
    settings.tls = guards.tls;
    settings.client_auth = guards.client_auth;
    problems.extend(disagreement(name, decides, &ranked));
    let stem = decides.membership.stem.clone();
    let members = members(name, candidates, problems);
    let is_by_tls = members.iter().any(|(member, _)| member.scheme == Scheme::Https);
    let asked = settings.upstream_tls.take();
    settings.upstream_tls = is_by_tls.then(|| tls(name, &stem, asked.as_ref(), &access, problems));
    settings.health =
        settings.health.map(|check| named(check, &access, settings.upstream_tls.as_ref()));
    // Each is asked by what its own labels say, as with the rest of its check: else
    // a newcomer that proves itself in another way would never become ready.
    let members = members.into_iter().map(|(mut member, asked)| {
        let by_tls = member.scheme == Scheme::Https;
        let tls = by_tls.then(|| completed(asked.as_ref(), &access));
        member.check = member.check.take().map(|check| named(check, &access, tls.as_ref()));
        member
    });
    let members = members.collect();
    Some(PoolPlan { access, settings, members })
}

/// The check, asking for the first host name of the pool's rule unless it asks
/// for another, and by TLS as requests do.
fn named(check: Arc<HealthCheck>, access: &Access, tls: Option<&Arc<Tls>>) -> Arc<HealthCheck> {
    let host = first_host(access).filter(|_| check.host.is_none());
    if host.is_none() && tls.is_none() {
        return check;
    }
    let host = host.or_else(|| check.host.clone());
    Arc::new(HealthCheck { host, tls: tls.cloned(), ..(*check).clone() })
}

/// How those who are spoken to by TLS prove who they are. The name is never one
/// that a client chooses: it could then have any replica fail.
fn tls(
    name: &PoolName,
    stem: &str,
    asked: Option<&Arc<Tls>>,
    access: &Access,
    problems: &mut Vec<Problem>,
) -> Arc<Tls> {
    let tls = completed(asked, access);
    if tls.name.is_none() && tls.trust != Trust::Anyone {
        problems.push(Problem::new(
            Subject::Pool(name.to_string().into()),
            "nothing names what the certificates of its replicas must be for, so that only those \
             for their addresses are taken"
                .to_owned(),
            format!("add the label `{stem}.upstream.tls.name` with the name in them"),
        ));
    }
    tls
}

/// What is asked for, with the first host name of the rule where it names none.
fn completed(asked: Option<&Arc<Tls>>, access: &Access) -> Arc<Tls> {
    let Tls { name, trust } = asked.map(|asked| (**asked).clone()).unwrap_or_default();
    Arc::new(Tls { name: name.or_else(|| first_host(access)), trust })
}

/// The first name of the rule that is no pattern.
fn first_host(access: &Access) -> Option<Arc<str>> {
    let (Access::Open(rule) | Access::Closed(rule)) = access;
    rule.hosts.iter().find_map(|pattern| match pattern {
        HostPattern::Exact(host) => Some(host.to_string().into()),
        HostPattern::Wildcard(_) => None,
    })
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

/// The rule, and the settings whose middlewares, `tls` and `tls.client` go with
/// it as one unit, since the guards of the door are among them: those of who
/// decides; if they cannot be used, the last good ones, else those of the next
/// who could decide. So neither somebody untried nor an older one opens what was
/// kept shut. Else it stays shut.
fn access<'s>(
    name: &PoolName,
    decides: &'s Candidate<'_>,
    ranked: &[&'s Candidate<'_>],
    memory: Memory<'s>,
    problems: &mut Vec<Problem>,
) -> (Access, &'s PoolSettings) {
    let open = |it: &'s Candidate<'_>| (Access::Open(it.rule().clone()), &it.membership.settings);
    // A container that joins twice has one rule, shut if any part of it is:
    // else its second group would open what its first one closes.
    let closed = ranked.iter().filter(|it| matches!(it.membership.access, Access::Closed(_)));
    let mut shut: BTreeSet<_> = closed.map(|it| &it.workload.id).collect();
    for (first, further) in overlooked(ranked) {
        shut.insert(&further.workload.id);
        problems.push(Problem::new(
            Subject::Container(Arc::clone(&further.workload.name)),
            format!(
                "its labels `{}.…` would guard pool `{name}`, which `{}.…` already speaks of",
                further.membership.stem, first.membership.stem
            ),
            format!("write them as `{}.…`", first.membership.stem),
        ));
    }
    let mut good = ranked.iter().filter(|it| !shut.contains(&it.workload.id)).peekable();
    if let Some(good) = good.next_if(|good| good.workload.id == decides.workload.id) {
        return open(good);
    }
    let last_good = memory.previous.pools.get(name).and_then(|pool| match &pool.access {
        Access::Open(rule) => Some((rule, &pool.settings)),
        Access::Closed(_) => None,
    });

    let broken = &decides.workload.name;
    let mut tell = |message: String| {
        let hint = format!("mend the labels of container `{broken}`");
        problems.push(Problem::new(Subject::Pool(name.to_string().into()), message, hint));
    };
    match (last_good, good.next()) {
        // It may be stricter than those of older containers are.
        (Some((rule, settings)), _) => {
            tell(format!("it keeps its last good rule, since that of `{broken}` cannot be used"));
            (Access::Open(rule.clone()), settings)
        }
        (None, Some(good)) => {
            let other = &good.workload.name;
            tell(format!(
                "it keeps the rule of `{other}`, since that of `{broken}` cannot be used"
            ));
            open(good)
        }
        (None, None) => {
            let rest = decides.rule();
            tell(format!(
                "requests for {rest} are answered 503, since the rule of `{broken}` cannot be used"
            ));
            (Access::Closed(rest.clone()), &decides.membership.settings)
        }
    }
}

/// Containers that join twice, and the second time with guards that the first
/// does not have: of a container the first membership counts, and would pass
/// over them.
fn overlooked<'c, 'a>(ranked: &[&'c Candidate<'a>]) -> Vec<(&'c Candidate<'a>, &'c Candidate<'a>)> {
    let guards = |it: &'c Candidate<'a>| {
        it.membership.settings.middlewares.iter().filter(|middleware| middleware.is_guard())
    };
    let client_auth = |it: &Candidate<'_>| it.membership.settings.client_auth;
    if ranked.iter().all(|it| guards(it).next().is_none() && client_auth(it) == ClientAuth::Off) {
        return Vec::new();
    }
    let mut firsts = HashMap::new();
    let pairs = ranked.iter().filter_map(|&it| match firsts.entry(&it.workload.id) {
        Entry::Vacant(place) => {
            place.insert(it);
            None
        }
        Entry::Occupied(first) => Some((*first.get(), it)),
    });
    let lacks =
        |first: &Candidate<'_>, guard| !first.membership.settings.middlewares.contains(guard);
    let overlooks = |(first, it): &(&Candidate<'_>, &'c Candidate<'a>)| {
        guards(it).any(|guard| lacks(first, guard)) || client_auth(it) > client_auth(first)
    };
    pairs.filter(overlooks).collect()
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

/// Each with what its own labels say of how it proves who it is. Two at one
/// address would be one endpoint with twice its share.
fn members(
    name: &PoolName,
    candidates: Vec<Candidate<'_>>,
    problems: &mut Vec<Problem>,
) -> Vec<(Member, Option<Arc<Tls>>)> {
    let mut places = BTreeSet::new();
    let mut members = Vec::with_capacity(candidates.len());
    // The newest first, so that of one container the default group stays.
    for candidate in candidates.into_iter().rev() {
        let Candidate { membership, member, .. } = candidate;
        if member.address.is_none() || places.insert((member.workload.clone(), member.address)) {
            members.push((member, membership.settings.upstream_tls));
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
