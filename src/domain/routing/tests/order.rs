//! Which of several rules takes a request, over all of a small world of both.

use super::*;
use crate::domain::rule::{Conditions, Wanted};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

#[test]
fn further_conditions_decide_between_equal_paths() {
    let canary = HeaderName::from_static("x-canary");
    let with = |header: Option<Wanted>, methods: &[Method]| {
        let headers = header.map(|wanted| (canary.clone(), wanted)).into_iter().collect();
        let conditions = Conditions { headers, methods: methods.to_vec(), ..Conditions::default() };
        Rule { conditions: Some(Arc::new(conditions)), ..rule(&[], &["/a"], &[], 0) }
    };
    let table = table(&[
        ("all", rule(&[], &["/a"], &[], 0)),
        ("any", with(Some(Wanted::Any), &[])),
        ("yes", with(Some(Wanted::Exactly("yes".into())), &[])),
        ("post", with(Some(Wanted::Any), &[Method::POST])),
        ("deep", rule(&[], &["/a/b"], &[], 0)),
    ]);
    for (method, path, header, expected) in [
        (Method::GET, "/a", None, "all"),
        (Method::GET, "/a", Some("no"), "any"),
        (Method::GET, "/a", Some("yes"), "yes"),
        (Method::POST, "/a", Some("yes"), "post"),
        (Method::POST, "/a", None, "all"),
        // A longer path comes before any number of conditions.
        (Method::POST, "/a/b", Some("yes"), "deep"),
    ] {
        let headers = header.map(|it| (canary.clone(), HeaderValue::from_static(it)));
        let headers = HeaderMap::from_iter(headers);
        let (method, headers) = (&method, &headers);
        let asked = Asked { method, headers, ..Asked::get("x", path, client(1)) };
        assert_eq!(winner(&table, asked), Some(expected), "{asked:?}");
    }
}

#[test]
fn of_equally_narrow_rules_the_ready_one_counts_and_then_keeps_it() {
    let query = |name: &str| {
        let queries = vec![(name.into(), Wanted::Any)];
        let conditions = Some(Arc::new(Conditions { queries, ..Conditions::default() }));
        Rule { conditions, ..Rule::default() }
    };
    let plan = plan(&[("a", query("x")), ("b", query("y"))]);
    let first = RoutingTable::build(&plan, &RoutingTable::default());
    let both = Asked { query: Some("x&y"), ..Asked::get("x", "/", client(1)) };
    assert_eq!(winner(&first, both), Some("a"));
    probe(&first, "b", Probe::Passed);
    let second = RoutingTable::build(&plan, &first);
    assert_eq!(winner(&second, both), Some("b"));
    probe(&second, "a", Probe::Passed);
    assert_eq!(winner(&RoutingTable::build(&plan, &second), both), Some("b"));
}

proptest! {
    #[test]
    fn a_narrower_rule_never_loses_to_a_broader_one_of_its_priority(
        broad in rules(),
        steps in proptest::collection::vec((0..STEPS, any::<Index>()), 1..4),
        ready in any::<bool>(),
        names in select(vec![["a", "z"], ["z", "a"]]),
    ) {
        let mut narrow = broad.clone();
        for (step, choice) in &steps {
            narrow_down(&mut narrow, *step, choice);
        }
        prop_assume!(narrow != broad);
        let plan = plan(&[(names[0], narrow.clone()), (names[1], broad)]);
        let table = RoutingTable::build(&plan, &RoutingTable::default());
        if ready {
            probe(&table, names[1], Probe::Passed);
        }
        let table = RoutingTable::build(&plan, &table);
        let alone = super::table(&[("only", narrow)]);
        for request in requests() {
            if winner(&alone, request.asked()).is_some() {
                prop_assert_eq!(winner(&table, request.asked()), Some(names[0]), "{:?}", request);
            }
        }
    }

    #[test]
    fn the_choice_is_stable_and_no_rule_that_lost_has_a_say(
        rules in proptest::collection::vec(rules(), 1..6),
        leaves in any::<Index>(),
    ) {
        let named: Vec<_> = NAMES.into_iter().zip(rules).collect();
        let plan = plan(&named);
        let table = RoutingTable::build(&plan, &RoutingTable::default());
        let again = RoutingTable::build(&plan, &table);
        let leaves = named[leaves.index(named.len())].0;
        let mut fewer = plan;
        fewer.pools.remove(&name(leaves));
        let fewer = RoutingTable::build(&fewer, &table);
        for request in requests() {
            let chosen = winner(&table, request.asked());
            prop_assert_eq!(chosen, winner(&again, request.asked()));
            if chosen != Some(leaves) {
                prop_assert_eq!(chosen, winner(&fewer, request.asked()));
            }
            let takes = |(_, rule): &(&str, Rule)| {
                winner(&super::table(&[("only", rule.clone())]), request.asked()).is_some()
            };
            prop_assert_eq!(chosen.is_some(), named.iter().any(takes));
        }
    }
}

