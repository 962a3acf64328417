//! What is foreseen of a choice is what comes of it.

use super::*;
use crate::domain::balance::HashKey;
use crate::domain::lifecycle::{Outliers, Probe, Trouble};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn each_endpoint_is_told_why_it_is_not_chosen() {
    let mut endpoints: Vec<_> = (0..7).map(|slot| endpoint(slot, 1000, 1)).collect();
    endpoints[2].weight = 0;
    endpoints[3].backup = true;
    endpoints[4].max_conns = NonZeroU32::new(1);
    let _busy = endpoints[4].vitals.begin();
    endpoints[5].vitals.set_state(State::Unhealthy);
    let pool = pool_of(PoolSettings::default(), endpoints);
    pool.endpoints[6].vitals.set_state(State::Gone);
    let foreseen = pool.foresee(draw(0), true);
    let standings: Vec<_> = foreseen.candidates.iter().map(|it| (it.stage, it.standing)).collect();
    let primary = Some(Stage::Primary);
    assert_eq!(
        standings,
        [
            (primary, Standing::Chosen),
            (primary, Standing::Passed),
            (None, Standing::NoWeight),
            (Some(Stage::Backup), Standing::Later),
            (primary, Standing::Full),
            (Some(Stage::Last), Standing::Later),
            (primary, Standing::NotServing),
        ]
    );
}

#[test]
fn where_nobody_serves_it_is_told_what_is_waited_for() {
    let mut endpoints = vec![endpoint(0, 1000, 1)];
    endpoints[0].max_conns = NonZeroU32::new(1);
    let pool = pool_of(PoolSettings::default(), endpoints);
    assert!(pool.foresee(draw(0), true).outcome.is_ok());
    let busy = pool.endpoints[0].vitals.begin();
    assert_eq!(pool.foresee(draw(0), true).outcome.unwrap_err(), Wait::Place);
    let spot = pool.state.queue_up(1);
    drop(busy);
    assert_eq!(pool.foresee(draw(0), true).outcome.unwrap_err(), Wait::InLine);
    drop(spot);
    pool.endpoints[0].vitals.set_state(State::Gone);
    assert_eq!(pool.foresee(draw(0), true).outcome.unwrap_err(), Wait::Replica);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Ten requests of each of a thousand pools.
    #[test]
    fn what_is_foreseen_is_what_is_chosen(
        pool in pools(),
        requests in proptest::collection::vec(
            (any::<u64>(), any::<bool>(), select(vec!["", "shop-1", "app", "shop-3"]), 0..9_u8), 10,
        ),
    ) {
        let mut held = Vec::new();
        for (random, repeatable, name, home) in requests {
            let mut headers = HeaderMap::new();
            headers.insert(APP, HeaderValue::from_static(name));
            if let Some(home) = pool.endpoints.get(usize::from(home))
                && let Some(set) = pool.cookie_for(home, &Wanted::default(), || false)
            {
                headers.insert(http::header::COOKIE, set);
            }
            let wanted = pool.wanted(&headers, "/x");
            let client = Ipv4Addr::from_bits(u32::try_from(random >> 32).unwrap()).into();
            let draw = Draw { wanted, client, ..draw(random) };
            let serial = |it: &Endpoint| it.vitals.serial();
            let foreseen = |()| pool.foresee(draw, repeatable).outcome.map(|(it, stage)| (serial(it), stage));
            let first = foreseen(());
            prop_assert_eq!(first, foreseen(()), "to look changes nothing");
            let trial = pool.pick_trial(draw, repeatable).map(|(it, trial)| (serial(it), trial));
            let live = match &trial {
                Some((serial, _)) => Some(*serial),
                None => pool
                    .choose(draw, &Tried::default(), || repeatable, || false)
                    .map(serial),
            };
            prop_assert_eq!(first.ok().map(|(serial, _)| serial), live);
            prop_assert_eq!(trial.is_some(), first.is_ok_and(|(_, stage)| stage == Stage::Trial));
            if live.is_none() {
                let is_full = pool.is_full_at_last(draw.wanted, &Tried::default());
                prop_assert_eq!(first.unwrap_err() == Wait::Place, is_full);
            }
            let chosen = pool.endpoints.iter().find(|it| Some(serial(it)) == live);
            held.extend(chosen.map(|it| it.vitals.begin()));
        }
    }
}

/// Pools of any policy, with replicas in any state.
fn pools() -> impl Strategy<Value = Pool> {
    let hash = Policy::Hash(HashKey::Header(APP));
    let policies: Vec<_> = Policy::PLAIN.into_iter().chain([hash]).collect();
    let stickies = vec![None, Some(Sticky::Cookie(None)), Some(Sticky::Ip)];
    let replica = (
        select(vec![
            State::Ready,
            State::Ready,
            State::Ready,
            State::Starting,
            State::Unhealthy,
            State::Suspect,
            State::Ejected,
            State::Draining,
            State::Gone,
        ]),
        0..3_u16,
        proptest::bool::weighted(0.2),
        proptest::option::of(1..3_u32),
        select(vec![1, 500, 2000_u64]),
    );
    let replicas = proptest::collection::vec(replica, 1..7);
    let slow = select(vec![Duration::ZERO, Duration::from_secs(600)]);
    (select(policies), select(stickies), any::<bool>(), slow, replicas).prop_map(
        |(policy, sticky, pins, slow_start, replicas)| {
            let endpoints =
                (0..).zip(replicas).map(|(slot, (state, weight, backup, most, age))| {
                    let mut endpoint = endpoint(slot, age.min(1000), weight);
                    endpoint.backup = backup;
                    endpoint.max_conns = most.and_then(NonZeroU32::new);
                    endpoint.service = (slot % 2 == 0).then(|| "app".into());
                    if state == State::Ejected {
                        let limits =
                            Outliers { max_fails: 1, fail_timeout: Duration::from_secs(age) };
                        let vitals = &endpoint.vitals;
                        vitals.begin().failed(Trouble::Reset, start(), limits, || true);
                    } else {
                        endpoint.vitals.set_state(state);
                    }
                    if state == State::Draining {
                        endpoint.vitals.set_probe(Probe::Passed);
                    }
                    endpoint
                });
            let pin_header = pins.then_some(APP);
            let affinity = Affinity { pin_header, pin_cookie: None, sticky };
            let settings = PoolSettings { policy, affinity, slow_start, ..Default::default() };
            pool_of(settings, endpoints.collect())
        },
    )
}

const APP: HeaderName = HeaderName::from_static("app");
