//! `peak_ewma` in virtual time: replicas that are slow, fail fast, or are new.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

#[test]
fn one_slow_replica_of_eight_is_hardly_felt() {
    let healthy = play(&[Kind::Healthy; 8]);
    let slowed = play(&one_of_eight(Kind::Slow(20)));
    let ratio = slowed.p99().as_secs_f64() / healthy.p99().as_secs_f64();
    println!(
        "peak_ewma of 8, one slowed 20 times: p99 {:?}, healthy {:?}, ratio {ratio:.3}; its share {:.3} %",
        slowed.p99(),
        healthy.p99(),
        slowed.share(SICK) * 100.0,
    );
    assert!(ratio <= 1.5, "{ratio}");
}

#[test]
fn who_fails_fast_gets_hardly_anything() {
    let played = play(&one_of_eight(Kind::FailsFast));
    println!("peak_ewma of 8, one fails fast: its share {:.3} %", played.share(SICK) * 100.0);
    assert!(played.share(SICK) < 0.02, "{}", played.share(SICK));
}

#[test]
fn who_is_well_again_gets_its_share_again() {
    let played = play(&one_of_eight(Kind::SlowAtFirst(20)));
    let share = played.late_share(SICK);
    println!(
        "peak_ewma of 8, one slow for the first minute: its share after two {:.1} %",
        share * 100.0
    );
    assert!((0.10..0.15).contains(&share), "{share}");
}

#[test]
fn healthy_replicas_share_alike() {
    let played = play(&[Kind::Healthy; 8]);
    let shares: Vec<_> = (0..8).map(|at| played.share(at)).collect();
    println!("peak_ewma of 8 healthy: shares {shares:.4?}");
    assert!(shares.iter().all(|share| (share - 0.125).abs() < 0.02), "{shares:?}");
}

#[test]
fn a_new_replica_gets_one_request_until_it_has_answered_one() {
    let pool = pool(Policy::PeakEwma, &[1; 3]);
    for at in [0, 1] {
        pool.endpoints[at].vitals.latency.record(Duration::from_millis(20), start());
    }
    let pick = |number| {
        let draw = Draw { now: start(), ..draw(balance::mix(number)) };
        pool.pick(draw, &Tried::default()).unwrap()
    };
    let first = (0..).map(pick).find(|it| slot(it) == 2).unwrap();
    let _asked = first.vitals.begin();
    assert!((0..1_000).all(|number| slot(pick(number)) != 2));
    first.vitals.latency.record(Duration::from_millis(1), start());
    assert!((0..1_000).any(|number| slot(pick(number)) == 2));
}

#[test]
fn a_slow_start_holds_a_fast_newcomer_back() {
    let slow_start = Duration::from_secs(100);
    let settings = PoolSettings { policy: Policy::PeakEwma, slow_start, ..Default::default() };
    let endpoints = vec![endpoint(0, 1000, 1), endpoint(1, 1000, 1), endpoint(2, 0, 1)];
    let pool = pool_of(settings, endpoints);
    for endpoint in &pool.endpoints {
        endpoint.vitals.latency.record(Duration::from_millis(20), start());
    }
    let hits = hits(&pool, 10_000);
    assert!((100..1_000).contains(&hits[2]), "{hits:?}");
}

/// How a replica behaves.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Healthy,
    /// So many times slower.
    Slow(u32),
    /// As slow for the first minute.
    SlowAtFirst(u32),
    /// It answers 500 after a millisecond.
    FailsFast,
}

/// Three minutes of requests: when each came, who got it, and how long it took.
struct Played(Vec<(Duration, usize, Duration)>);

impl Played {
    fn p99(&self) -> Duration {
        let mut took: Vec<_> = self.0.iter().map(|(_, _, took)| *took).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    fn share(&self, at: usize) -> f64 {
        self.0.iter().filter(|(_, slot, _)| *slot == at).count() as f64 / self.0.len() as f64
    }

    fn late_share(&self, at: usize) -> f64 {
        let late = self.0.iter().filter(|(came, _, _)| *came > Duration::from_secs(120));
        Self(late.copied().collect()).share(at)
    }
}

/// 400 requests a second at random before replicas that take 10 ms and 10 ms more
/// in the mean.
fn play(kinds: &[Kind]) -> Played {
    let pool = pool(Policy::PeakEwma, &vec![1; kinds.len()]);
    let mut random = 1_u64;
    let mut busy = BinaryHeap::new();
    let mut guards = std::collections::HashMap::new();
    let mut played = Vec::new();
    let mut now = Duration::ZERO;
    for number in 0_u64..72_000 {
        random = balance::mix(random);
        now += Duration::from_micros(2_500).mul_f64(exponential(random));
        while let Some(Reverse((ends, _, _))) = busy.peek()
            && *ends <= now
        {
            let Some(Reverse((ends, number, failed))) = busy.pop() else { break };
            let (guard, took): (InFlight, Duration) = guards.remove(&number).unwrap();
            let took = if failed { took.max(PENALTY) } else { took };
            guard.vitals().latency.record(took, start() + ends);
        }
        random = balance::mix(random);
        let draw = Draw { now: start() + now, ..draw(random) };
        let endpoint = pool.pick(draw, &Tried::default()).unwrap();
        random = balance::mix(random);
        let usual = Duration::from_millis(10).mul_f64(1.0 + exponential(random));
        let (took, failed) = match kinds[slot(endpoint)] {
            Kind::Slow(times) => (usual * times, false),
            Kind::SlowAtFirst(times) if now < Duration::from_secs(60) => (usual * times, false),
            Kind::Healthy | Kind::SlowAtFirst(_) => (usual, false),
            Kind::FailsFast => (Duration::from_millis(1), true),
        };
        busy.push(Reverse((now + took, number, failed)));
        guards.insert(number, (endpoint.vitals.begin(), took));
        played.push((now, slot(endpoint), took));
    }
    Played(played)
}

/// With a mean of 1.
fn exponential(random: u64) -> f64 {
    let uniform = (random >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - uniform).ln()
}

fn one_of_eight(kind: Kind) -> [Kind; 8] {
    let mut kinds = [Kind::Healthy; 8];
    kinds[SICK] = kind;
    kinds
}

const SICK: usize = 3;
