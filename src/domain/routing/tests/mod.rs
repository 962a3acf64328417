//! The rules of routing, by small tables.

mod order;
mod tallies;

use super::*;
use crate::domain::lifecycle::{Probe, Question};
use crate::domain::names::HostPattern;
use crate::domain::pool::{Draw, PoolSettings, Sticky, StickyKey, Tried, Wanted};
use crate::domain::upstream::Scheme;
use crate::domain::world::{Health, Hint, Loss, RunState, WorkloadId};
use std::net::Ipv4Addr;
use std::time::Instant;

#[test]
fn the_most_specific_rule_wins() {
    let table = table(&[
        ("any", rule(&[], &[], &[], 0)),
        ("host", rule(&["shop.example"], &[], &[], 0)),
        ("wild", rule(&["*.example"], &[], &[], 0)),
        ("deep", rule(&["*.b.example"], &[], &[], 0)),
        ("api", rule(&["shop.example"], &["/api"], &[], 0)),
        ("v1", rule(&["shop.example"], &["/api/v1"], &[], 0)),
        ("one", rule(&["shop.example"], &[], &["/api/v1/one"], 0)),
        ("files", rule(&[], &["/files"], &[], 0)),
    ]);
    for (host, path, expected) in [
        ("other.test", "/", "any"),
        ("shop.example", "/", "host"),
        ("shop.example", "/api/x", "api"),
        ("shop.example", "/apix", "host"),
        ("shop.example", "/api/v1/two", "v1"),
        ("shop.example", "/api/v1/one", "one"),
        ("blog.example", "/", "wild"),
        ("a.b.example", "/", "deep"),
        ("example", "/", "any"),
        ("other.test", "/files/1", "files"),
    ] {
        assert_eq!(asked(&table, host, path), Some(expected), "{host}{path}");
    }
}

#[test]
fn within_a_host_a_priority_beats_a_longer_path() {
    let table = table(&[
        ("long", rule(&[], &["/api/v1"], &[], 0)),
        ("first", rule(&[], &["/api"], &[], 10)),
    ]);
    assert_eq!(asked(&table, "x", "/api/v1"), Some("first"));
}

#[test]
fn a_host_whose_paths_do_not_match_falls_back_to_broader_rules() {
    let table = table(&[
        ("api", rule(&["shop.example"], &["/api"], &[], 0)),
        ("site", rule(&[], &[], &[], 0)),
    ]);
    assert_eq!(asked(&table, "shop.example", "/about"), Some("site"));
}

#[test]
fn what_no_rule_takes_has_no_route() {
    let table = table(&[("api", rule(&["shop.example"], &[], &[], 0))]);
    assert_eq!(asked(&table, "other.example", "/"), None);
}

#[test]
fn a_private_client_reaches_each_pool_by_its_name_under_its_own_rule() {
    let table = table(&[
        ("api", rule(&["shop.example"], &["/api"], &[], 0)),
        ("site", rule(&["shop.example"], &[], &[], 0)),
    ]);
    assert_eq!(asked(&table, "api.localhost", "/api/x"), Some("api"));
    assert_eq!(asked(&table, "api.localhost", "/secret"), None);
    let public = Ipv4Addr::new(203, 0, 113, 9).into();
    assert!(table.route(Asked::get("api.localhost", "/api/x", public)).is_none());
}

#[test]
fn without_localhost_no_pool_has_a_name_of_its_own_in_any_later_table() {
    let plan = plan(&[("api", rule(&["shop.example"], &[], &[], 0))]);
    let first =
        RoutingTable::build(&plan, &RoutingTable::new(false, StickyKey::new(b"a key for tests")));
    let second = RoutingTable::build(&plan, &first);
    assert_eq!(asked(&second, "api.localhost", "/"), None);
    assert_eq!(asked(&second, "shop.example", "/"), Some("api"));
    let with =
        RoutingTable::build(&plan, &RoutingTable::new(true, StickyKey::new(b"a key for tests")));
    assert_eq!(asked(&with, "api.localhost", "/"), Some("api"));
}

#[test]
fn of_two_pools_with_one_rule_an_open_one_wins_over_a_closed_one() {
    let mut plan = plan(&[("a", rule(&[], &[], &[], 0)), ("b", rule(&[], &[], &[], 0))]);
    plan.pools.get_mut(&name("a")).unwrap().access = Access::Closed(Rule::default());
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    assert_eq!(asked(&table, "x", "/"), Some("b"));
}