proptest! {
    /// Some two hundred requests of each of a few hundred tables.
    #[test]
    fn what_is_explained_is_what_is_routed(
        rules in proptest::collection::vec((rules(), any::<bool>(), any::<bool>()), 0..6),
    ) {
        let named: Vec<_> =
            NAMES.into_iter().zip(&rules).map(|(name, (rule, ..))| (name, rule.clone())).collect();
        let mut plan = plan(&named);
        for (pool, (rule, closed, _)) in NAMES.into_iter().zip(&rules) {
            if *closed {
                plan.pools.get_mut(&name(pool)).unwrap().access = Access::Closed(rule.clone());
            }
        }
        let table = RoutingTable::build(&plan, &RoutingTable::default());
        for (pool, (_, _, ready)) in NAMES.into_iter().zip(&rules) {
            if *ready {
                probe(&table, pool, Probe::Passed);
            }
        }
        let table = RoutingTable::build(&plan, &table);
        for request in requests() {
            let asked = request.asked();
            let ways = table.consider(&asked);
            let taken: Vec<_> = ways.iter().filter(|it| it.fate == Fate::Taken).collect();
            prop_assert!(taken.len() <= 1);
            let live = table.route(asked).map(|it| (&it.pool.name, it.closed));
            prop_assert_eq!(taken.first().map(|it| (&it.pool.name, it.closed)), live);
            let others = ways.iter().skip_while(|it| it.fate != Fate::Taken).skip(1);
            for other in others.filter(|it| matches!(it.fate, Fate::Behind(_))) {
                let rule = table.compiled[&other.pool.name].plan.access.rule();
                let alone = super::table(&[("only", rule.clone())]);
                prop_assert_eq!(winner(&alone, asked), Some("only"), "{:?}", other);
            }
            for pool in plan.pools.keys() {
                prop_assert!(ways.iter().any(|it| it.pool.name == *pool), "each is told of");
            }
        }
    }
}

#[test]
fn each_rule_is_told_why_it_does_not_take_a_request() {
    let conditions = Conditions {
        methods: vec![Method::POST],
        headers: vec![(HEADER, Wanted::Any)],
        ..Conditions::default()
    };
    let with = |conditions| Rule { conditions: Some(Arc::new(conditions)), ..Rule::default() };
    let headers = Conditions { methods: Vec::new(), ..conditions.clone() };
    let table = table(&[
        ("a", rule(&["a.example"], &["/x"], &[], 0)),
        ("b", rule(&["a.example"], &[], &[], 0)),
        ("c", rule(&["a.example"], &["/y"], &[], 7)),
        ("d", rule(&["*.example"], &[], &[], 9)),
        ("e", with(conditions)),
        ("f", with(headers)),
        ("g", rule(&["other.example"], &[], &[], 0)),
        ("h", rule(&["a.example"], &[], &[], 0)),
    ]);
    let ways = table.consider(&Asked::get("a.example", "/x/1", client(1)));
    let fates: Vec<_> = ways.iter().map(|it| (&*it.pool.name.name, it.fate)).collect();
    assert_eq!(
        fates,
        [
            ("c", Fate::Missed(Miss::Path)),
            ("a", Fate::Taken),
            ("b", Fate::Behind(Lead::Path)),
            ("h", Fate::Behind(Lead::Path)),
            ("d", Fate::Behind(Lead::Host)),
            ("e", Fate::Missed(Miss::Method(&[Method::POST]))),
            ("f", Fate::Missed(Miss::Header(&HEADER, &Wanted::Any))),
            ("g", Fate::Missed(Miss::Host)),
        ]
    );
    let public = table.consider(&Asked::get("a.localhost", "/x", [203, 0, 113, 9].into()));
    let own = public.iter().find(|it| matches!(it.hosts, For::Local(_))).unwrap();
    assert_eq!((&*own.pool.name.name, own.fate), ("a", Fate::Missed(Miss::NotPrivate)));
}

