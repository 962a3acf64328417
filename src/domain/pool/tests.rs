//! Slow start, policy by policy.

use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

use super::*;

const RAMP: Duration = Duration::from_secs(100);

#[test]
fn a_new_replica_gets_more_and_more_until_it_gets_its_share() {
    for policy in but_hashing() {
        let mut before = 0.0;
        for (age, share) in [(0, 0.1), (25, 0.25), (50, 0.5), (75, 0.75), (100, 1.0), (900, 1.0)] {
            let pool = pool(policy, &[1000, age, 1000, 1000]);
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
        let hits = hits(&pool(policy, &[1000, 0, 1000, 1000]), 20_000);
        let others = [0, 2, 3].map(|at| f64::from(hits[at]));
        let mean = others.iter().sum::<f64>() / 3.0;
        assert!(others.iter().all(|it| (it / mean - 1.0).abs() < 0.05), "{policy:?}: {hits:?}");
    }
}

#[test]
fn replicas_that_came_together_share_alike_from_the_start() {
    for age in [0, 50] {
        assert_eq!(hits(&pool(Policy::RoundRobin, &[age; 3]), 30), [10, 10, 10]);
    }
}

#[test]
fn a_new_replica_that_is_alone_gets_everything() {
    for policy in Policy::ALL {
        assert_eq!(hits(&pool(policy, &[0]), 50), [50], "{policy:?}");
    }
}

#[test]
fn by_load_a_new_replica_carries_a_part_of_what_the_others_do() {
    for policy in [Policy::LeastRequest, Policy::P2c] {
        let pool = pool(policy, &[1000, 50]);
        let [old, new] = [0, 1].map(|at| &pool.endpoints[at].vitals);
        let _old: Vec<_> = (0..10).map(|_| old.begin()).collect();
        let _new: Vec<_> = (0..6).map(|_| new.begin()).collect();
        // Six are more than half of ten, though fewer.
        assert_eq!(hits(&pool, 100), [100, 0], "{policy:?}");
    }
}

#[test]
fn an_endpoint_whose_age_is_not_known_yet_counts_as_new() {
    let pool = pool(Policy::RoundRobin, &[1000, 1000]);
    pool.endpoints[1].vitals.set_state(State::Unhealthy);
    pool.endpoints[1].vitals.set_state(State::Ready);
    assert!(hits(&pool, 1000)[1] < 200);
}

proptest! {
    #[test]
    fn some_replica_always_takes_a_request(
        ages in vec(0_u64..150, 1..80), tried in vec(any::<bool>(), 80), random: u64,
    ) {
        for policy in Policy::ALL {
            let pool = pool(policy, &ages);
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
            let pool = pool(Policy::IpHash, ages);
            pool.pick(asked, &Tried::default()).unwrap().vitals.serial()
        };
        prop_assert_eq!(chosen(&ages), chosen(&vec![1000; ages.len()]));
    }
}

fn but_hashing() -> impl Iterator<Item = Policy> {
    Policy::ALL.into_iter().filter(|policy| *policy != Policy::IpHash)
}

/// How many of so many requests each endpoint gets.
fn hits(pool: &Pool, count: u64) -> Vec<u32> {
    let mut hits = vec![0; pool.endpoints.len()];
    for number in 0..count {
        let endpoint = pool.pick(draw(balance::mix(number)), &Tried::default()).unwrap();
        hits[usize::try_from(endpoint.vitals.serial()).unwrap()] += 1;
    }
    hits
}

fn draw(random: u64) -> Draw {
    Draw { random, client: Ipv4Addr::LOCALHOST.into(), now: start() + Duration::from_secs(1000) }
}

/// A pool of endpoints that have been ready for so many seconds.
fn pool(policy: Policy, ages: &[u64]) -> Pool {
    let endpoints: Vec<_> = ages.iter().zip(0..).map(|(&age, n)| endpoint(age, n)).collect();
    let name = PoolName::new(None, "shop").unwrap();
    Pool {
        label: name.to_string().into(),
        name,
        settings: PoolSettings { policy, slow_start: RAMP, ..PoolSettings::default() },
        tiers: Tiers::build(&endpoints, &vec![State::Ready; ages.len()]),
        endpoints,
        state: Arc::default(),
    }
}

fn endpoint(age: u64, serial: u16) -> Endpoint {
    let vitals = Vitals::new(u64::from(serial));
    vitals.set_state(State::Ready);
    vitals.note_ready(start() + Duration::from_secs(1000 - age));
    let name: Arc<str> = format!("shop-{serial}").into();
    Endpoint {
        id: EndpointId {
            workload: WorkloadId { id: Arc::clone(&name), life: 0 },
            address: (Ipv4Addr::LOCALHOST, serial).into(),
        },
        seed: balance::seed(&name),
        name,
        service: None,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
        vitals: Arc::new(vitals),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}