#[test]
fn of_two_pools_with_one_rule_the_ready_one_wins_and_then_keeps_it() {
    let rules = [("a", rule(&[], &[], &[], 0)), ("b", rule(&[], &[], &[], 0))];
    let plan = plan(&rules);
    let first = RoutingTable::build(&plan, &RoutingTable::default());
    assert_eq!(asked(&first, "x", "/"), Some("a"));

    probe(&first, "b", Probe::Passed);
    let second = RoutingTable::build(&plan, &first);
    assert_eq!(asked(&second, "x", "/"), Some("b"));

    probe(&second, "a", Probe::Passed);
    let third = RoutingTable::build(&plan, &second);
    assert_eq!(asked(&third, "x", "/"), Some("b"));
}

#[test]
fn requests_in_flight_survive_a_new_table() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let old = RoutingTable::build(&plan, &RoutingTable::default());
    let request = endpoint_of(&old, "shop").vitals.begin();

    plan.pools.values_mut().for_each(|pool| pool.settings.hold_max = 1);
    let new = RoutingTable::build(&plan, &old);

    assert_eq!(endpoint_of(&new, "shop").vitals.in_flight(), 1);
    drop(request);
    assert_eq!(endpoint_of(&new, "shop").vitals.in_flight(), 0);
}

#[test]
fn a_change_to_one_pool_leaves_the_others_as_they_are() {
    let mut plan = plan(&[("a", rule(&[], &["/a"], &[], 0)), ("b", rule(&[], &["/b"], &[], 0))]);
    let old = RoutingTable::build(&plan, &RoutingTable::default());
    plan.pools.get_mut(&name("a")).unwrap().members.clear();

    let new = RoutingTable::build(&plan, &old);

    assert!(!Arc::ptr_eq(old.pool(&name("a")).unwrap(), new.pool(&name("a")).unwrap()));
    assert!(Arc::ptr_eq(old.pool(&name("b")).unwrap(), new.pool(&name("b")).unwrap()));
}

#[test]
fn an_endpoint_that_left_is_gone_if_its_container_ended_and_else_finishes() {
    type Change = fn(&mut Vec<Member>);
    let changes: [(Change, State); 4] = [
        (Vec::clear, State::Draining),
        (|members| members[0].address = Some(([10, 9, 9, 9], 80).into()), State::Draining),
        (|members| members[0].workload.life = 1, State::Gone),
        (
            |members| {
                members[0].run = RunState::Stopped;
                members[0].address = None;
            },
            State::Gone,
        ),
    ];
    for (change, expected) in changes {
        let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
        let old = RoutingTable::build(&plan, &RoutingTable::default());
        probe(&old, "shop", Probe::Passed);
        change(&mut plan.pools.get_mut(&name("shop")).unwrap().members);

        RoutingTable::build(&plan, &old);

        assert_eq!(endpoint_of(&old, "shop").vitals.state(), expected);
    }
}

#[test]
fn a_replica_is_checked_by_its_own_word_until_it_has_been_ready() {
    let check = |path: &str| {
        let asks = Question::Path(path.into());
        Arc::new(HealthCheck { asks, ..HealthCheck::default() })
    };
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let pool = plan.pools.get_mut(&name("shop")).unwrap();
    pool.settings.health = Some(check("/health"));
    pool.members[0].check = Some(check("/healthz"));
    let path = |table: &RoutingTable| {
        let Question::Path(path) = &endpoint_of(table, "shop").check.as_ref().unwrap().asks else {
            panic!("it asks for a path");
        };
        path.clone()
    };

    let table = RoutingTable::build(&plan, &RoutingTable::default());
    assert_eq!(&*path(&table), "/healthz");
    probe(&table, "shop", Probe::Passed);
    let ready = RoutingTable::build(&plan, &table);
    let table = RoutingTable::build(&plan, &ready);
    assert_eq!(&*path(&table), "/health");
}

#[test]
fn a_closed_rule_without_a_host_shadows_no_open_one() {
    let mut plan =
        plan(&[("broken", rule(&[], &["/static"], &[], 10)), ("site", rule(&[], &[], &[], 0))]);
    let closed = Access::Closed(rule(&[], &["/static"], &[], 10));
    plan.pools.get_mut(&name("broken")).unwrap().access = closed;
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    assert_eq!(asked(&table, "x", "/static/a.css"), Some("site"));
}

