//! What changed between two plans, for the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::domain::names::PoolName;
use crate::domain::plan::{Member, Plan, PoolPlan};
use crate::domain::rule::{Access, Rule};
use crate::domain::world::WorkloadId;

/// One change of one pool. `Display` is a fragment for a line of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub pool: PoolName,
    pub what: What,
}

/// What became of a pool or of one of its members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    Added { rule: Rule, members: usize },
    Removed,
    Opened(Rule),
    Closed(Rule),
    Settings,
    MemberAdded { name: Arc<str>, address: Option<SocketAddr> },
    MemberRemoved { name: Arc<str> },
    MemberDrained { name: Arc<str>, drained: bool },
    MemberChanged { name: Arc<str>, address: Option<SocketAddr> },
}

/// All changes, by pool. A pool that is new or gone is told without its members.
pub fn diff(before: &Plan, after: &Plan) -> Vec<Change> {
    let names: BTreeSet<_> = before.pools.keys().chain(after.pools.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let whats = match (before.pools.get(name), after.pools.get(name)) {
            (Some(old), Some(new)) => between(old, new),
            (None, Some(new)) => added(new),
            (Some(_), None) => vec![What::Removed],
            (None, None) => Vec::new(),
        };
        changes.extend(whats.into_iter().map(|what| Change { pool: name.clone(), what }));
    }
    changes
}

fn added(new: &PoolPlan) -> Vec<What> {
    let (Access::Open(rule) | Access::Closed(rule)) = &new.access;
    let mut whats = vec![What::Added { rule: rule.clone(), members: new.members.len() }];
    if matches!(new.access, Access::Closed(_)) {
        whats.push(What::Closed(rule.clone()));
    }
    whats
}

fn between(old: &PoolPlan, new: &PoolPlan) -> Vec<What> {
    let mut whats = Vec::new();
    if old.access != new.access {
        whats.push(match &new.access {
            Access::Open(rule) => What::Opened(rule.clone()),
            Access::Closed(rule) => What::Closed(rule.clone()),
        });
    }
    if old.settings != new.settings {
        whats.push(What::Settings);
    }
    let (old, new) = (by_identity(&old.members), by_identity(&new.members));
    for (key, member) in &old {
        if !new.contains_key(key) {
            whats.push(What::MemberRemoved { name: Arc::clone(&member.name) });
        }
    }
    for (key, member) in &new {
        let (name, address) = (Arc::clone(&member.name), member.address);
        match old.get(key) {
            None => whats.push(What::MemberAdded { name, address }),
            Some(was) if was.drained != member.drained => {
                whats.push(What::MemberDrained { name, drained: member.drained });
            }
            Some(was) if was != member => whats.push(What::MemberChanged { name, address }),
            Some(_) => {}
        }
    }
    whats
}

/// A container may be in a pool more than once, with a port each.
fn by_identity(members: &[Member]) -> BTreeMap<(&WorkloadId, usize), &Member> {
    let mut counts: BTreeMap<&WorkloadId, usize> = BTreeMap::new();
    let keyed = members.iter().map(|member| {
        let count = counts.entry(&member.workload).or_default();
        *count += 1;
        ((&member.workload, *count), member)
    });
    keyed.collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |address: &Option<SocketAddr>| match address {
            Some(address) => format!("at {address}"),
            None => "without an address".to_owned(),
        };
        write!(f, "pool `{}`", self.pool)?;
        match &self.what {
            What::Added { rule, members } => write!(f, " added for {rule}, replicas: {members}"),
            What::Removed => write!(f, " removed"),
            What::Opened(rule) => write!(f, " now takes {rule}"),
            What::Closed(rule) => write!(f, " now answers 503 to {rule}"),
            What::Settings => write!(f, " has other settings"),
            What::MemberAdded { name, address } => write!(f, ": `{name}` added {}", at(address)),
            What::MemberRemoved { name } => write!(f, ": `{name}` removed"),
            What::MemberDrained { name, drained: true } => {
                write!(f, ": `{name}` is drained by an operator")
            }
            What::MemberDrained { name, drained: false } => {
                write!(f, ": `{name}` is no longer drained")
            }
            What::MemberChanged { name, address } => {
                write!(f, ": `{name}` changed, {}", at(address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pool::PoolSettings;
    use crate::domain::upstream::Scheme;
    use crate::domain::world::{Health, RunState};

    #[test]
    fn equal_plans_differ_in_nothing() {
        assert_eq!(diff(&plan(&[1, 2]), &plan(&[1, 2])), []);
    }

    #[test]
    fn members_are_told_apart_by_who_they_are() {
        let mut after = plan(&[2, 3]);
        web(&mut after).members[0].weight = 9;
        assert_eq!(
            told(&plan(&[1, 2]), &after),
            [
                "pool `web`: `web-1` removed",
                "pool `web`: `web-2` changed, at 10.0.0.2:80",
                "pool `web`: `web-3` added at 10.0.0.3:80",
            ]
        );
    }

    #[test]
    fn the_word_of_an_operator_is_told() {
        let mut drained = plan(&[1]);
        web(&mut drained).members[0].drained = true;
        assert_eq!(told(&plan(&[1]), &drained), ["pool `web`: `web-1` is drained by an operator"]);
        assert_eq!(told(&drained, &plan(&[1])), ["pool `web`: `web-1` is no longer drained"]);
    }

    #[test]
    fn a_container_that_is_twice_in_a_pool_is_told_once_for_each() {
        let removed = ["pool `web`: `web-1` removed"];
        assert_eq!(told(&plan(&[1, 1]), &plan(&[1])), removed);
    }

    #[test]
    fn pools_and_their_rules_are_told() {
        let mut closed = plan(&[1]);
        web(&mut closed).access = Access::Closed(Rule::default());
        web(&mut closed).settings.hold_max = 1;
        let none = Plan::default();
        let added = "pool `web` added for any host and path, replicas: 1";
        let shut = "pool `web` now answers 503 to any host and path";
        assert_eq!(told(&none, &plan(&[1])), [added]);
        assert_eq!(told(&none, &closed), [added, shut]);
        assert_eq!(told(&plan(&[1]), &closed), [shut, "pool `web` has other settings"]);
        assert_eq!(told(&closed, &none), ["pool `web` removed"]);
    }

    fn told(before: &Plan, after: &Plan) -> Vec<String> {
        diff(before, after).iter().map(Change::to_string).collect()
    }

    fn web(plan: &mut Plan) -> &mut PoolPlan {
        plan.pools.values_mut().next().unwrap()
    }

    fn plan(members: &[u8]) -> Plan {
        let access = Access::Open(Rule::default());
        let settings = PoolSettings::default();
        let members = members.iter().map(|number| member(*number)).collect();
        let name = PoolName::new(None, "web").unwrap();
        let pools = BTreeMap::from([(name, PoolPlan { access, settings, members })]);
        Plan { pools, complete: true, ..Plan::default() }
    }

    fn member(number: u8) -> Member {
        let name: Arc<str> = format!("web-{number}").into();
        Member {
            workload: WorkloadId { id: Arc::clone(&name), life: 0 },
            name,
            service: None,
            host_name: None,
            run: RunState::Running,
            drained: false,
            health: Health::None,
            address: Some(([10, 0, 0, number], 80).into()),
            scheme: Scheme::Http,
            weight: 1,
            backup: false,
            max_conns: None,
            check: None,
        }
    }
}
