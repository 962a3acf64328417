//! Pools that ask for the same requests.
//!
//! No route is deleted for it: the table chooses between them, and a person is
//! told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::names::{HostPattern, PoolName};
use crate::domain::plan::Plan;
use crate::domain::problem::{Problem, Subject};
use crate::domain::rule::{Access, Conditions, Rule};

/// One problem for each set of pools that meet.
pub fn conflicts(plan: &Plan, prefix: &str) -> Vec<Problem> {
    let mut meetings: BTreeMap<Vec<&PoolName>, Rule> = BTreeMap::new();
    for ((priority, host), pools) in by_host(plan) {
        if pools.len() < 2 {
            continue;
        }
        for ((path, conditions), names) in by_path(&pools) {
            if names.len() > 1 {
                let conditions = conditions.map(Arc::clone);
                let example = Rule { conditions, ..path.rule(host, priority) };
                let kept = meetings.entry(names).or_insert_with(|| example.clone());
                // The least of them, whatever the order of the maps.
                if example.sorts_before(kept) {
                    *kept = example;
                }
            }
        }
    }
    let told = meetings.into_iter().filter_map(|(names, rule)| problem(&names, &rule, prefix));
    told.collect()
}

/// One of the paths that a rule asks for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Path<'a> {
    Prefix(&'a str),
    Exact(&'a str),
}

type PathKey<'a> = (Path<'a>, Option<&'a Arc<Conditions>>);

type HostKey<'a> = (i32, Option<&'a HostPattern>);

fn by_host(plan: &Plan) -> HashMap<HostKey<'_>, Vec<(&PoolName, &Rule)>> {
    let mut hosts: HashMap<_, Vec<_>> = HashMap::new();
    for (name, pool) in &plan.pools {
        let Access::Open(rule) = &pool.access else {
            continue;
        };
        let any = rule.hosts.is_empty().then_some(None);
        for host in rule.hosts.iter().map(Some).chain(any) {
            hosts.entry((rule.priority, host)).or_default().push((name, rule));
        }
    }
    hosts
}

/// Where conditions differ, one pool's are narrower or its requests others.
fn by_path<'a>(pools: &[(&'a PoolName, &'a Rule)]) -> HashMap<PathKey<'a>, Vec<&'a PoolName>> {
    let mut paths: HashMap<_, Vec<_>> = HashMap::new();
    for (name, rule) in pools {
        let any = (rule.prefixes.is_empty() && rule.exact.is_empty()).then_some(Path::Prefix("/"));
        let prefixes = rule.prefixes.iter().map(|path| Path::Prefix(path));
        let exact = rule.exact.iter().map(|path| Path::Exact(path));
        for path in prefixes.chain(exact).chain(any) {
            paths.entry((path, rule.conditions.as_ref())).or_default().push(*name);
        }
    }
    paths
}

fn problem(names: &[&PoolName], rule: &Rule, prefix: &str) -> Option<Problem> {
    let (first, others) = names.split_first()?;
    let mut shown: Vec<_> = others.iter().take(SHOWN_MAX).map(|it| format!("`{it}`")).collect();
    if let Some(more) = others.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    let noun = if others.len() == 1 { "pool" } else { "pools" };
    Some(Problem::new(
        Subject::Pool(first.to_string().into()),
        format!("it asks for the same requests as {noun} {}: {rule}", shown.join(", ")),
        format!(
            "give each its own `{prefix}.host` or `{prefix}.path`, or one a larger \
             `{prefix}.priority`; until then one with a ready replica answers, else the one that \
             had them"
        ),
    ))
}

impl Path<'_> {
    fn rule(self, host: Option<&HostPattern>, priority: i32) -> Rule {
        let mut rule = Rule { priority, ..Rule::default() };
        rule.hosts.extend(host.cloned());
        match self {
            Self::Prefix("/") => {}
            Self::Prefix(path) => rule.prefixes.push(path.into()),
            Self::Exact(path) => rule.exact.push(path.into()),
        }
        rule
    }
}

impl Rule {
    fn sorts_before(&self, other: &Self) -> bool {
        let key = |rule: &Self| {
            let conditions = rule.conditions.as_ref().map(ToString::to_string);
            (
                rule.priority,
                rule.hosts.clone(),
                rule.prefixes.clone(),
                rule.exact.clone(),
                conditions,
            )
        };
        key(self) < key(other)
    }
}

/// Pools that a problem names besides its own.
const SHOWN_MAX: usize = 3;