#[test]
fn two_readings_of_a_path_must_lead_to_one_pool() {
    let table = table(&[("all", Rule::default()), ("admin", rule(&[], &["/admin"], &[], 0))]);
    let asked = |path| Asked::get("x", path, client(1));
    let name = |lenient| {
        table.route_of_both(asked("/%61dmin"), lenient).map(|it| it.pool.name.to_string())
    };
    assert_eq!(name(None), Ok("all".to_owned()));
    assert_eq!(name(Some("/other")), Ok("all".to_owned()));
    assert_eq!(name(Some("/admin")), Err(Unrouted::Ambiguous));
    let nothing = super::table(&[]);
    let unrouted = nothing.route_of_both(asked("/"), Some("/x")).map(|_| ());
    assert_eq!(unrouted, Err(Unrouted::Unclaimed));
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Rules over the world of [`requests`].
fn rules() -> impl Strategy<Value = Rule> {
    let hosts = subsequence(vec!["a.example", "*.example"], 0..=2);
    let prefixes = subsequence(vec!["/", "/a", "/a/b"], 0..=2);
    let exact = subsequence(vec!["/a", "/a/b"], 0..=1);
    let wanted = || {
        let values = vec![Wanted::Any, Wanted::Exactly("1".into()), Wanted::Exactly("2".into())];
        proptest::option::of(select(values))
    };
    let methods = subsequence(vec![Method::GET, Method::POST], 0..=2);
    let clients = subsequence(vec!["10.0.0.0/24", "10.0.1.0/24", "fd00::/8"], 0..=3);
    (hosts, prefixes, exact, (wanted(), wanted(), methods, clients), 0..2).prop_map(
        |(hosts, prefixes, exact, (header, query, methods, clients), priority)| {
            let conditions = Conditions {
                entry_points: Vec::new(),
                methods,
                headers: header.map(|it| (HEADER, it)).into_iter().collect(),
                queries: query.map(|it| ("q".into(), it)).into_iter().collect(),
                clients: clients.into_iter().map(|it| it.parse().unwrap()).collect(),
            };
            let conditions = (!conditions.is_empty()).then(|| Arc::new(conditions));
            Rule { conditions, ..rule(&hosts, &prefixes, &exact, priority) }
        },
    )
}

/// One way to ask for less, where the rule leaves room for it.
fn narrow_down(rule: &mut Rule, step: u8, choice: &Index) {
    let mut conditions = rule.conditions.take().map(Arc::unwrap_or_clone).unwrap_or_default();
    match step {
        0 if rule.hosts.is_empty() => rule.hosts = vec!["a.example".parse().unwrap()],
        1 if rule.prefixes.is_empty() && rule.exact.is_empty() => {
            rule.prefixes = vec![["/a", "/a/b"][choice.index(2)].into()];
        }
        2 if rule.exact.is_empty() => {
            rule.prefixes.retain(|it| **it == *"/a/b");
            rule.exact = rule.prefixes.drain(..).collect();
            if rule.exact.is_empty() {
                rule.prefixes = vec!["/a/b".into()];
            }
        }
        3 if conditions.headers.is_empty() => conditions.headers = vec![(HEADER, Wanted::Any)],
        4 => conditions.headers.iter_mut().for_each(|(_, it)| narrow(it)),
        5 if conditions.queries.is_empty() => conditions.queries = vec![("q".into(), Wanted::Any)],
        6 => conditions.queries.iter_mut().for_each(|(_, it)| narrow(it)),
        7 if conditions.methods.is_empty() => conditions.methods = vec![Method::GET, Method::POST],
        8 if conditions.methods.len() > 1 => {
            conditions.methods.remove(choice.index(conditions.methods.len()));
        }
        9 if conditions.clients.is_empty() => {
            conditions.clients = ["0.0.0.0/0", "::/0"].map(|it| it.parse().unwrap()).to_vec();
        }
        10 if conditions.clients.len() > 1 => {
            conditions.clients.remove(choice.index(conditions.clients.len()));
        }
        11 => conditions.clients.iter_mut().for_each(|it| {
            *it = it.subnets(it.prefix_len() + 1).unwrap().next().unwrap();
        }),
        _ => {}
    }
    rule.conditions = (!conditions.is_empty()).then(|| Arc::new(conditions));
}

const STEPS: u8 = 12;

fn narrow(wanted: &mut Wanted) {
    if *wanted == Wanted::Any {
        *wanted = Wanted::Exactly("1".into());
    }
}

#[derive(Debug)]
struct Request {
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    method: Method,
    headers: HeaderMap,
    client: IpAddr,
}

impl Request {
    fn asked(&self) -> Asked<'_> {
        let Self { host, path, query, method, headers, client } = self;
        let entry_point = "http";
        Asked { host, path, query: *query, method, headers, client: *client, entry_point }
    }
}

/// Every request of a small world.
fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for host in ["a.example", "b.example", "other.test"] {
        for path in ["/", "/a", "/a/b", "/a/b/c"] {
            for (header, query) in
                [(None, None), (Some("1"), None), (Some("2"), Some("q=1")), (Some("1"), Some("q"))]
            {
                for (method, client) in [
                    (Method::GET, client(1)),
                    (Method::POST, client(1)),
                    (Method::GET, IpAddr::from([10, 0, 1, 9])),
                    (Method::PUT, "fd00::1".parse().unwrap()),
                ] {
                    let headers = header.map(|it| (HEADER, HeaderValue::from_static(it)));
                    let headers = headers.into_iter().collect();
                    requests.push(Request { host, path, query, method, headers, client });
                }
            }
        }
    }
    requests
}

fn winner<'a>(table: &'a RoutingTable, asked: Asked<'_>) -> Option<&'a str> {
    table.route(asked).map(|route| &*route.pool.name.name)
}

fn client(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

const HEADER: HeaderName = HeaderName::from_static("x-canary");