#[test]
fn a_closed_rule_gains_nothing_by_its_priority() {
    let narrow = rule(&["shop.example"], &[], &[], 10);
    let mut plan = plan(&[
        ("canary", narrow.clone()),
        ("admin", rule(&["shop.example"], &["/admin"], &[], 0)),
        ("site", rule(&["shop.example"], &[], &[], 0)),
    ]);
    for (pool, rule) in
        [("canary", narrow), ("admin", rule(&["shop.example"], &["/admin"], &[], 0))]
    {
        plan.pools.get_mut(&name(pool)).unwrap().access = Access::Closed(rule);
    }
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    assert_eq!(asked(&table, "shop.example", "/"), Some("site"));
    let client = Ipv4Addr::LOCALHOST.into();
    assert!(table.route(Asked::get("shop.example", "/admin", client)).unwrap().closed);
}

#[test]
fn a_second_life_at_the_same_address_shares_nothing_with_the_first() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let old = RoutingTable::build(&plan, &RoutingTable::default());
    plan.pools.get_mut(&name("shop")).unwrap().members[0].workload.life += 1;

    let new = RoutingTable::build(&plan, &old);

    let serial = |table| endpoint_of(table, "shop").vitals.serial();
    assert_ne!(serial(&old), serial(&new));
}

#[test]
fn host_names_and_cookies_stay_with_their_replicas_from_table_to_table() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let pool = plan.pools.get_mut(&name("shop")).unwrap();
    pool.settings.affinity.pin_header = Some(http::header::FROM);
    pool.settings.affinity.sticky = Some(Sticky::Cookie(Some("route".into())));
    pool.members.extend([2, 3].map(|n| member("shop", n)));
    for (member, host_name) in pool.members.iter_mut().zip(["one", "two", "three"]) {
        member.host_name = Some(host_name.into());
    }
    let start = RoutingTable::new(true, StickyKey::new(b"a key for tests"));
    let table = ready(&plan, &start);
    let [two, cookie] = {
        let pool = table.pool(&name("shop")).unwrap();
        let cookie = pool.cookie_for(&pool.endpoints[1], &Wanted::default(), || false).unwrap();
        ["two", cookie.to_str().unwrap().split(';').next().unwrap()].map(str::to_owned)
    };
    // One whose address is not known is no endpoint, so that the slots shift.
    plan.pools.get_mut(&name("shop")).unwrap().members[0].address = None;
    let next = ready(&plan, &table);
    for (field, value) in [(http::header::FROM, two), (http::header::COOKIE, cookie)] {
        let headers = HeaderMap::from_iter([(field, value.parse().unwrap())]);
        for table in [&table, &next] {
            let pool = table.pool(&name("shop")).unwrap();
            let draw = Draw { wanted: pool.wanted(&headers, "/"), ..draw() };
            let picked = pool.pick(draw, &Tried::default()).unwrap();
            assert_eq!(&*picked.name, "shop-2", "{headers:?}");
        }
    }
}

#[test]
fn a_table_is_stale_when_a_live_sign_has_changed() {
    let plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    assert!(!table.is_stale());
    probe(&table, "shop", Probe::Passed);
    assert!(table.is_stale());
    assert!(!RoutingTable::build(&plan, &table).is_stale());
}

#[test]
fn a_hint_is_in_force_in_the_table_that_is_in_use() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0)), ("other", rule(&[], &["/o"], &[], 0))]);
    plan.pools.get_mut(&name("other")).unwrap().members.push(member("shop", 1));
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    plan.pools.keys().for_each(|pool| probe(&table, &pool.name, Probe::Passed));
    let table = RoutingTable::build(&plan, &table);
    let states = |table: &RoutingTable| -> Vec<State> {
        table.endpoints().map(|endpoint| endpoint.vitals.state()).collect()
    };
    assert_eq!(states(&table), [State::Ready; 3]);

    let stopping = Hint { id: "shop-1".into(), loss: Loss::Stopping };
    assert!(table.heed(&stopping, None));
    assert_eq!(states(&table), [State::Ready, State::Draining, State::Draining]);
    let pool = table.pool(&name("shop")).unwrap();
    assert!(!pool.is_ready(), "in every pool that it is in");
    assert!(!table.heed(&stopping, None), "it is news once");
    assert!(!table.heed(&Hint { id: "shop".into(), ..stopping }, None), "ids are whole");
}

