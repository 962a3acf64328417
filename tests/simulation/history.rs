//! One history: what happens by its seed, and what is wrong in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::control::{Control, Overview};
use evenkeel::domain::labels::LabelSettings;
use evenkeel::domain::lifecycle::State;
use evenkeel::domain::names::SourceName;
use evenkeel::domain::plan::{Memory, Plan, plan};
use evenkeel::domain::routing::RoutingTable;
use evenkeel::domain::world::World;
use evenkeel::live::{self, Alarm};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use super::checks::Checks;
use super::client::Balancer;
use super::engine::Engine;
use super::operator::Deed;
use super::prober::Prober;
use super::watcher;

/// What became of one seed.
pub(super) struct History {
    pub(super) seed: u64,
    pub(super) faults: Vec<String>,
    story: Vec<String>,
}

impl History {
    pub(super) fn play(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (faults, story) = LocalSet::new().block_on(&runtime, async {
            let engine = Engine::new(seed);
            let checks = Checks::new(Rc::clone(&engine));
            play(&engine, &checks).await;
            engine.take_story()
        });
        Self { seed, faults, story }
    }

    /// All that happened.
    pub(super) fn told(&self) -> String {
        self.story.join("\n")
    }

    /// What is wrong, and how to see more of it.
    pub(super) fn complaint(&self) -> String {
        let shown: Vec<_> = self.faults.iter().take(5).map(String::as_str).collect();
        let (seed, count) = (self.seed, self.faults.len());
        format!("EVK_SEED={seed}: {count} faults, the first of them:\n  {}", shown.join("\n  "))
    }
}

async fn play(engine: &Rc<Engine>, checks: &Rc<Checks>) {
    let (publisher, reader) = live::channel(RoutingTable::default());
    let alarm = Alarm::default();
    let sources = [SourceName::docker()];
    let (control, overview) =
        Control::new(LabelSettings::default(), &sources, Vec::new(), publisher, alarm.clone());
    let (reports, received) = mpsc::channel(64);
    let (_stop, stopping) = watch::channel(false);
    let prober = Prober::new(Rc::clone(engine), alarm.clone());
    engine.spawn(control.run(received, stopping, move |table| prober.follow(table)));

    for pool in ["web", "web", "web", "api", "api"] {
        engine.bring_up(pool).await;
    }
    let (told, relayed) = mpsc::channel(64);
    engine.spawn(watcher::watch(Rc::clone(engine), Rc::clone(checks), told));
    engine.spawn(watcher::relay(Rc::clone(engine), Rc::clone(checks), relayed, reports));
    sleep(Duration::from_secs(3)).await;

    let idle = Default::default();
    let balancer = Rc::new(Balancer {
        engine: Rc::clone(engine),
        checks: Rc::clone(checks),
        reader: reader.clone(),
        alarm,
        bell: Default::default(),
        idle,
        began: Instant::now(),
    });
    engine.spawn(Rc::clone(&balancer).ring());
    let requests = engine.spawn(arrive(Rc::clone(&balancer)));
    disturb(engine).await;
    requests.await.unwrap();
    settle(engine).await;

    let mut reader = reader;
    let table = Arc::clone(reader.current());
    let quiet = Quiet { engine, checks, table: &table, overview: &overview.borrow() };
    quiet.check();
}

/// Requests come whether or not those before them have been answered.
async fn arrive(balancer: Rc<Balancer>) {
    let mut open = Vec::new();
    let until = Instant::now() + BUSY;
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let request = balancer.request(number);
        open.push(balancer.engine.spawn(Rc::clone(&balancer).serve(request)));
        sleep(balancer.engine.chance.millis(2..=20)).await;
    }
    for request in open {
        if timeout(PATIENCE, request).await.is_err() {
            balancer.engine.fault("a request never came to its end".to_owned());
        }
    }
}

/// Does things to containers and to the engine, several at once.
async fn disturb(engine: &Rc<Engine>) {
    let until = Instant::now() + BUSY;
    while Instant::now() < until {
        sleep(engine.chance.mostly(20..=400, 20, 0..=5)).await;
        match engine.chance.below(100) {
            0..4 => engine.cut_streams(),
            4..7 => {
                engine.set_away(true);
                let operated = Rc::clone(engine);
                engine.spawn(async move {
                    sleep(operated.chance.millis(50..=3_000)).await;
                    operated.set_away(false);
                });
            }
            7..14 => {
                let pool = if engine.chance.percent(50) { "web" } else { "api" };
                let operated = Rc::clone(engine);
                engine.spawn(async move { operated.bring_up(pool).await });
            }
            14..20 => restart_all(engine),
            _ => {
                let deed = Deed::ALL[engine.chance.below(Deed::ALL.len())];
                if let Some(index) = any_at_rest(engine) {
                    engine.spawn(Rc::clone(engine).act(deed, index));
                }
            }
        }
    }
}

