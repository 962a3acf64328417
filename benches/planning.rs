//! Planning and swapping a table of 1,000 containers in 200 pools, and what a
//! request pays for its route and its endpoint.

#![expect(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use divan::Bencher;
use evenkeel::domain::balance::{HashKey, Policy};
use evenkeel::domain::labels::LabelSettings;
use evenkeel::domain::lifecycle::{Probe, State};
use evenkeel::domain::names::SourceName;
use evenkeel::domain::plan::{Memory, Plan, plan};
use evenkeel::domain::pool::{Draw, Efforts, ReplicaTally, Tried};
use evenkeel::domain::routing::{Asked, RoutingTable};
use evenkeel::domain::world::{
    Attachment, Health, Hint, Loss, NetworkMode, Observation, Place, RunState, Workload,
    WorkloadId, World,
};
use evenkeel::telemetry::metrics::{Counters, Exposition, Process, Snapshot, render};
use http::HeaderMap;

fn main() {
    divan::main();
}

#[divan::bench]
fn plan_1000_containers(bencher: Bencher<'_, '_>) {
    let world = world(1_000);
    bencher.bench(|| planned(&world));
}

/// One container has gone: its pool is rebuilt, the 199 others are not.
#[divan::bench]
fn swap_after_one_container_left(bencher: Bencher<'_, '_>) {
    let before = RoutingTable::build(&planned(&world(1_000)), &RoutingTable::default());
    let after = planned(&world(999));
    bencher.bench(|| RoutingTable::build(&after, &before));
}

#[divan::bench]
fn build_1000_containers_anew(bencher: Bencher<'_, '_>) {
    let plan = planned(&world(1_000));
    bencher.bench(|| RoutingTable::build(&plan, &RoutingTable::default()));
}

#[divan::bench]
fn route_among_200_hosts(bencher: Bencher<'_, '_>) {
    let table = RoutingTable::build(&planned(&world(1_000)), &RoutingTable::default());
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    bencher.bench(|| {
        let asked = Asked::get("shop-117.example", "/api/v1/items", client);
        table.route(divan::black_box(asked)).unwrap().pool.endpoints.len()
    });
}

/// All that metrics cost an attempt beyond what it counts for others: workers
/// share the counters.
#[divan::bench(threads = [1, 2])]
fn count_an_attempt(bencher: Bencher<'_, '_>) {
    let (replica, pool) = (ReplicaTally::default(), Efforts::default());
    let sent = now();
    bencher.bench(|| {
        replica.attempt();
        pool.connected(true);
        replica.answers.record(200, now().duration_since(divan::black_box(sent)));
    });
}

/// One host and five replicas for each of 200 pools, all of which have served.
#[divan::bench]
fn scrape_of_1000_replicas(bencher: Bencher<'_, '_>) {
    let table = RoutingTable::build(&planned(&world(1_000)), &RoutingTable::default());
    for endpoint in table.endpoints() {
        endpoint.tally.attempt();
        endpoint.tally.answers.record(200, Duration::from_millis(3));
    }
    let snapshot = Snapshot {
        version: "0.1.0",
        started_at: SystemTime::UNIX_EPOCH,
        now: SystemTime::UNIX_EPOCH,
        generation: table.generation(),
        pools: table.pools().map(Arc::clone).collect(),
        departed: Vec::new(),
        sources: Vec::new(),
        certificates: Vec::new(),
        problems: 0,
        access_log_dropped: 0,
        counters: Arc::new(Counters::new(&[], &[])),
        process: Process::default(),
        traefik: false,
    };
    bencher.bench(|| render(divan::black_box(&snapshot), Exposition::Prometheus).len());
}

/// What stands between a stop signal and the last request to its container; the
/// container is the last one in the table.
#[divan::bench(args = [Loss::Stopping, Loss::Network("0123456789ab".into())])]
fn heed_a_hint_among_1000_containers(bencher: Bencher<'_, '_>, loss: &Loss) {
    let world = world(1_000);
    let seen = world.values().next();
    let table = RoutingTable::build(&planned(&world), &RoutingTable::default());
    let last = table.endpoints().last().unwrap();
    let hint = Hint { id: last.id.workload.id.clone(), loss: loss.clone() };
    bencher.bench(|| {
        last.vitals.set_state(State::Ready);
        table.heed(divan::black_box(&hint), seen.map(|it| &**it))
    });
}

