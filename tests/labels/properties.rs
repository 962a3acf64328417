//! What holds whatever people write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel::domain::labels::LabelSettings;
use evenkeel::domain::labels::schema::LABELS;
use evenkeel::domain::names::{PoolName, SourceName};
use evenkeel::domain::plan::{Memory, Plan, plan};
use evenkeel::domain::rule::Access;
use evenkeel::domain::world::{
    Attachment, Health, NetworkMode, Observation, Place, RunState, Workload, WorkloadId, World,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #[test]
    fn any_labels_are_planned_without_a_panic_and_always_alike(workloads in vec(workload(), 0..12)) {
        let first = planned(&workloads);
        prop_assert!(first.problems.is_sorted());
        prop_assert_eq!(first, planned(&workloads));
    }

    #[test]
    fn the_order_in_which_containers_are_listed_changes_nothing(
        (listed, shuffled) in vec(workload(), 2..12)
            .prop_map(numbered)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(planned(&listed), planned(&shuffled));
    }

    #[test]
    fn labels_of_one_pool_change_nothing_of_another(labels in labels()) {
        let mut other = container("web-1", "two");
        other.labels.insert("lb.host".to_owned(), "two.example".to_owned());
        let mut meddler = container("meddler", "one");
        meddler.labels = labels;
        let name = PoolName::new(Some("two"), "web").unwrap();
        let alone = planned(std::slice::from_ref(&other));
        let beside = planned(&[meddler, other]);
        prop_assert_eq!(alone.pools.get(&name), beside.pools.get(&name));
    }

    #[test]
    fn a_host_that_was_asked_for_is_never_widened_to_any(value in value(), key in "(lb|LB)[.][hH]ost") {
        let mut web = container("web-1", "one");
        web.labels.insert(key, value);
        let plan = planned(&[web]);
        for pool in plan.pools.values() {
            match &pool.access {
                Access::Open(rule) => prop_assert!(!rule.hosts.is_empty()),
                Access::Closed(_) => prop_assert!(!plan.problems.is_empty()),
            }
        }
    }

    #[test]
    fn a_condition_that_was_asked_for_is_never_dropped(
        value in value(),
        key in select(vec!["method", "header.x-a", "query.a", "client"]),
    ) {
        let mut web = container("web-1", "one");
        web.labels.insert(format!("lb.{key}"), value);
        let plan = planned(&[web]);
        for pool in plan.pools.values() {
            match &pool.access {
                Access::Open(rule) => prop_assert!(rule.conditions.is_some()),
                Access::Closed(_) => prop_assert!(!plan.problems.is_empty()),
            }
        }
    }

    #[test]
    fn clients_that_were_to_be_kept_out_are_never_let_in(
        value in value(),
        key in select(vec!["allow", "deny"]),
    ) {
        let mut web = container("web-1", "one");
        web.labels.insert(format!("lb.{key}"), value);
        let plan = planned(&[web]);
        for pool in plan.pools.values() {
            match &pool.access {
                Access::Open(_) => prop_assert!(!pool.settings.middlewares.is_empty()),
                Access::Closed(_) => prop_assert!(!plan.problems.is_empty()),
            }
        }
    }

    #[test]
    fn a_guard_that_cannot_be_used_closes_the_route_and_says_so(
        label in select(LABELS.iter().filter(|label| label.guard).collect::<Vec<_>>()),
    ) {
        let mut web = container("web-1", "one");
        let key = format!("lb.{}", label.key.replace(['<', '>'], ""));
        web.labels.insert(key.clone(), " \u{1} ".to_owned());
        let plan = planned(&[web]);
        let access = plan.pools.values().map(|pool| pool.access.clone()).next().unwrap();
        prop_assert!(matches!(access, Access::Closed(_)), "{}", key);
        prop_assert!(plan.problems.iter().any(|problem| problem.key.as_deref() == Some(&key)));
    }
}