#[test]
fn round_robin_goes_on_where_it_was_when_the_table_changes() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let members = &mut plan.pools.get_mut(&name("shop")).unwrap().members;
    for n in 2..=3 {
        members.push(member("shop", n));
    }
    let mut table = RoutingTable::build(&plan, &RoutingTable::default());
    probe(&table, "shop", Probe::Passed);
    let mut hits = BTreeMap::<u64, u32>::new();
    for turn in 0..9_u16 {
        plan.pools.get_mut(&name("shop")).unwrap().settings.hold_max = turn.into();
        table = RoutingTable::build(&plan, &table);
        let pool = table.pool(&name("shop")).unwrap();
        let chosen = pool.pick(draw(), &Tried::default()).unwrap();
        *hits.entry(chosen.vitals.serial()).or_default() += 1;
    }
    assert_eq!(hits.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn a_backup_serves_only_while_no_other_is_ready() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let members = &mut plan.pools.get_mut(&name("shop")).unwrap().members;
    members.push(Member { backup: true, ..member("shop", 2) });
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    probe(&table, "shop", Probe::Passed);
    let table = RoutingTable::build(&plan, &table);
    let pool = table.pool(&name("shop")).unwrap();

    let mut tried = Tried::default();
    let first = pool.pick(draw(), &tried).unwrap();
    assert!(!first.backup);
    tried.add(Tried::mark(first));
    assert!(pool.pick(draw(), &tried).unwrap().backup);
}

#[test]
fn an_unhealthy_endpoint_serves_only_when_nothing_else_can() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let members = &mut plan.pools.get_mut(&name("shop")).unwrap().members;
    members[0].health = Health::Unhealthy;
    members.push(Member { health: Health::Healthy, ..member("shop", 2) });
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    let pool = table.pool(&name("shop")).unwrap();
    let mut tried = Tried::default();
    let healthy = pool.pick(draw(), &tried).unwrap();
    assert_eq!(healthy.vitals.state(), State::Ready);
    tried.add(Tried::mark(healthy));
    assert_eq!(pool.pick(draw(), &tried).unwrap().vitals.state(), State::Unhealthy);
}

#[test]
fn a_starting_endpoint_that_accepts_serves_those_who_waited_unless_strict() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    plan.pools.get_mut(&name("shop")).unwrap().members[0].health = Health::Starting;
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    let pool = table.pool(&name("shop")).unwrap();
    assert!(after_a_wait(pool).is_none(), "it does not accept yet");
    probe(&table, "shop", Probe::Passed);
    assert!(pool.pick(draw(), &Tried::default()).is_none());
    assert!(after_a_wait(pool).is_some());

    plan.pools.get_mut(&name("shop")).unwrap().settings.ready_strict = true;
    let strict = RoutingTable::build(&plan, &table);
    assert!(after_a_wait(strict.pool(&name("shop")).unwrap()).is_none());
}

#[test]
fn an_endpoint_with_a_health_check_waits_for_it_whatever_healthcheck_says() {
    for health in [Health::None, Health::Starting, Health::Healthy, Health::Unhealthy] {
        let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
        let shop = plan.pools.get_mut(&name("shop")).unwrap();
        shop.members[0].health = health;
        shop.settings.health = Some(Arc::default());
        let table = RoutingTable::build(&plan, &RoutingTable::default());
        let pool = table.pool(&name("shop")).unwrap();
        assert!(pool.pick(draw(), &Tried::default()).is_none(), "{health:?}");
        // A connection that was accepted is no pass.
        probe(&table, "shop", Probe::Passed);
        assert!(after_a_wait(pool).is_none(), "{health:?}");
        let table = RoutingTable::build(&plan, &table);
        assert!(table.pool(&name("shop")).unwrap().pick(draw(), &Tried::default()).is_some());
    }
}

#[test]
fn a_health_check_that_changes_reaches_the_endpoints_and_keeps_what_is_known() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let without = RoutingTable::build(&plan, &RoutingTable::default());
    probe(&without, "shop", Probe::Passed);
    let check = HealthCheck { asks: Question::Path("/up".into()), ..HealthCheck::default() };
    plan.pools.get_mut(&name("shop")).unwrap().settings.health = Some(Arc::new(check.clone()));
    let with = RoutingTable::build(&plan, &without);
    let endpoint = endpoint_of(&with, "shop");
    assert_eq!(endpoint.check.as_deref(), Some(&check));
    assert_eq!(endpoint.vitals.state(), State::Ready, "nothing is lost by a new label");
}