/// All of one pool at once, so that addresses are permuted.
fn restart_all(engine: &Rc<Engine>) {
    let count = engine.containers.borrow().len();
    let pool = if engine.chance.percent(50) { "web" } else { "api" };
    for index in 0..count {
        if engine.see(index, |it| it.pool == pool && !it.busy && !it.removed) {
            engine.spawn(Rc::clone(engine).act(Deed::Restart, index));
        }
    }
}

fn any_at_rest(engine: &Engine) -> Option<usize> {
    let containers = engine.containers.borrow();
    let at_rest: Vec<_> = (0..containers.len())
        .filter(|&it| !containers[it].busy && !containers[it].removed)
        .collect();
    (!at_rest.is_empty()).then(|| at_rest[engine.chance.below(at_rest.len())])
}

/// Waits until nobody does anything and whatever was lost has been listed.
async fn settle(engine: &Rc<Engine>) {
    while engine.is_away() || engine.containers.borrow().iter().any(|it| it.busy) {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(QUIET).await;
}

/// A moment at which nothing has happened for a while.
struct Quiet<'a> {
    engine: &'a Engine,
    checks: &'a Checks,
    table: &'a RoutingTable,
    overview: &'a Overview,
}

impl Quiet<'_> {
    fn check(&self) {
        self.check_plan();
        self.check_truth();
        for pool in self.table.pools() {
            if pool.state.waiting() > 0 {
                self.engine.fault(format!("{} still wait for {}", pool.state.waiting(), pool.name));
            }
            for endpoint in pool.endpoints.iter().filter(|it| it.vitals.in_flight() > 0) {
                self.engine.fault(format!("{endpoint:?} has requests of nobody"));
            }
        }
    }

    /// What is served is the plan of what was seen last.
    fn check_plan(&self) {
        let observation = self.checks.last.borrow().clone().expect("something was seen");
        let world = World::from([(SourceName::docker(), Arc::new(observation))]);
        let memory = Memory {
            previous: &Plan::default(),
            been_ready: &BTreeSet::new(),
            drained: &BTreeSet::new(),
        };
        let planned = plan(&world, memory, &LabelSettings::default());
        let served: BTreeMap<_, _> = self.table.pools().map(|pool| (&pool.name, pool)).collect();
        for (name, pool) in &planned.pools {
            if self.overview.plan.pools.get(name) != Some(pool) {
                self.engine.fault(format!("{name} is served by another plan than {pool:?}"));
            }
            let wanted: BTreeSet<_> = pool.members.iter().filter_map(|it| it.address).collect();
            let endpoints = served.get(name).map(|pool| pool.endpoints.iter());
            let has: BTreeSet<_> =
                endpoints.into_iter().flatten().map(|it| it.id.address).collect();
            if wanted != has {
                self.engine.fault(format!("{name} is served by {has:?} and not by {wanted:?}"));
            }
        }
        if served.len() != planned.pools.len() {
            self.engine.fault(format!("{} pools are served", served.len()));
        }
    }

    /// Those that can serve are ready, and no others.
    fn check_truth(&self) {
        let containers = self.engine.containers.borrow();
        let truth: BTreeSet<_> = containers
            .iter()
            .filter(|it| it.is_ready() && !it.removed)
            .map(|it| (it.id.clone(), it.address))
            .collect();
        let endpoints = self.table.pools().flat_map(|pool| &pool.endpoints);
        let ready: BTreeSet<_> = endpoints
            .filter(|it| it.vitals.state() == State::Ready)
            .map(|it| {
                let address = super::container::last_byte(it.id.address);
                (it.id.workload.id.to_string(), Some(address))
            })
            .collect();
        if truth != ready {
            self.engine.fault(format!("ready are {ready:?}, but in truth {truth:?}"));
        }
    }
}

/// How long things happen.
const BUSY: Duration = Duration::from_secs(4);

/// Longer than a regular list takes to come, and any hint to be lifted.
const QUIET: Duration = Duration::from_secs(50);

/// For a request: longer than any may take.
const PATIENCE: Duration = Duration::from_secs(120);