#[test]
fn the_list_of_problems_has_a_bound_and_says_what_it_leaves_out() {
    let mistaken = |number: u32| {
        let mut web = container(&format!("web-{number}"), "one");
        web.labels.insert("lb.port".to_owned(), "none".to_owned());
        web
    };
    let plan = planned(&(0..1_005).map(mistaken).collect::<Vec<_>>());
    assert_eq!(plan.problems.len(), 1_001);
    assert_eq!(plan.problems.last().unwrap().message, "5 more problems are not shown");
}

fn planned(workloads: &[Workload]) -> Plan {
    let observation = Observation { workloads: workloads.to_vec(), ..Observation::default() };
    let world = World::from([(SourceName::docker(), Arc::new(observation))]);
    let memory = Memory {
        previous: &Plan::default(),
        been_ready: &BTreeSet::new(),
        drained: &BTreeSet::new(),
    };
    plan(&world, memory, &LabelSettings::default())
}

fn container(name: &str, project: &str) -> Workload {
    let network = Attachment {
        name: "front".into(),
        network: "n1".into(),
        address: Some([10, 0, 0, 2].into()),
    };
    Workload {
        id: WorkloadId { id: name.into(), life: 0 },
        name: name.into(),
        project: Some(project.into()),
        service: Some("web".into()),
        labels: BTreeMap::new(),
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place: Place::Container {
            mode: NetworkMode::Own,
            networks: vec![network],
            exposed: Some(vec![80]),
        },
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

/// Ids are what containers never share.
fn numbered(mut workloads: Vec<Workload>) -> Vec<Workload> {
    for (number, workload) in workloads.iter_mut().enumerate() {
        workload.id.id = format!("id-{number}").into();
    }
    workloads
}

fn workload() -> impl Strategy<Value = Workload> {
    let runs = select(vec![RunState::Created, RunState::Running, RunState::Stopped]);
    let modes = prop_oneof![
        4 => Just(NetworkMode::Own),
        1 => Just(NetworkMode::Host),
        1 => Just(NetworkMode::None),
        2 => (0..12).prop_map(|number| NetworkMode::Container(format!("id-{number}").into())),
    ];
    let exposed = vec(select(vec![80_u16, 8080, 9000]), 0..3);
    (labels(), runs, modes, exposed, 0..3_i64, "[ab]", any::<bool>()).prop_map(
        |(labels, run, wanted, ports, created, project, oneoff)| {
            let mut workload = container("web", &project);
            workload.id.id = Arc::from("id-0");
            if let Place::Container { mode, exposed, .. } = &mut workload.place {
                (*mode, *exposed) = (wanted, Some(ports));
            }
            Workload { labels, run, created, oneoff, ..workload }
        },
    )
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(key(), value(), 0..6)
}

/// Known keys, their misspellings, groups, and anything at all.
fn key() -> impl Strategy<Value = String> {
    let known = || select(LABELS).prop_map(|label| label.key);
    prop_oneof![
        known().prop_map(|key| format!("lb.{key}")),
        (known(), "[a-z.é_-]{0,2}").prop_map(|(key, more)| format!("lb.{more}{key}")),
        (select(vec!["admin", "Admin", "x"]), known())
            .prop_map(|(group, key)| format!("lb.{group}.{key}")),
        select(vec!["lb.admin.pool", "lb.x.pool", "LB.pool"]).prop_map(str::to_owned),
        any::<String>().prop_map(|tail| format!("lb.{tail}")),
        any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let good = [
        "web",
        "admin",
        "true",
        "false",
        "80",
        "10s",
        "/api,/b/",
        "a.example",
        "*.b.example",
        "GET,POST",
        "10.0.0.0/8,::1",
        "https://a.example",
        "/x{path}?{query}",
        "*",
    ];
    prop_oneof![
        select(good.to_vec()).prop_map(str::to_owned),
        "[%/a-f0-9.*,?-]{0,12}",
        any::<String>(),
    ]
}
