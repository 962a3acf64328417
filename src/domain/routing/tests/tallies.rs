//! What is counted outlives tables.

use super::*;

#[test]
fn a_replica_that_starts_again_counts_on_and_one_of_another_name_does_not() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let first = table_of(&plan);
    endpoint_of(&first, "shop").tally.attempt();

    let [member] = &mut plan.pools.get_mut(&name("shop")).unwrap().members[..] else { panic!() };
    member.workload.life = 1;
    let second = RoutingTable::build(&plan, &first);
    let (before, after) = (endpoint_of(&first, "shop"), endpoint_of(&second, "shop"));
    assert!(!Arc::ptr_eq(&before.vitals, &after.vitals));
    assert!(Arc::ptr_eq(&before.tally, &after.tally));
    assert_eq!(second.departed().count(), 0);

    plan.pools.get_mut(&name("shop")).unwrap().members = vec![super::member("shop", 2)];
    let third = RoutingTable::build(&plan, &second);
    assert_eq!(endpoint_of(&third, "shop").tally.attempts(), 0);
    assert_eq!(gone(&third), [("shop", "shop-1", 1)]);
}

#[test]
fn a_replica_that_has_left_is_kept_from_table_to_table_until_it_comes_back() {
    let both = plan(&[("a", rule(&[], &["/a"], &[], 0)), ("b", rule(&[], &["/b"], &[], 0))]);
    let one = plan(&[("b", rule(&[], &["/b"], &[], 0))]);
    let first = table_of(&both);
    endpoint_of(&first, "a").tally.attempt();
    let second = RoutingTable::build(&one, &first);
    let third = RoutingTable::build(&one, &second);
    assert_eq!(gone(&third), [("a", "a-1", 1)], "with its pool");
    let fourth = RoutingTable::build(&both, &third);
    assert_eq!(gone(&fourth), []);
    assert_eq!(endpoint_of(&fourth, "a").tally.attempts(), 1);
}

#[test]
fn replicas_of_one_name_are_counted_as_one() {
    let mut plan = plan(&[("shop", rule(&[], &[], &[], 0))]);
    let mut twin = member("shop", 2);
    twin.name = "shop-1".into();
    plan.pools.get_mut(&name("shop")).unwrap().members.push(twin);
    let table = table_of(&plan);
    let [one, other] = &table.pool(&name("shop")).unwrap().endpoints[..] else { panic!() };
    assert!(Arc::ptr_eq(&one.tally, &other.tally));
}

#[test]
fn requests_are_counted_by_host_and_path_where_a_pool_has_several() {
    let rules = [
        ("one", rule(&["one.example"], &[], &[], 0)),
        ("many", rule(&["a.example", "*.b.example"], &["/api"], &["/x"], 0)),
    ];
    let table = table_of(&plan(&rules));
    let tally = |host, path| {
        let asked = Asked::get(host, path, Ipv4Addr::LOCALHOST.into());
        table.route(asked).unwrap().tally.cloned()
    };
    assert!(tally("one.example", "/").is_none(), "its pool tells all");
    tally("c.b.example", "/api/v1").unwrap().record(200, Default::default());
    let counts = table.pool(&name("many")).unwrap().routes.iter();
    let counts: Vec<_> = counts.map(|(name, it)| (name, it.duration.counts()[0])).collect();
    assert_eq!(
        counts,
        [
            ("*.b.example/api/*", 1),
            ("*.b.example/x", 0),
            ("a.example/api/*", 0),
            ("a.example/x", 0)
        ]
    );
}

fn table_of(plan: &Plan) -> RoutingTable {
    RoutingTable::build(plan, &RoutingTable::default())
}

fn gone(table: &RoutingTable) -> Vec<(&str, &str, u64)> {
    table.departed().map(|it| (&*it.pool, &*it.replica, it.tally.attempts())).collect()
}
