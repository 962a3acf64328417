//! Who is chosen while some endpoints are ejected or full.

use std::net::Ipv4Addr;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::domain::balance;
use crate::domain::lifecycle::{Outliers, Probe, State, Trouble};

const LIMITS: Outliers = Outliers { max_fails: 2, fail_timeout: Duration::from_secs(10) };

#[test]
fn the_last_one_in_service_stays_unless_a_backup_is_ready() {
    for (endpoints, ejected) in [
        (vec![primary(), primary()], true),
        (vec![primary(), backup()], true),
        (vec![backup(), primary()], true),
        (vec![primary()], false),
        (vec![primary(), Endpoint { weight: 0, ..primary() }], false),
    ] {
        let pool = pool(endpoints);
        fail(&pool, 0, 2, start());
        assert_eq!(pool.endpoints[0].vitals.is_ejected(), ejected, "{:?}", pool.endpoints);
    }
}

#[test]
fn who_serves_only_by_its_name_is_not_ejected() {
    let pool = pool(vec![Endpoint { weight: 0, ..primary() }, primary()]);
    fail(&pool, 0, 5, start());
    assert!(!pool.endpoints[0].vitals.is_ejected());
}

#[test]
fn one_that_is_suspect_keeps_nobody_in_service() {
    let pool = pool(vec![primary(), primary()]);
    pool.endpoints[1].vitals.suspect();
    fail(&pool, 0, 5, start());
    assert!(!pool.endpoints[0].vitals.is_ejected());
}

#[test]
fn where_all_are_ejected_at_once_they_serve_all_the_same() {
    let pool = pool(vec![primary(), primary()]);
    for endpoint in &pool.endpoints {
        // Each by a worker that still saw the other in service.
        for _ in 0..2 {
            endpoint.vitals.begin().failed(Trouble::Reset, start(), LIMITS, || true);
        }
    }
    let pool = refreshed(&pool);
    assert!(pool.pick(draw(start()), &Tried::default()).is_some());
}

#[test]
fn a_trial_is_for_one_that_accepts_connections_and_for_a_backup_that_is_needed() {
    let later = start() + Duration::from_secs(10);
    let trial = |pool: &Pool| pool.pick_trial(draw(later), true).map(|(it, _)| it.vitals.serial());
    let pool = refreshed_after_ejecting(vec![primary(), backup(), primary()], &[0, 1]);
    let [first, backup, third] = [0, 1, 2].map(|at| pool.endpoints[at].vitals.serial());
    assert_eq!(trial(&pool), Some(first));
    pool.endpoints[0].vitals.suspect();
    assert_eq!(trial(&pool), None, "{third} serves");
    pool.endpoints[2].vitals.set_state(State::Unhealthy);
    assert_eq!(trial(&pool), Some(backup));
}

#[test]
fn what_is_full_is_passed_over_for_others_then_for_backups_and_for_nothing_worse() {
    let limited = |endpoint| Endpoint { max_conns: NonZeroU32::new(1), ..endpoint };
    let mut pool = pool(vec![limited(primary()), limited(backup()), primary()]);
    pool.endpoints[2].vitals.set_state(State::Unhealthy);
    pool = refreshed(&pool);
    let none = Tried::default();
    let pick = || pool.pick(draw(start()), &none).map(|it| it.vitals.serial());
    let serials: Vec<_> = pool.endpoints.iter().map(|it| it.vitals.serial()).collect();
    let mut held = Vec::new();
    for expected in [0, 1] {
        assert_eq!(pick(), Some(serials[expected]));
        held.extend(pool.endpoints[expected].begin(&pool.state));
        assert!(pool.endpoints[expected].begin(&pool.state).is_none(), "it is full");
    }
    assert_eq!(pick(), None, "a place is waited for");
    assert!(pool.is_full(Wanted::default(), &none));
    // What was tried in vain is not waited for.
    let mut tried = Tried::default();
    pool.endpoints[..2].iter().for_each(|it| tried.add(Tried::mark(it)));
    let chosen = pool.pick(draw(start()), &tried).map(|it| it.vitals.serial());
    assert_eq!(chosen, Some(serials[2]));
    drop(held);
    assert!(pool.is_full(Wanted::default(), &none), "who found none may wait for what is free now");
    assert_eq!(pick(), Some(serials[0]));
}

