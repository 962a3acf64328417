//! From what is running to what should be served.

mod address;
mod conflict;
pub mod diff;
mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::domain::labels::{self, Membership};
use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::address::Surroundings;
use crate::domain::plan::conflict::conflicts;
use crate::domain::plan::merge::{Candidate, merge};
use crate::domain::pool::PoolSettings;
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::{Health, RunState, Workload, WorkloadId, World};

/// What should be served. Two equal plans mean nothing changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    pub pools: BTreeMap<PoolName, PoolPlan>,
    /// In a stable order, without repetition.
    pub problems: Vec<Problem>,
}

/// A pool as its containers ask for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolPlan {
    pub access: Access,
    pub settings: PoolSettings,
    /// Every container of the pool, running or not, oldest first.
    pub members: Vec<Member>,
}

/// Which requests reach a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    Open(Rule),
    /// A guard could not be read and no good value is known: the requests that
    /// the readable rest of the rule matches are answered 503.
    Closed(Rule),
}

/// Which requests a pool asks for. Everything that is set must match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// Any host, if empty.
    pub hosts: Vec<HostPattern>,
    /// Whole-segment prefixes in normal form, without a trailing slash; `/` is
    /// kept as it is. Any path, if this and `exact` are empty.
    pub prefixes: Vec<Arc<str>>,
    /// Whole paths in normal form.
    pub exact: Vec<Arc<str>>,
    /// The larger wins; 0 unless asked otherwise.
    pub priority: i32,
}

/// One container (or written server) in a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub workload: WorkloadId,
    pub name: Arc<str>,
    pub service: Option<Arc<str>>,
    pub run: RunState,
    pub health: Health,
    /// None while it has none that we can reach; a problem says why if it runs.
    pub address: Option<SocketAddr>,
    pub weight: u16,
    pub backup: bool,
}

/// What the planner is told of the past, since it keeps nothing itself.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    pub previous: &'a Plan,
    /// The workloads that have been ready: only they decide a pool's settings,
    /// so that a broken newcomer does not change a pool that works.
    pub been_ready: &'a BTreeSet<WorkloadId>,
}

/// How labels are read, from the settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelSettings {
    /// `lb` unless set otherwise.
    pub prefix: Arc<str>,
    /// Only containers that carry all of these labels are ours.
    pub constraints: Vec<(String, String)>,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self { prefix: "lb".into(), constraints: Vec::new() }
    }
}

/// Never fails: what cannot be used becomes a [`Problem`].
pub fn plan(world: &World, memory: Memory<'_>, settings: &LabelSettings) -> Plan {
    let mut problems = Vec::new();
    let mut pools: BTreeMap<PoolName, Vec<Candidate<'_>>> = BTreeMap::new();
    for observation in world.values() {
        let surroundings = Surroundings::new(observation);
        for workload in &observation.workloads {
            let reading = labels::read(workload, settings);
            problems.extend(reading.problems);
            for membership in reading.memberships {
                let address = surroundings.find(workload, &membership, &mut problems);
                let member = Member::new(workload, &membership, address);
                let pool = pools.entry(membership.pool.clone()).or_default();
                pool.push(Candidate { workload, membership, member });
            }
        }
    }
    let mut plan = Plan::default();
    for (name, candidates) in pools {
        if let Some(pool) = merge(&name, candidates, memory, &mut problems) {
            plan.pools.insert(name, pool);
        }
    }
    problems.extend(conflicts(&plan, &settings.prefix));
    plan.problems = tidy(problems);
    plan
}

impl Member {
    fn new(workload: &Workload, membership: &Membership, address: Option<SocketAddr>) -> Self {
        Self {
            workload: workload.id.clone(),
            name: Arc::clone(&workload.name),
            service: workload.service.clone(),
            run: workload.run,
            health: workload.health,
            address,
            weight: membership.weight,
            backup: membership.backup,
        }
    }
}

/// What the rule takes, to follow "for": "host `shop.example`, path `/api`".
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(listed("host", &self.hosts));
        parts.extend(listed("path", &self.prefixes));
        parts.extend(listed("exact path", &self.exact));
        if parts.is_empty() {
            parts.push("any host and path".to_owned());
        }
        if self.priority != 0 {
            parts.push(format!("priority {}", self.priority));
        }
        f.write_str(&parts.join(", "))
    }
}

fn listed(noun: &str, entries: &[impl fmt::Display]) -> Option<String> {
    let shown: Vec<_> = entries.iter().take(SHOWN_MAX).map(|it| format!("`{it}`")).collect();
    let more = if entries.len() > SHOWN_MAX { " or more" } else { "" };
    (!shown.is_empty()).then(|| format!("{noun} {}{more}", shown.join(" or ")))
}

fn tidy(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_unstable();
    problems.dedup();
    if problems.len() > PROBLEMS_MAX {
        let left = problems.len() - PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        let message = format!("{left} more problems are not shown");
        problems.push(Problem::new(Subject::Setting, message, "mend those that are"));
    }
    problems
}

/// Hosts or paths of a rule that a message names.
const SHOWN_MAX: usize = 4;

const PROBLEMS_MAX: usize = 1_000;
