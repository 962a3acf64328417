//! Slow start, policy by policy.

use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

use super::*;

#[test]
fn a_new_replica_gets_more_and_more_until_it_gets_its_share() {
    for policy in but_hashing() {
        let mut before = 0.0;
        for (age, share) in [(0, 0.1), (25, 0.25), (50, 0.5), (75, 0.75), (100, 1.0), (900, 1.0)] {
            let pool = ramped(&policy, &[1000, age, 1000, 1000]);
            let hits = hits(&pool, 20_000);
            let got = f64::from(hits[1]) / 20_000.0 * 4.0;
            assert!((got - share).abs() < 0.1, "{policy:?} after {age} s: {got} of {share}");
            assert!(got > before - 0.02, "{policy:?} after {age} s: {got}, before {before}");
            before = got;
        }
    }
}

#[test]
fn what_a_new_replica_leaves_is_shared_by_all_the_others() {
    for policy in [Policy::RoundRobin, Policy::Random] {
        let hits = hits(&ramped(&policy, &[1000, 0, 1000, 1000]), 20_000);
        let others = [0, 2, 3].map(|at| f64::from(hits[at]));
        let mean = others.iter().sum::<f64>() / 3.0;
        assert!(others.iter().all(|it| (it / mean - 1.0).abs() < 0.05), "{policy:?}: {hits:?}");
    }
}

#[test]
fn replicas_that_came_together_share_alike_from_the_start() {
    for age in [0, 50] {
        assert_eq!(hits(&ramped(&Policy::RoundRobin, &[age; 3]), 30), [10, 10, 10]);
    }
}

#[test]
fn a_new_replica_that_is_alone_gets_everything() {
    for policy in Policy::PLAIN {
        assert_eq!(hits(&ramped(&policy, &[0]), 50), [50], "{policy:?}");
    }
}

#[test]
fn by_load_a_new_replica_carries_a_part_of_what_the_others_do() {
    for policy in [Policy::LeastRequest, Policy::P2c] {
        let pool = ramped(&policy, &[1000, 50]);
        let [old, new] = [0, 1].map(|at| &pool.endpoints[at].vitals);
        let _old: Vec<_> = (0..10).map(|_| old.begin()).collect();
        let _new: Vec<_> = (0..6).map(|_| new.begin()).collect();
        // Six are more than half of ten, though fewer.
        assert_eq!(hits(&pool, 100), [100, 0], "{policy:?}");
    }
}

#[test]
fn an_endpoint_whose_age_is_not_known_yet_counts_as_new() {
    let pool = ramped(&Policy::RoundRobin, &[1000, 1000]);
    pool.endpoints[1].vitals.set_state(State::Unhealthy);
    pool.endpoints[1].vitals.set_state(State::Ready);
    assert!(hits(&pool, 1000)[1] < 200);
}

proptest! {
    #[test]
    fn some_replica_always_takes_a_request(
        ages in vec(0_u64..150, 1..80), tried in vec(any::<bool>(), 80), random: u64,
    ) {
        for policy in Policy::PLAIN {
            let pool = ramped(&policy, &ages);
            let mut done = Tried::default();
            for (endpoint, _) in pool.endpoints.iter().zip(&tried).filter(|(_, tried)| **tried) {
                done.add(Tried::mark(endpoint));
            }
            let left = pool.endpoints.iter().any(|endpoint| !done.contains(endpoint));
            let picked = pool.pick(draw(random), &done);
            prop_assert_eq!(picked.is_some(), left);
            prop_assert!(picked.is_none_or(|endpoint| !done.contains(endpoint)));
        }
    }

    #[test]
    fn a_hash_knows_no_slow_start(ages in vec(0_u64..150, 1..20), client: u32) {
        let asked = Draw { client: Ipv4Addr::from_bits(client).into(), ..draw(0) };
        let chosen = |ages: &[u64]| {
            let pool = ramped(&Policy::IpHash, ages);
            pool.pick(asked, &Tried::default()).unwrap().vitals.serial()
        };
        prop_assert_eq!(chosen(&ages), chosen(&vec![1000; ages.len()]));
    }
}

fn but_hashing() -> impl Iterator<Item = Policy> {
    Policy::PLAIN.into_iter().filter(|policy| *policy != Policy::IpHash)
}

/// A pool of endpoints that have been ready for so many seconds.
fn ramped(policy: &Policy, ages: &[u64]) -> Pool {
    let endpoints = (0..).zip(ages).map(|(slot, age)| endpoint(slot, *age, 1)).collect();
    pool_of(
        PoolSettings { policy: policy.clone(), slow_start: RAMP, ..PoolSettings::default() },
        endpoints,
    )
}

const RAMP: Duration = Duration::from_secs(100);
