//! From what is running to what should be served.

mod address;
mod conflict;
pub mod diff;
mod merge;
mod pages;
mod shadow;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

pub use conflict::conflicts;
pub use shadow::shadowed;

use crate::domain::labels::{self, LabelSettings, LeftOut, Membership};
use crate::domain::lifecycle::HealthCheck;
use crate::domain::names::PoolName;
use crate::domain::plan::address::Surroundings;
use crate::domain::plan::merge::{Candidate, merge};
use crate::domain::plan::pages::guarded_pages;
use crate::domain::pool::PoolSettings;
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::Access;
use crate::domain::upstream::Scheme;
use crate::domain::world::{Health, RunState, Workload, WorkloadId, World};

/// What should be served. Two equal plans mean nothing changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    pub pools: BTreeMap<PoolName, PoolPlan>,
    /// In a stable order, without repetition.
    pub problems: Vec<Problem>,
    /// The files that labels name, whether they have been read or not.
    pub files: BTreeSet<Arc<str>>,
    /// The workloads that are in no pool, by their ids, and why.
    pub left_out: BTreeMap<Arc<str>, LeftOut>,
    /// Every source has been seen. Until then a host that has no route may only
    /// not have one yet. The planner cannot know; the control loop says it.
    pub complete: bool,
}

/// A pool as its containers ask for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolPlan {
    pub access: Access,
    pub settings: PoolSettings,
    /// Every container of the pool, running or not, oldest first.
    pub members: Vec<Member>,
}

/// One container (or written server) in a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub workload: WorkloadId,
    pub name: Arc<str>,
    pub service: Option<Arc<str>>,
    pub host_name: Option<Arc<str>>,
    pub run: RunState,
    /// An operator wants it to finish what it has.
    pub drained: bool,
    pub health: Health,
    /// None while it has none that we can reach; a problem says why if it runs.
    pub address: Option<SocketAddr>,
    pub scheme: Scheme,
    pub weight: u16,
    pub backup: bool,
    /// Requests that it may have at once; none: any number.
    pub max_conns: Option<NonZeroU32>,
    /// The health check that it asks for itself, by which it is judged until it
    /// has been ready.
    pub check: Option<Arc<HealthCheck>>,
}

/// What the planner is told of the past, since it keeps nothing itself.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    pub previous: &'a Plan,
    /// The containers that have been ready, in any life: only they decide a
    /// pool's settings, so that a broken newcomer does not change a pool that
    /// works.
    pub been_ready: &'a BTreeSet<Arc<str>>,
    /// The workloads that an operator drains.
    pub drained: &'a BTreeSet<WorkloadId>,
}

impl Memory<'_> {
    /// Where each workload was reached.
    fn addresses(&self) -> HashMap<&WorkloadId, IpAddr> {
        let members = self.previous.pools.values().flat_map(|pool| &pool.members);
        members.filter_map(|it| Some((&it.workload, it.address?.ip()))).collect()
    }
}

/// Never fails: what cannot be used becomes a [`Problem`].
pub fn plan(world: &World, memory: Memory<'_>, settings: &LabelSettings) -> Plan {
    let mut problems = Vec::new();
    let (mut files, mut left_out) = (BTreeSet::new(), BTreeMap::new());
    let mut pools: BTreeMap<PoolName, Vec<Candidate<'_>>> = BTreeMap::new();
    let addresses = LazyCell::new(|| memory.addresses());
    for observation in world.values() {
        problems.extend(observation.problems.iter().cloned());
        let surroundings = Surroundings::new(observation, &settings.listeners);
        for workload in &observation.workloads {
            let reading = labels::read(workload, settings);
            problems.extend(reading.problems);
            files.extend(reading.files);
            left_out.extend(reading.left_out.map(|it| (Arc::clone(&workload.id.id), it)));
            for membership in reading.memberships {
                let known = || addresses.get(&workload.id).copied();
                let address = surroundings.find(workload, &membership, &known, &mut problems);
                let member = Member::new(workload, &membership, address, memory);
                let pool = pools.entry(membership.pool.clone()).or_default();
                pool.push(Candidate { workload, membership, member });
            }
        }
    }
    let mut plan = Plan { files, left_out, ..Plan::default() };
    for (name, candidates) in pools {
        if let Some(pool) = merge(&name, candidates, memory, &mut problems) {
            plan.pools.insert(name, pool);
        }
    }
    problems.extend(conflicts(&plan, &settings.prefix));
    problems.extend(guarded_pages(&plan, &settings.prefix));
    plan.problems = tidy(problems);
    plan
}

impl Member {
    fn new(
        workload: &Workload,
        membership: &Membership,
        address: Option<SocketAddr>,
        memory: Memory<'_>,
    ) -> Self {
        Self {
            workload: workload.id.clone(),
            name: Arc::clone(&workload.name),
            service: workload.service.clone(),
            host_name: workload.host_name.clone(),
            run: workload.run,
            drained: memory.drained.contains(&workload.id),
            health: workload.health,
            address,
            scheme: membership.scheme.unwrap_or_default(),
            weight: membership.weight,
            backup: membership.backup,
            max_conns: membership.max_conns,
            check: membership.settings.health.clone(),
        }
    }
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

const PROBLEMS_MAX: usize = 1_000;
