//! What a balancer does, seen from one look at it to the next.

use std::collections::HashMap;
use std::time::Duration;

use crate::admin::view::{Pool, Replica, Status};

/// A status, and how long after the first one it was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) at: Duration,
    pub(super) status: Status,
}

/// How much happens a second; each in the order of the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) pools: Vec<PoolRates>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PoolRates {
    /// Requests that have ended.
    pub(super) requests: f64,
    /// Those of them that were answered by 5xx.
    pub(super) errors: f64,
    pub(super) replicas: Vec<ReplicaRates>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ReplicaRates {
    /// Attempts sent to it.
    pub(super) requests: f64,
    /// Those of them that brought no whole answer.
    pub(super) failures: f64,
}

impl Rates {
    /// All zero for the first look, as for whatever was not there before.
    pub(super) fn between(before: Option<&Look>, now: &Look) -> Self {
        let pools = now.status.pools.iter().map(|pool| {
            let earlier = before.and_then(|look| Some((of_pool(look, pool)?, look.at)));
            match earlier {
                Some((old, at)) => pool_rates(old, pool, now.at.saturating_sub(at)),
                None => idle(pool),
            }
        });
        Self { pools: pools.collect() }
    }

    pub(super) fn requests(&self) -> f64 {
        self.pools.iter().map(|pool| pool.requests).sum()
    }
}

fn of_pool<'a>(look: &'a Look, pool: &Pool) -> Option<&'a Pool> {
    look.status.pools.iter().find(|it| it.label == pool.label)
}

fn idle(pool: &Pool) -> PoolRates {
    let replicas = vec![ReplicaRates::default(); pool.replicas.len()];
    PoolRates { replicas, ..PoolRates::default() }
}

fn pool_rates(before: &Pool, now: &Pool, passed: Duration) -> PoolRates {
    let rate = |before, now| rate(before, now, passed);
    let count = |pool: &Pool| pool.requests.values().sum();
    let errors = |pool: &Pool| pool.requests.get("5xx").copied().unwrap_or_default();
    let known: HashMap<_, _> = before.replicas.iter().map(|it| (identity(it), it)).collect();
    let replicas = now.replicas.iter().map(|replica| {
        let Some(old) = known.get(&identity(replica)) else { return ReplicaRates::default() };
        ReplicaRates {
            requests: rate(old.requests, replica.requests),
            failures: rate(old.failures, replica.failures),
        }
    });
    PoolRates {
        requests: rate(count(before), count(now)),
        errors: rate(errors(before), errors(now)),
        replicas: replicas.collect(),
    }
}

/// A container that starts again has another address, or counts anew.
fn identity(replica: &Replica) -> (&str, Option<&str>) {
    (&replica.id, replica.address.as_deref())
}

/// A count that has become smaller has begun anew.
fn rate(before: u64, now: u64, passed: Duration) -> f64 {
    if passed.is_zero() {
        return 0.0;
    }
    now.checked_sub(before).unwrap_or(now) as f64 / passed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_shows_who_is_there_at_rest() {
        let look = look(0, 500, &[("a", 300), ("b", 200)]);
        let rates = Rates::between(None, &look);
        assert_eq!(rates.requests(), 0.0);
        assert_eq!(rates.pools[0].replicas.len(), 2);
    }

    #[test]
    fn a_rate_is_what_was_added_over_the_time_between() {
        let before = look(1_000, 500, &[("a", 300), ("b", 200)]);
        let now = look(3_000, 560, &[("a", 340), ("b", 220), ("c", 7)]);
        let rates = Rates::between(Some(&before), &now);
        assert_eq!(rates.requests(), 30.0);
        let replicas: Vec<_> = rates.pools[0].replicas.iter().map(|it| it.requests).collect();
        assert_eq!(replicas, [20.0, 10.0, 0.0], "c was not there before");
    }

    #[test]
    fn what_counts_anew_is_counted_from_zero() {
        let rates = Rates::between(Some(&look(0, 900, &[])), &look(1_000, 40, &[]));
        assert_eq!(rates.requests(), 40.0);
    }

    #[test]
    fn two_looks_at_once_show_no_rate() {
        let rates = Rates::between(Some(&look(5, 1, &[])), &look(5, 9, &[]));
        assert_eq!(rates.requests(), 0.0);
    }

    fn look(at_ms: u64, requests: u64, replicas: &[(&str, u64)]) -> Look {
        let replicas = replicas.iter().map(|&(id, requests)| Replica {
            id: id.to_owned(),
            requests,
            ..Replica::default()
        });
        let pool = Pool {
            label: "shop/web".to_owned(),
            requests: [("2xx".to_owned(), requests)].into(),
            replicas: replicas.collect(),
            ..Pool::default()
        };
        let status = Status { pools: vec![pool], ..Status::default() };
        Look { at: Duration::from_millis(at_ms), status }
    }
}
