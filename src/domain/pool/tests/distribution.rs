//! How evenly 10,000 requests are shared, policy by policy. Run with
//! `--nocapture` it prints its figures.

use std::collections::VecDeque;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use std::net::IpAddr;

use super::*;
use crate::domain::balance::HashKey;

const REQUESTS: u64 = 10_000;

#[test]
fn round_robin_is_exact() {
    let hits = hits(&pool(Policy::RoundRobin, &[1; 8]), REQUESTS);
    println!("round_robin of 8: {hits:?}");
    assert_eq!(hits, [1_250; 8]);
}

#[test]
fn weights_are_kept_within_one_percent() {
    let weights = [1, 2, 3, 10, 0];
    for policy in but_hashing() {
        let pool = pool(policy.clone(), &weights);
        let hits = simulate(&pool, 160, |number| draw(balance::mix(number)));
        let shares: Vec<_> = hits.iter().map(|it| f64::from(*it) / REQUESTS as f64).collect();
        println!("{policy} by {weights:?}: {shares:.4?}");
        for (share, weight) in shares.iter().zip(weights) {
            let expected = f64::from(weight) / 16.0;
            assert!((share - expected).abs() <= 0.01, "{policy}: {share} of {expected}");
        }
    }
}

#[test]
fn no_replica_gets_much_more_than_its_share() {
    for policy in but_hashing() {
        let pool = pool(policy.clone(), &[1; 8]);
        let hits = simulate(&pool, 100, |number| draw(balance::mix(number)));
        println!("{policy} of 8: max/mean {:.3}", max_by_mean(&hits));
        let bound = if policy == Policy::Random { 1.10 } else { 1.06 };
        assert!(max_by_mean(&hits) <= bound, "{policy}: {hits:?}");
    }
}

#[test]
fn hashes_keep_within_their_bound_however_unevenly_keys_are_asked_for() {
    let skew = |number: u64| {
        // A third of all requests ask for one key, a third for one of ten.
        let random = balance::mix(number);
        match random % 3 {
            0 => 0,
            1 => 1 + (random >> 8) % 10,
            _ => 100 + (random >> 8) % 1_000,
        }
    };
    let even = |number| balance::mix(number) % 1_000;
    for (shape, key_of) in [("even", &even as &dyn Fn(u64) -> u64), ("skewed", &skew)] {
        for hashed in hashed() {
            let pool = pool(Policy::Hash(hashed), &[1; 8]);
            let hits = simulate(&pool, 100, |number| {
                let (headers, target) = saying(key_of(number));
                Draw { wanted: pool.wanted(&headers, &target), ..draw(balance::mix(number)) }
            });
            let policy = &pool.settings.policy;
            println!("{policy} of 8, {shape} keys: max/mean {:.3}", max_by_mean(&hits));
            assert!(max_by_mean(&hits) <= 1.25, "{policy}, {shape}: {hits:?}");
        }
    }
}

#[test]
fn what_moves_when_a_replica_leaves_is_its_own_share() {
    for count in [2, 5, 8, 20] {
        for policy in hashed().map(Policy::Hash).chain([Policy::IpHash]) {
            let pool = pool(policy, &vec![1; count]);
            let before: Vec<_> = (0..REQUESTS).map(|key| pick_by(&pool, key)).collect();
            pool.endpoints[1].vitals.set_state(State::Gone);
            let moved = (0..).zip(&before).filter(|(key, slot)| pick_by(&pool, *key) != **slot);
            let moved = moved.count() as f64 / REQUESTS as f64;
            let policy = &pool.settings.policy;
            println!("{policy} of {count}: {:.2} % move when one leaves", moved * 100.0);
            assert!(moved <= 1.0 / count as f64 + 0.02, "{policy} of {count}: {moved}");
            assert!(moved > 0.5 / count as f64, "{policy} of {count}: {moved}");
        }
    }
}

#[test]
fn what_is_not_there_to_be_hashed_is_balanced_in_turn() {
    for hashed in hashed().filter(|it| *it != HashKey::Uri) {
        let pool = pool(Policy::Hash(hashed), &[1; 5]);
        for headers in
            [HeaderMap::new(), HeaderMap::from_iter([(X_USER, HeaderValue::from_static(""))])]
        {
            let wanted = pool.wanted(&headers, "/");
            let mut hits = [0; 5];
            for number in 0..50 {
                let draw = Draw { wanted, ..draw(balance::mix(number)) };
                hits[slot(pool.pick(draw, &Tried::default()).unwrap())] += 1;
            }
            assert_eq!(hits, [10; 5]);
        }
    }
}

proptest! {
    #[test]
    fn a_key_that_stays_meets_the_same_replica(key: u64, count in 1_usize..30, random: u64) {
        for hashed in hashed() {
            let pool = pool(Policy::Hash(hashed), &vec![1; count]);
            let (headers, target) = saying(key);
            let wanted = pool.wanted(&headers, &target);
            let one = pool.pick(Draw { wanted, ..draw(0) }, &Tried::default());
            let other = pool.pick(Draw { wanted, ..draw(random) }, &Tried::default());
            prop_assert_eq!(one.map(slot), other.map(slot));
        }
    }
}

/// Picks while the last `in_flight` requests are not answered yet.
fn simulate<'a>(pool: &'a Pool, in_flight: usize, draw: impl Fn(u64) -> Draw<'a>) -> Vec<u32> {
    let mut hits = vec![0; pool.endpoints.len()];
    let mut busy = VecDeque::new();
    for number in 0..REQUESTS {
        let endpoint = pool.pick(draw(number), &Tried::default()).unwrap();
        hits[slot(endpoint)] += 1;
        endpoint.vitals.latency.record(Duration::from_millis(20), start());
        busy.push_back(endpoint.vitals.begin());
        if busy.len() > in_flight {
            busy.pop_front();
        }
    }
    hits
}

fn pick_by(pool: &Pool, key: u64) -> usize {
    let (headers, target) = saying(key);
    let client = IpAddr::from(u32::try_from(key).unwrap().to_be_bytes());
    let draw = Draw { client, wanted: pool.wanted(&headers, &target), ..draw(0) };
    slot(pool.pick(draw, &Tried::default()).unwrap())
}

fn max_by_mean(hits: &[u32]) -> f64 {
    let mean = hits.iter().copied().map(f64::from).sum::<f64>() / hits.len() as f64;
    f64::from(*hits.iter().max().unwrap()) / mean
}

/// A request that says one thing in every way.
fn saying(key: u64) -> (HeaderMap, String) {
    let cookie = HeaderValue::try_from(format!("a=b; session={key}")).unwrap();
    let user = HeaderValue::try_from(format!("user-{key}")).unwrap();
    let headers = HeaderMap::from_iter([(X_USER, user), (http::header::COOKIE, cookie)]);
    (headers, format!("/item/{key}?x=1"))
}

fn hashed() -> impl Iterator<Item = HashKey> {
    [HashKey::Header(X_USER), HashKey::Cookie("session".into()), HashKey::Uri].into_iter()
}

fn but_hashing() -> impl Iterator<Item = Policy> {
    Policy::PLAIN.into_iter().filter(|policy| *policy != Policy::IpHash)
}

const X_USER: HeaderName = HeaderName::from_static("x-user");
