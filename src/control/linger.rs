//! Pools whose last container is gone, kept while requests may be held for them.
//!
//! Compose removes a container before it makes the next one, so a pool of one
//! vanishes for a moment on every `up -d` that recreates it.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::domain::names::PoolName;
use crate::domain::plan::{Plan, PoolPlan};

#[derive(Debug, Default)]
pub(super) struct Lingering {
    gone: BTreeMap<PoolName, (PoolPlan, Instant)>,
}

impl Lingering {
    /// `planned`, which follows `previous`, with the pools that left less than
    /// their hold ago, without members.
    pub(super) fn extend(&mut self, previous: &Plan, planned: &Plan, now: Instant) -> Plan {
        for (name, pool) in &previous.pools {
            if !planned.pools.contains_key(name) {
                let until = now + pool.settings.hold;
                let pool = PoolPlan { members: Vec::new(), ..pool.clone() };
                self.gone.insert(name.clone(), (pool, until));
            }
        }
        self.gone.retain(|name, (_, until)| !planned.pools.contains_key(name) && *until > now);
        let mut served = planned.clone();
        let kept = self.gone.iter().map(|(name, (pool, _))| (name.clone(), pool.clone()));
        served.pools.extend(kept);
        served
    }

    /// When the next pool is to be forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.gone.values().map(|&(_, until)| until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pool::PoolSettings;
    use crate::domain::rule::{Access, Rule};
    use std::time::Duration;

    #[test]
    fn a_pool_outlives_its_last_container_by_its_hold() {
        let mut lingering = Lingering::default();
        let start = Instant::now();
        let empty = Plan::default();
        assert_eq!(lingering.extend(&empty, &shop(), start).pools.len(), 1);
        assert_eq!(lingering.next_deadline(), None);

        let gone = lingering.extend(&shop(), &empty, start);
        assert_eq!(gone.pools.len(), 1, "held");
        let deadline = lingering.next_deadline().unwrap();
        assert_eq!(deadline - start, Duration::from_secs(10));

        assert!(lingering.extend(&empty, &empty, deadline).pools.is_empty());
        assert_eq!(lingering.next_deadline(), None);
    }

    #[test]
    fn a_pool_that_returns_is_served_as_it_is_now() {
        let mut lingering = Lingering::default();
        let start = Instant::now();
        let empty = Plan::default();
        lingering.extend(&empty, &shop(), start);
        lingering.extend(&shop(), &empty, start);
        assert_eq!(lingering.extend(&empty, &shop(), start), shop());
        assert_eq!(lingering.next_deadline(), None);
    }

    fn shop() -> Plan {
        let pool = PoolPlan {
            access: Access::Open(Rule::default()),
            settings: PoolSettings::default(),
            members: Vec::new(),
        };
        let pools = [(PoolName::new(None, "shop").unwrap(), pool)];
        Plan { pools: pools.into(), complete: true, ..Plan::default() }
    }
}