#[divan::bench(args = Policy::PLAIN.into_iter().chain([Policy::Hash(HashKey::Uri)]))]
fn pick_among_5(bencher: Bencher<'_, '_>, policy: &Policy) {
    pick(bencher, planned(&world(1_000)), policy);
}

/// What grows with the pool: a hash looks at every endpoint.
#[divan::bench(args = [Policy::RoundRobin, Policy::PeakEwma, Policy::IpHash, Policy::Hash(HashKey::Uri)])]
fn pick_among_1000(bencher: Bencher<'_, '_>, policy: &Policy) {
    let mut world = world(1_000);
    for workload in world.values_mut().flat_map(|it| &mut Arc::make_mut(it).workloads) {
        workload.labels.insert("lb.pool".to_owned(), "all".to_owned());
        workload.labels.remove("lb.host");
    }
    pick(bencher, planned(&world), policy);
}

/// Chooses an endpoint of the first pool, reading what its policy asks for.
fn pick(bencher: Bencher<'_, '_>, mut plan: Plan, policy: &Policy) {
    for pool in plan.pools.values_mut() {
        pool.settings.policy = policy.clone();
    }
    let table = RoutingTable::build(&plan, &RoutingTable::default());
    for endpoint in table.pools().flat_map(|pool| &pool.endpoints) {
        endpoint.vitals.set_probe(Probe::Passed);
    }
    let table = RoutingTable::build(&plan, &table);
    let pool = table.pools().next().unwrap();
    let (mut random, now, headers) = (0_u64, now(), HeaderMap::new());
    bencher.bench_local(|| {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let client = Ipv4Addr::from_bits(random as u32).into();
        let wanted = pool.wanted(&headers, "/api/v1/items?page=2");
        let draw = Draw { random, client, now, wanted };
        pool.pick(divan::black_box(draw), &Tried::default()).unwrap().weight
    });
}

#[expect(clippy::disallowed_methods, reason = "any instant does")]
fn now() -> Instant {
    Instant::now()
}

fn planned(world: &World) -> Plan {
    let memory = Memory {
        previous: &Plan::default(),
        been_ready: &BTreeSet::new(),
        drained: &BTreeSet::new(),
    };
    plan(world, memory, &LabelSettings::default())
}

/// Five containers a pool, each pool with a host name of its own.
fn world(count: u16) -> World {
    let workloads = (0..count).map(|number| {
        let pool = number % 200;
        let labels = [
            ("lb.pool".to_owned(), format!("shop-{pool}")),
            ("lb.host".to_owned(), format!("shop-{pool}.example")),
            ("lb.timeout.response".to_owned(), "30s".to_owned()),
            ("com.docker.compose.project".to_owned(), "bench".to_owned()),
        ];
        let [high, low] = number.to_be_bytes();
        Workload {
            id: WorkloadId { id: format!("{number:064x}").into(), life: 0 },
            name: format!("bench_shop-{pool}_{number}").into(),
            project: Some("bench".into()),
            service: Some(format!("shop-{pool}").into()),
            labels: BTreeMap::from(labels),
            run: RunState::Running,
            health: Health::None,
            created: i64::from(number),
            place: Place::Container {
                mode: NetworkMode::Own,
                networks: vec![Attachment {
                    name: "bench_default".into(),
                    network: "0123456789ab".into(),
                    address: Some(Ipv4Addr::new(10, 9, high, low).into()),
                }],
                exposed: Some(vec![8080]),
            },
            stop_timeout: None,
            exit_code: None,
            oneoff: false,
            host_name: None,
        }
    });
    let observation = Observation { workloads: workloads.collect(), ..Observation::default() };
    World::from([(SourceName::docker(), Arc::new(observation))])
}
