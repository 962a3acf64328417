//! From what is running to what should be served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::domain::names::{HostPattern, PoolName};
use crate::domain::pool::PoolSettings;
use crate::domain::problem::Problem;
use crate::domain::world::{Health, RunState, WorkloadId, World};

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
pub fn plan(_world: &World, _memory: Memory<'_>, _settings: &LabelSettings) -> Plan {
    Plan::default()
}