#[test]
fn an_endpoint_that_is_ejected_and_heard_of_again_has_not_been_tried() {
    let pool = pool(vec![primary(), primary()]);
    let endpoint = &pool.endpoints[0];
    fail(&pool, 0, 2, start());
    endpoint.vitals.suspect();
    let mut tried = Tried::default();
    tried.add(Tried::mark(endpoint));
    let conclude = |probe| {
        let ticket = endpoint.vitals.begin_probe().unwrap();
        endpoint.vitals.conclude(ticket, probe)
    };
    assert!(conclude(Probe::Failed) && tried.contains(endpoint));
    assert!(conclude(Probe::Passed) && !tried.contains(endpoint));
    assert_eq!(endpoint.vitals.state(), State::Ejected);
}

#[test]
fn who_would_have_to_queue_elsewhere_has_no_other() {
    let mut pool = pool(vec![Endpoint { max_conns: NonZeroU32::new(1), ..primary() }]);
    pool = refreshed(&pool);
    assert!(pool.has_other(&Tried::default()));
    let _first = pool.state.queue_up(1).unwrap();
    assert!(!pool.has_other(&Tried::default()));
}

proptest! {
    /// Whatever fails, one is in service, and each request finds somebody.
    #[test]
    fn one_endpoint_is_always_in_service(
        count in 1_usize..5,
        steps in vec((0_usize..5, 0_u8..4, 0_u64..12_000), 1..80),
    ) {
        let mut pool = pool((0..count).map(|_| primary()).collect());
        let mut now = start();
        for (which, step, wait) in steps {
            now += Duration::from_millis(wait);
            match step {
                0 | 1 => fail(&pool, which % count, 1, now),
                2 => {
                    let trial = pool.pick_trial(draw(now), true);
                    if let Some((endpoint, trial)) = trial {
                        endpoint.vitals.begin().on_trial(trial).succeeded(|| now);
                    }
                }
                _ => pool = refreshed(&pool),
            }
            let serves = |it: &Endpoint| it.vitals.state().serves() || !it.vitals.is_ejected();
            prop_assert!(pool.endpoints.iter().any(serves));
            pool = refreshed(&pool);
            prop_assert!(pool.pick(draw(now), &Tried::default()).is_some());
        }
    }
}

fn fail(pool: &Pool, at: usize, times: u32, now: Instant) {
    let endpoint = &pool.endpoints[at];
    for _ in 0..times {
        let spared = || pool.can_spare(endpoint);
        endpoint.vitals.begin().failed(Trouble::Reset, now, LIMITS, spared);
    }
}

fn refreshed_after_ejecting(endpoints: Vec<Endpoint>, ejected: &[usize]) -> Pool {
    let pool = pool(endpoints);
    ejected.iter().for_each(|&at| fail(&pool, at, 2, start()));
    refreshed(&pool)
}

/// As the control loop makes it anew of its live signs.
fn refreshed(pool: &Pool) -> Pool {
    for endpoint in &pool.endpoints {
        let vitals = &endpoint.vitals;
        if vitals.state() == State::Ejected && !vitals.is_ejected() {
            vitals.set_state(State::Ready);
        }
    }
    let states: Vec<_> = pool.endpoints.iter().map(|it| it.vitals.state()).collect();
    Pool {
        name: pool.name.clone(),
        label: Arc::clone(&pool.label),
        settings: pool.settings.clone(),
        names: None,
        sessions: None,
        routes: Routes::default(),
        tiers: Tiers::build(&pool.endpoints, &states),
        endpoints: pool.endpoints.clone(),
        state: Arc::clone(&pool.state),
    }
}

fn pool(endpoints: Vec<Endpoint>) -> Pool {
    let name = PoolName::new(None, "shop").unwrap();
    refreshed(&Pool {
        label: name.to_string().into(),
        name,
        settings: PoolSettings::default(),
        names: None,
        sessions: None,
        tiers: Tiers::default(),
        endpoints,
        routes: Routes::default(),
        state: Arc::default(),
    })
}

fn draw(now: Instant) -> Draw<'static> {
    let wanted = Wanted::default();
    Draw { random: 7, client: Ipv4Addr::LOCALHOST.into(), now, wanted }
}

fn backup() -> Endpoint {
    Endpoint { backup: true, ..primary() }
}

fn primary() -> Endpoint {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let vitals = Vitals::new(SERIAL.fetch_add(1, Ordering::Relaxed));
    vitals.set_state(State::Ready);
    vitals.set_probe(Probe::Passed);
    let name: Arc<str> = format!("shop-{}", vitals.serial()).into();
    let workload = WorkloadId { id: Arc::clone(&name), life: 0 };
    Endpoint {
        id: EndpointId {
            workload,
            address: (Ipv4Addr::LOCALHOST, 80).into(),
            scheme: Scheme::Http,
        },
        seed: balance::seed(&name),
        name,
        service: None,
        weight: 1,
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
