//! Requests that say where they belong.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::domain::balance::HashKey;
use crate::domain::lifecycle::{Outliers, Trouble};

#[test]
fn a_replica_is_called_by_its_container_service_or_host_name() {
    let pool = pinned(&[("app", 1), ("app", 1), ("db", 1), ("Cache", 0)]);
    for (name, slots) in [
        ("shop-2", &[2][..]),
        ("SHOP-2", &[2]),
        ("host-1", &[1]),
        ("HOST-3", &[3]),
        ("app", &[0, 1]),
        ("cache", &[3]),
        ("db", &[2]),
        // Whoever is not known is balanced, among those with a weight.
        ("ap", &[0, 1, 2]),
        ("", &[0, 1, 2]),
    ] {
        for headers in [header(name), cookies(&format!("app={name}"))] {
            assert_eq!(reached(&pool, &headers), slots, "{name}");
        }
    }
    assert_eq!(reached(&pool, &HeaderMap::new()), [0, 1, 2]);
}

#[test]
fn the_header_counts_before_the_cookie_and_that_before_the_session() {
    let pool = pinned(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let session = session_of(&pool, 2);
    let mut headers = cookies(&format!("app=b; {session}"));
    headers.extend(header("a"));
    for (gone, slots) in [(None, &[0][..]), (Some(0), &[1]), (Some(1), &[2]), (Some(2), &[3])] {
        if let Some(gone) = gone {
            pool.endpoints[gone].vitals.set_state(State::Draining);
        }
        assert_eq!(reached(&pool, &headers), slots, "after {gone:?}");
    }
}

#[test]
fn after_a_failed_attempt_the_others_are_tried() {
    let pool = pinned(&[("a", 1), ("b", 1), ("b", 1)]);
    let headers = header("b");
    let draw = Draw { wanted: pool.wanted(&headers, "/"), ..draw(0) };
    let mut tried = Tried::default();
    let mut order = Vec::new();
    while let Some(endpoint) = pool.pick(draw, &tried) {
        order.push(slot(endpoint));
        tried.add(Tried::mark(endpoint));
    }
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn named_requests_take_no_turns_of_the_others() {
    let pool = pinned(&[("a", 1), ("b", 1), ("b", 1)]);
    let (mut named, mut others) = ([0; 3], [0; 3]);
    for number in 0..30 {
        for (headers, hits) in [(header("b"), &mut named), (HeaderMap::new(), &mut others)] {
            let draw = Draw { wanted: pool.wanted(&headers, "/"), ..draw(number) };
            hits[slot(pool.pick(draw, &Tried::default()).unwrap())] += 1;
        }
    }
    assert_eq!((named, others), ([0, 15, 15], [10, 10, 10]));
}

#[test]
fn who_names_an_ejected_replica_tries_it_and_takes_no_turn_by_asking() {
    let services = [("a", 1), ("b", 1), ("b", 1), ("b", 1)];
    let pool = ejected(pinned(&services), 3);
    let (a, b) = (header("a"), header("b"));
    let trial = |headers: &HeaderMap| {
        let draw = Draw { wanted: pool.wanted(headers, "/"), ..draw(0) };
        let trial = pool.pick_trial(draw, true);
        let next = slot(pool.pick(draw, &Tried::default()).unwrap());
        (trial.map(|(it, _)| slot(it)), next)
    };
    assert_eq!(trial(&a), (None, 0), "it serves those who name it");
    assert_eq!([trial(&b), trial(&b), trial(&b)], [(Some(3), 1), (Some(3), 2), (Some(3), 1)]);
    assert_eq!(trial(&cookies(&session_of(&pool, 1))), (None, 1));
    assert_eq!(trial(&cookies(&session_of(&pool, 3))).0, Some(3));
    assert_eq!(trial(&HeaderMap::new()).0, Some(3));
}

#[test]
fn a_place_at_a_replica_of_weight_0_is_waited_for_by_who_names_it() {
    let mut endpoints = vec![endpoint(0, 1000, 0), endpoint(1, 1000, 0)];
    endpoints.iter_mut().for_each(|it| it.max_conns = NonZeroU32::new(1));
    let affinity = Affinity { pin_header: Some(APP), ..Affinity::default() };
    let pool = pool_of(PoolSettings { affinity, ..PoolSettings::default() }, endpoints);
    let waits = |name| pool.is_full(pool.wanted(&header(name), "/"), &Tried::default());
    assert!(waits("shop-0") && waits("host-1") && !waits("shop"));
}

#[test]
fn a_client_with_a_cookie_comes_back_whatever_the_weight_and_to_a_backup_while_it_is_needed() {
    let mut endpoints = vec![endpoint(0, 1000, 1), endpoint(1, 1000, 0)];
    for slot in [2, 3] {
        endpoints.push(Endpoint { backup: true, ..endpoint(slot, 1000, 1) });
    }
    let pool = pool_of(by_cookie(None), endpoints);
    assert_eq!(hits(&pool, 20), [20, 0, 0, 0]);
    let sessions: Vec<_> = (0..4).map(|at| cookies(&session_of(&pool, at))).collect();
    for (at, met) in [(0, 0), (1, 1), (2, 0), (3, 0)] {
        assert_eq!(reached(&pool, &sessions[at]), [met]);
    }
    let set = |at: usize, headers| {
        pool.cookie_for(&pool.endpoints[at], &pool.wanted(headers, "/"), || false).is_some()
    };
    assert!(set(0, &sessions[3]), "it is at home there from now on");
    pool.endpoints[0].vitals.set_state(State::Draining);
    for (at, session) in sessions.iter().enumerate().skip(1) {
        assert_eq!(reached(&pool, session), [at]);
        assert!(!set(at, session));
    }
}

#[test]
fn who_is_away_for_a_moment_keeps_its_sessions_and_another_one_stands_in() {
    for (state, moves) in [
        (State::Suspect, false),
        (State::Paused, false),
        (State::Unhealthy, true),
        (State::Ejected, true),
        (State::Draining, true),
        (State::Gone, true),
    ] {
        let pool = sticky(5);
        let session = cookies(&session_of(&pool, 1));
        pool.endpoints[1].vitals.set_state(state);
        let wanted = pool.wanted(&session, "/");
        // It may be back before the answer comes.
        pool.endpoints[1].vitals.set_state(State::Ready);
        let set = pool.cookie_for(&pool.endpoints[2], &wanted, || false);
        assert_eq!(set.is_some(), moves, "{state:?}");
        pool.endpoints[1].vitals.set_state(state);
        let stand_ins = reached(&pool, &session);
        assert_eq!(stand_ins.len() > 1, moves, "{state:?}: {stand_ins:?}");
        assert!(!stand_ins.contains(&1), "{state:?}");
        pool.endpoints[1].vitals.set_state(State::Ready);
        assert_eq!(reached(&pool, &session), [1]);
    }
}

#[test]
fn those_of_a_name_share_alike_where_none_has_a_weight() {
    let hashed = Policy::Hash(HashKey::Header(HeaderName::from_static("user")));
    for policy in Policy::PLAIN.into_iter().chain([hashed]) {
        let affinity = Affinity { pin_header: Some(APP), ..Affinity::default() };
        let settings = PoolSettings { affinity, policy: policy.clone(), ..Default::default() };
        let endpoints = (0..2).map(|slot| {
            let service = Some("app".into());
            Endpoint { service, ..endpoint(slot, 1000, 0) }
        });
        let pool = pool_of(settings, endpoints.collect());
        let _busy: Vec<_> = (0..30).map(|_| pool.endpoints[0].vitals.begin()).collect();
        let mut hits = [0; 2];
        for number in 0..200_u64 {
            let mut headers = header("app");
            headers.insert("user", HeaderValue::from(number));
            let client = Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into();
            let wanted = pool.wanted(&headers, "/");
            let draw = Draw { wanted, client, ..draw(balance::mix(number)) };
            hits[slot(pool.pick(draw, &Tried::default()).unwrap())] += 1;
        }
        let by_load = matches!(
            policy,
            Policy::LeastRequest | Policy::P2c | Policy::PeakEwma | Policy::Hash(_)
        );
        let alike = hits.iter().all(|hits| *hits > 60);
        assert!(if by_load { hits == [0, 200] } else { alike }, "{policy}: {hits:?}");
    }
}

#[test]
fn only_a_cookie_of_this_very_pool_is_believed() {
    let pool = sticky(3);
    let good = session_of(&pool, 1);
    let (name, token) = good.split_once('=').unwrap();
    assert!(name.starts_with("evenkeel-") && name.len() == 17, "{name}");
    assert_eq!(token.len(), 22);
    let other_name = PoolName::new(Some("other"), "shop").unwrap();
    let key = StickyKey::new(b"0123456789abcdef");
    let affinity = &pool.settings.affinity;
    let foreign = Sessions::build(&other_name, affinity, &pool.endpoints, Some(&key)).unwrap();
    let other_key = StickyKey::new(b"0123456789abcdeg");
    let forged = Sessions::build(&pool.name, affinity, &pool.endpoints, Some(&other_key)).unwrap();
    assert_ne!(foreign.cookie(), name);
    for (cookie, is_ours) in [
        (good.clone(), true),
        (format!("{name}=\"{token}\""), true),
        (format!("{name}={}", token.to_lowercase()), false),
        (format!("{name}={token}="), false),
        (format!("{name}={}", &token[1..]), false),
        (format!("{name}="), false),
        (format!("{name}=shop-1"), false),
        (format!("{name}=wrong; {good}"), false),
        (format!("x{good}"), false),
    ] {
        let headers = cookies(&cookie);
        assert_eq!(pool.wanted(&headers, "/").session, is_ours.then_some(1), "{cookie}");
    }
    let tokens = |sessions: &Sessions| (0..3).map(|at| token_of(sessions, at)).collect::<Vec<_>>();
    let ours = tokens(pool.sessions.as_ref().unwrap());
    for others in [tokens(&foreign), tokens(&forged)] {
        assert!(others.iter().all(|it| !ours.contains(it)));
    }
}

#[test]
fn a_cookie_is_set_unless_the_client_has_it_already() {
    let pool = sticky(2);
    let set = |at: usize, headers: &HeaderMap, secure| {
        let wanted = pool.wanted(headers, "/");
        let set = pool.cookie_for(&pool.endpoints[at], &wanted, || secure);
        set.map(|it| it.to_str().unwrap().to_owned())
    };
    let none = HeaderMap::new();
    let session = session_of(&pool, 0);
    assert_eq!(set(0, &none, false).unwrap(), format!("{session}; Path=/; HttpOnly; SameSite=Lax"));
    assert!(set(0, &none, true).unwrap().ends_with("; SameSite=Lax; Secure"));
    assert_eq!(set(0, &cookies(&session), true), None);
    assert!(set(1, &cookies(&session), false).is_some(), "another one answered");
    let named = pool_of(by_cookie(Some("route")), vec![endpoint(0, 1000, 1)]);
    assert!(session_of(&named, 0).starts_with("route="));
}

#[test]
fn a_cookie_outlives_the_lives_of_its_container() {
    let pool = sticky(2);
    let session = session_of(&pool, 1);
    let mut endpoints = vec![endpoint(7, 1000, 1), endpoint(1, 1000, 1)];
    endpoints[1].id.workload.life = 5;
    endpoints[1].id.address.set_ip(Ipv4Addr::new(10, 9, 8, 7).into());
    let next = pool_of(by_cookie(None), endpoints);
    assert_eq!(next.wanted(&cookies(&session), "/").session, Some(1));
    assert_eq!(next.wanted(&cookies(&session_of(&pool, 0)), "/").session, None);
}

#[test]
fn without_a_key_no_cookie_is_set_or_believed() {
    let endpoints = [endpoint(0, 1000, 1)];
    let name = PoolName::new(None, "shop").unwrap();
    assert!(Sessions::build(&name, &by_cookie(None).affinity, &endpoints, None).is_none());
}

#[test]
fn sticky_by_address_decides_before_the_policy_does() {
    let affinity = Affinity { sticky: Some(Sticky::Ip), ..Affinity::default() };
    for policy in Policy::PLAIN {
        let settings = PoolSettings { affinity: affinity.clone(), policy, ..Default::default() };
        let pool = pool_of(settings, (0..5).map(|slot| endpoint(slot, 1000, 1)).collect());
        let hits = hits(&pool, 50);
        assert_eq!(hits.iter().filter(|it| **it > 0).count(), 1, "{hits:?}");
        let home = hits.iter().position(|it| *it > 0).unwrap();
        pool.endpoints[home].vitals.set_state(State::Gone);
        assert_eq!(super::hits(&pool, 50)[home], 0);
    }
}

#[test]
fn a_pool_that_asks_for_nothing_reads_nothing() {
    let pool = pool(Policy::RoundRobin, &[1; 3]);
    assert!(pool.names.is_none() && pool.sessions.is_none());
    let mut headers = header("shop-1");
    headers.extend(cookies(&format!("app=shop-1; {}", session_of(&sticky(3), 1))));
    let wanted = pool.wanted(&headers, "/");
    assert!(wanted.key.is_none() && wanted.session.is_none());
    assert!(wanted.pins.iter().all(Option::is_none));
}

proptest! {
    #[test]
    fn whatever_a_request_says_it_is_served_while_anyone_is_ready(
        name in ".{0,40}", cookie in "[ -~]{0,60}", ready in proptest::collection::vec(any::<bool>(), 4),
    ) {
        let pool = pinned(&[("app", 1), ("app", 2), ("db", 1), ("cache", 1)]);
        for (endpoint, ready) in pool.endpoints.iter().zip(&ready) {
            endpoint.vitals.set_state(if *ready { State::Ready } else { State::Draining });
        }
        let mut headers = cookies(&format!("{cookie}; app={cookie}"));
        if let Ok(value) = HeaderValue::from_bytes(name.as_bytes()) {
            headers.insert(APP, value);
        }
        let draw = Draw { wanted: pool.wanted(&headers, "/"), ..draw(7) };
        let picked = pool.pick(draw, &Tried::default());
        prop_assert_eq!(picked.is_some(), ready.iter().any(|it| *it));
        prop_assert!(picked.is_none_or(|it| it.vitals.state() == State::Ready));
    }
}

/// Who is met in many requests.
fn reached(pool: &Pool, headers: &HeaderMap) -> Vec<usize> {
    let mut reached: Vec<_> = (0..20)
        .map(|number| {
            let wanted = pool.wanted(headers, "/");
            let draw = Draw { wanted, ..draw(balance::mix(number)) };
            slot(pool.pick(draw, &Tried::default()).unwrap())
        })
        .collect();
    reached.sort_unstable();
    reached.dedup();
    reached
}

/// A pool in which a header and a cookie `app` name replicas, sticky besides.
fn pinned(services: &[(&str, u16)]) -> Pool {
    let endpoints = (0..).zip(services).map(|(slot, (service, weight))| {
        let service = Some((*service).into());
        Endpoint { service, ..endpoint(slot, 1000, *weight) }
    });
    let affinity = Affinity {
        pin_header: Some(APP),
        pin_cookie: Some("app".into()),
        sticky: Some(Sticky::Cookie(None)),
    };
    pool_of(PoolSettings { affinity, ..PoolSettings::default() }, endpoints.collect())
}

/// With the endpoint at `at` ejected, for so long that it can be tried.
fn ejected(pool: Pool, at: usize) -> Pool {
    let limits = Outliers { max_fails: 1, fail_timeout: Duration::from_secs(1) };
    let vitals = &pool.endpoints[at].vitals;
    vitals.begin().failed(Trouble::Reset, start(), limits, || true);
    pool_of(pool.settings, pool.endpoints)
}

fn sticky(count: u16) -> Pool {
    pool_of(by_cookie(None), (0..count).map(|slot| endpoint(slot, 1000, 1)).collect())
}

fn by_cookie(name: Option<&str>) -> PoolSettings {
    let sticky = Some(Sticky::Cookie(name.map(Arc::from)));
    PoolSettings { affinity: Affinity { sticky, ..Affinity::default() }, ..PoolSettings::default() }
}

/// `name=value` of the cookie that belongs to an endpoint.
fn session_of(pool: &Pool, at: usize) -> String {
    let set = pool.cookie_for(&pool.endpoints[at], &Wanted::default(), || false).unwrap();
    set.to_str().unwrap().split(';').next().unwrap().to_owned()
}

fn token_of(sessions: &Sessions, at: usize) -> Vec<u8> {
    sessions.tokens[at].to_vec()
}

fn header(name: &str) -> HeaderMap {
    HeaderMap::from_iter([(APP, HeaderValue::from_str(name).unwrap())])
}

fn cookies(line: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())])
}

const APP: HeaderName = HeaderName::from_static("app");