#[test]
fn pools_that_share_an_endpoint_share_its_health_check() {
    let mut plan = plan(&[("a", rule(&[], &["/a"], &[], 0)), ("b", rule(&[], &["/b"], &[], 0))]);
    for pool in plan.pools.values_mut() {
        pool.members = vec![member("both", 1)];
    }
    let before = RoutingTable::build(&plan, &RoutingTable::default());
    plan.pools.get_mut(&name("b")).unwrap().settings.health = Some(Arc::default());
    let after = RoutingTable::build(&plan, &before);
    for pool in ["a", "b"] {
        assert!(endpoint_of(&after, pool).check.is_some(), "{pool}");
    }
    assert!(!after.is_stale());
}

#[test]
fn the_waiting_of_a_pool_are_bounded() {
    let state = Arc::new(PoolState::default());
    let first = state.wait(2);
    let second = state.wait(2);
    assert!(first.is_some() && second.is_some());
    assert!(state.wait(2).is_none());
    drop(first);
    assert!(state.wait(2).is_some());
}

fn after_a_wait(pool: &Pool) -> Option<&Endpoint> {
    pool.choose(draw(), &Tried::default(), || true, || true)
}

#[expect(clippy::disallowed_methods, reason = "any instant does")]
fn draw() -> Draw<'static> {
    let (client, now) = (Ipv4Addr::LOCALHOST.into(), Instant::now());
    Draw { random: 7, client, now, wanted: Wanted::default() }
}

/// The table of a plan, all of whose replicas are ready.
fn ready(plan: &Plan, before: &RoutingTable) -> RoutingTable {
    let table = RoutingTable::build(plan, before);
    table.endpoints().for_each(|endpoint| endpoint.vitals.set_probe(Probe::Passed));
    RoutingTable::build(plan, &table)
}

fn asked<'a>(table: &'a RoutingTable, host: &str, path: &str) -> Option<&'a str> {
    let route = table.route(Asked::get(host, path, Ipv4Addr::LOCALHOST.into()))?;
    Some(&route.pool.name.name)
}

fn table(rules: &[(&str, Rule)]) -> RoutingTable {
    RoutingTable::build(&plan(rules), &RoutingTable::default())
}

fn plan(rules: &[(&str, Rule)]) -> Plan {
    let pools = rules.iter().map(|(pool, rule)| {
        let plan = PoolPlan {
            access: Access::Open(rule.clone()),
            settings: PoolSettings::default(),
            members: vec![member(pool, 1)],
        };
        (name(pool), plan)
    });
    Plan { pools: pools.collect(), complete: true, ..Plan::default() }
}

fn member(pool: &str, n: u8) -> Member {
    Member {
        workload: WorkloadId { id: format!("{pool}-{n}").into(), life: 0 },
        name: format!("{pool}-{n}").into(),
        service: None,
        host_name: None,
        run: RunState::Running,
        drained: false,
        health: Health::None,
        address: Some(([10, 0, 0, n], 80).into()),
        scheme: Scheme::Http,
        weight: 1,
        backup: false,
        max_conns: None,
        check: None,
    }
}

fn rule(hosts: &[&str], prefixes: &[&str], exact: &[&str], priority: i32) -> Rule {
    let hosts = hosts.iter().map(|host| host.parse::<HostPattern>().unwrap());
    let texts = |paths: &[&str]| paths.iter().map(|&path| Arc::from(path)).collect();
    let (prefixes, exact) = (texts(prefixes), texts(exact));
    Rule { hosts: hosts.collect(), prefixes, exact, conditions: None, priority }
}

fn name(pool: &str) -> PoolName {
    PoolName::new(None, pool).unwrap()
}

fn probe(table: &RoutingTable, pool: &str, probe: Probe) {
    for endpoint in &table.pool(&name(pool)).unwrap().endpoints {
        endpoint.vitals.set_probe(probe);
    }
}

fn endpoint_of<'a>(table: &'a RoutingTable, pool: &str) -> &'a Endpoint {
    &table.pool(&name(pool)).unwrap().endpoints[0]
}
