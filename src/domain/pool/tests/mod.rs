//! Who is chosen, policy by policy.

mod affinity;
mod distribution;
mod explain;
mod peak_ewma;
mod slow_start;

use std::net::Ipv4Addr;
use std::time::Instant;

use super::*;
use crate::domain::balance;
use crate::domain::lifecycle::State;

/// How many of so many requests each endpoint gets.
fn hits(pool: &Pool, count: u64) -> Vec<u32> {
    let mut hits = vec![0; pool.endpoints.len()];
    for number in 0..count {
        let endpoint = pool.pick(draw(balance::mix(number)), &Tried::default()).unwrap();
        hits[slot(endpoint)] += 1;
    }
    hits
}

fn slot(endpoint: &Endpoint) -> usize {
    usize::try_from(endpoint.vitals.serial()).unwrap()
}

fn draw(random: u64) -> Draw<'static> {
    let now = start() + Duration::from_secs(1000);
    Draw { random, client: Ipv4Addr::LOCALHOST.into(), now, wanted: Wanted::default() }
}

/// A pool of ready endpoints with these weights.
fn pool(policy: Policy, weights: &[u16]) -> Pool {
    let endpoints = (0..).zip(weights).map(|(slot, weight)| endpoint(slot, 1000, *weight));
    pool_of(PoolSettings { policy, ..PoolSettings::default() }, endpoints.collect())
}

fn pool_of(settings: PoolSettings, endpoints: Vec<Endpoint>) -> Pool {
    let name = PoolName::new(None, "shop").unwrap();
    let host_names: Vec<_> =
        (0..endpoints.len()).map(|at| Some(format!("Host-{at}").into())).collect();
    let states: Vec<_> = endpoints.iter().map(|it| it.vitals.state()).collect();
    let key = StickyKey::new(b"0123456789abcdef");
    Pool {
        label: name.to_string().into(),
        tiers: Tiers::build(&endpoints, &states),
        names: Names::build(&settings.affinity, &endpoints, host_names.iter().map(Option::as_ref)),
        sessions: Sessions::build(&name, &settings.affinity, &endpoints, Some(&key)),
        name,
        settings,
        endpoints,
        routes: Routes::default(),
        state: Arc::default(),
    }
}

/// One that has been ready for so many seconds.
fn endpoint(slot: u16, age: u64, weight: u16) -> Endpoint {
    let vitals = Vitals::new(u64::from(slot));
    vitals.set_state(State::Ready);
    vitals.note_ready(start() + Duration::from_secs(1000 - age));
    let name: Arc<str> = format!("shop-{slot}").into();
    Endpoint {
        id: EndpointId {
            workload: WorkloadId { id: Arc::clone(&name), life: 0 },
            address: (Ipv4Addr::LOCALHOST, slot).into(),
            scheme: Scheme::Http,
        },
        seed: balance::seed(&name),
        name,
        service: None,
        weight,
        backup: false,
        max_conns: None,
        check: None,
        vitals: Arc::new(vitals),
        tally: Arc::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}
