//! The control loop: the only writer of the routing table.
//!
//! It is level-triggered. A source sends all it sees, not what changed, so a
//! lost event costs time and never correctness.

mod drains;
mod files;
mod linger;
mod orders;
mod overview;
mod problems;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::info;

pub use files::read_all as read_label_files;
pub use orders::{Operator, Refusal, Wish};
pub use overview::{Overview, SourceOverview};

use crate::control::drains::Drains;
use crate::control::files::{News, Shelf};
use crate::control::linger::Lingering;
use crate::control::orders::{Order, choose};
use crate::control::problems::Known;
use crate::domain::labels::LabelSettings;
use crate::domain::lifecycle::{self, State};
use crate::domain::names::SourceName;
use crate::domain::plan::diff::diff;
use crate::domain::plan::{Memory, Plan, plan};
use crate::domain::problem::{Problem, Subject};
use crate::domain::routing::RoutingTable;
use crate::domain::world::{Report, SourceHealth, Vantage, WorkloadId, World};
use crate::live::{Alarm, Publisher};
use crate::telemetry::metrics::Pace;

/// What the control loop works with.
#[derive(Debug)]
pub struct Control {
    settings: LabelSettings,
    publisher: Publisher,
    alarm: Alarm,
    overview: watch::Sender<Arc<Overview>>,
    notes: Vec<Problem>,
    /// What tasks have noted, by topic.
    noted: BTreeMap<&'static str, Vec<Problem>>,
    world: World,
    /// As the planner made it of the world.
    planned: Plan,
    lingering: Lingering,
    /// The files that labels name.
    shelf: Shelf,
    /// The containers that have been ready, in any life.
    been_ready: BTreeSet<Arc<str>>,
    /// The lives of which it was told that they are ready.
    greeted: BTreeSet<WorkloadId>,
    /// By an operator. None outlives its workload.
    drained: BTreeSet<WorkloadId>,
    drains: Drains,
    known: Known,
    operator: Operator,
    orders: mpsc::Receiver<Order>,
    pace: Arc<Pace>,
    /// When the first event happened that no table has yet, in nanoseconds since
    /// the epoch.
    event_at: Option<i64>,
}

impl Control {
    /// `sources` are the sources that will report; the overview lists them from
    /// the start. `notes` are problems that stand as long as the process.
    pub fn new(
        settings: LabelSettings,
        sources: &[SourceName],
        notes: Vec<Problem>,
        publisher: Publisher,
        alarm: Alarm,
    ) -> (Self, watch::Receiver<Arc<Overview>>) {
        let sources = sources.iter().cloned();
        let overview = Overview {
            sources: sources
                .map(|name| SourceOverview { name, health: None, seen_at: None })
                .collect(),
            ..Overview::default()
        };
        let (overview, watched) = watch::channel(Arc::new(overview));
        let (operator, orders) = Operator::channel();
        let shelf = Shelf::new(&settings.files);
        let mut control = Self {
            shelf,
            settings,
            publisher,
            alarm,
            overview,
            notes,
            noted: BTreeMap::new(),
            world: World::new(),
            planned: Plan::default(),
            lingering: Lingering::default(),
            been_ready: BTreeSet::new(),
            greeted: BTreeSet::new(),
            drained: BTreeSet::new(),
            drains: Drains::default(),
            known: Known::default(),
            operator,
            orders,
            pace: Arc::default(),
            event_at: None,
        };
        control.report_problems();
        (control, watched)
    }

    /// Notes in `pace` how fast it is.
    pub fn paced(self, pace: Arc<Pace>) -> Self {
        Self { pace, ..self }
    }

    /// The way to give it orders.
    pub fn operator(&self) -> Operator {
        self.operator.clone()
    }

    /// Runs until every source is gone. `follow` is shown each new table;
    /// `stopping` tells that the balancer takes nothing new any more.
    pub async fn run(
        mut self,
        mut reports: mpsc::Receiver<Report>,
        mut stopping: watch::Receiver<bool>,
        mut follow: impl FnMut(&RoutingTable),
    ) {
        let mut pending = Vec::new();
        if self.overview.borrow().has_first_world() {
            // Nobody will report: the empty world is the whole one.
            self.apply(&mut follow);
        }
        loop {
            let forgotten = self.lingering.next_deadline();
            let drained = self.drains.next_deadline();
            // Taking all that waits at once makes a burst of reports cost one plan.
            // Reports go first, since they may take traffic away.
            tokio::select! {
                biased;
                taken = reports.recv_many(&mut pending, PENDING_MAX) => {
                    if taken == 0 {
                        return;
                    }
                    self.heed(&pending);
                    if self.take_in(&mut pending) {
                        self.apply(&mut follow);
                    }
                }
                Ok(()) = stopping.changed() => self.note_stopping(*stopping.borrow()),
                () = self.alarm.raised() => self.refresh(&mut follow),
                news = self.shelf.news() => self.take_files(news, &mut follow),
                Some(order) = self.orders.recv() => self.obey(order, &mut follow),
                () = sleep_until(forgotten) => self.apply(&mut follow),
                () = sleep_until(drained) => self.cut_drained(),
            }
        }
    }

    /// Has what hints take away stop taking requests, before anything is planned.
    fn heed(&self, reports: &[Report]) {
        let table = self.publisher.current();
        let mut any = false;
        for report in reports {
            match report {
                Report::Hint { source, hint } => {
                    any |= table.heed(hint, self.world.get(source).map(|it| &**it))
                }
                Report::Seen { .. } | Report::Health { .. } | Report::Noted { .. } => {}
            }
        }
        if any {
            self.publisher.nudge();
        }
    }

    /// Takes reports into the world. Whether there is anything new to plan.
    fn take_in(&mut self, reports: &mut Vec<Report>) -> bool {
        let mut changed = false;
        for report in reports.drain(..) {
            match report {
                Report::Seen { source, observation, event_at } => {
                    let before = self.world.get(&source);
                    let is_news = before.is_none_or(|before| !before.plans_as(&observation))
                        || !self.has_seen(&source);
                    if is_news {
                        changed = true;
                        self.event_at = self.event_at.or(event_at);
                    }
                    self.world.insert(source.clone(), Arc::new(observation));
                    self.note_seen(&source);
                }
                Report::Hint { source, hint } => {
                    let seen = self.world.get_mut(&source);
                    let seen = seen.map(|it| &mut Arc::make_mut(it).workloads);
                    let meant = seen.into_iter().flatten().filter(|it| it.id.id == hint.id);
                    for workload in meant {
                        changed |= lifecycle::take_away(workload, &hint.loss);
                    }
                }
                Report::Health { source, health } => self.note_health(&source, health),
                Report::Noted { topic, problems } => {
                    self.noted.insert(topic, problems);
                    self.report_problems();
                }
            }
        }
        changed
    }

    /// Plans the world and puts the plan into force; again while replicas in it
    /// are ready for the first time, since those have a say in their pool's
    /// settings from then on.
    fn apply(&mut self, follow: &mut impl FnMut(&RoutingTable)) {
        while self.put_into_force(follow) {}
    }

    /// Whether a replica is ready for the first time in what is in force now.
    fn put_into_force(&mut self, follow: &mut impl FnMut(&RoutingTable)) -> bool {
        let began = Instant::now();
        self.forget_drained();
        let memory = Memory {
            previous: &self.planned,
            been_ready: &self.been_ready,
            drained: &self.drained,
        };
        let planned = plan(&self.world, memory, &self.settings);
        let files = Arc::make_mut(&mut self.settings.files);
        files.retain(|path| planned.files.contains(path));
        if !self.shelf.want(&planned.files, files) {
            // What is in force stands for the moment that they take to read.
            // What was taken away is away already.
            return false;
        }
        let mut served = self.lingering.extend(&self.planned, &planned, Instant::now());
        self.planned = planned;
        self.forget_absent();
        served.complete = self.overview.borrow().has_first_world();
        let served = Arc::new(served);
        self.publisher.publish(|previous| RoutingTable::build(&served, previous));
        self.pace.build.record(began.elapsed());
        if let Some(event_at) = self.event_at.take() {
            self.pace.lag.record(lag(event_at));
        }
        let changes = diff(&self.overview.borrow().plan, &served);
        for change in changes.iter().take(CHANGES_TOLD_MAX) {
            info!("{change}");
        }
        if let Some(more) = changes.len().checked_sub(CHANGES_TOLD_MAX).filter(|&more| more > 0) {
            info!("and {more} more changes of the routes");
        }
        self.overview.send_modify(|overview| {
            let overview = Arc::make_mut(overview);
            overview.plan = served;
            overview.world.clone_from(&self.world);
        });
        self.report_problems();
        self.after_publish(follow)
    }

    fn take_files(&mut self, news: Vec<News>, follow: &mut impl FnMut(&RoutingTable)) {
        let files = Arc::make_mut(&mut self.settings.files);
        let mut changed = false;
        for (path, found) in news {
            changed |= files.note(&path, found);
        }
        if changed {
            self.apply(follow);
        }
    }

    /// Puts the plan in force anew if the live signs of an endpoint say otherwise.
    fn refresh(&mut self, follow: &mut impl FnMut(&RoutingTable)) {
        if !self.publisher.current().is_stale() {
            return;
        }
        let served = Arc::clone(&self.overview.borrow().plan);
        self.publisher.publish(|previous| RoutingTable::build(&served, previous));
        if self.after_publish(follow) {
            self.apply(follow);
        }
    }

    /// Shows the new table to the prober. Whether a replica in it is ready for
    /// the first time.
    fn after_publish(&mut self, follow: &mut impl FnMut(&RoutingTable)) -> bool {
        let mut is_news = false;
        let table = self.publisher.current();
        for endpoint in table.endpoints() {
            let workload = &endpoint.id.workload;
            if endpoint.vitals.state() == State::Ready && self.greeted.insert(workload.clone()) {
                info!(replica = %endpoint.name, address = %endpoint.id.address, "Replica ready");
                is_news |= self.been_ready.insert(Arc::clone(&workload.id));
            }
        }
        self.drains.follow(&table, Instant::now());
        follow(&table);
        is_news
    }

    /// Forgets of whom it was told that are planned no more.
    fn forget_absent(&mut self) {
        let planned = self.planned.pools.values().flat_map(|pool| &pool.members);
        let present: BTreeSet<_> = planned.map(|member| &member.workload).collect();
        self.greeted.retain(|workload| present.contains(workload));
        let present: BTreeSet<_> = present.into_iter().map(|workload| &workload.id).collect();
        self.been_ready.retain(|id| present.contains(id));
    }

    /// Has replicas drain or serve again, and says who they are.
    fn obey(&mut self, order: Order, follow: &mut impl FnMut(&RoutingTable)) {
        let chosen = choose(&self.planned, &order.names);
        if let Ok(chosen) = &chosen {
            let mut changed = false;
            for workload in chosen {
                changed |= match order.wish {
                    Wish::Drain => self.drained.insert(workload.clone()),
                    Wish::Undrain => self.drained.remove(workload),
                };
            }
            if changed {
                self.apply(follow);
            }
        }
        // Who does not wait for the answer has given the order all the same.
        let _ = order.reply.send(chosen);
    }

    /// An operator's word holds for one life of a workload.
    fn forget_drained(&mut self) {
        if !self.drained.is_empty() {
            let seen = self.world.values().flat_map(|observation| &observation.workloads);
            let present: BTreeSet<_> = seen.map(|workload| &workload.id).collect();
            self.drained.retain(|workload| present.contains(workload));
        }
    }

    fn cut_drained(&self) {
        if self.drains.cut(Instant::now()) {
            self.publisher.nudge();
        }
    }

    fn has_seen(&self, source: &SourceName) -> bool {
        let overview = self.overview.borrow();
        overview.sources.iter().any(|it| it.name == *source && it.seen_at.is_some())
    }

    fn note_seen(&self, source: &SourceName) {
        let gateways = self.world.get(source).map(|seen| gateways(&seen.vantage));
        self.overview.send_modify(|overview| {
            let overview = Arc::make_mut(overview);
            if *source == SourceName::docker() {
                overview.gateways = gateways.unwrap_or_default();
            }
            overview.world.clone_from(&self.world);
            if let Some(it) = overview.sources.iter_mut().find(|it| it.name == *source) {
                it.seen_at = Some(Instant::now());
            }
        });
    }

    fn note_stopping(&self, stopping: bool) {
        self.overview.send_modify(|overview| Arc::make_mut(overview).stopping = stopping);
    }

    fn note_health(&mut self, source: &SourceName, health: SourceHealth) {
        self.overview.send_modify(|overview| {
            let sources = &mut Arc::make_mut(overview).sources;
            if let Some(it) = sources.iter_mut().find(|it| it.name == *source) {
                it.health = Some(health);
            }
        });
        self.report_problems();
    }

    /// Brings the list of problems up to date and logs those that are new.
    fn report_problems(&mut self) {
        let overview = self.overview.borrow().clone();
        let away = overview.sources.iter().filter_map(away);
        let planned = overview.plan.problems.iter().cloned();
        let notes = self.notes.iter().chain(self.noted.values().flatten()).cloned();
        let problems: Vec<_> = notes.chain(away).chain(planned).collect();
        self.known.log_news(&problems);
        // Who holds it has all of it copied.
        drop(overview);
        self.overview.send_modify(|overview| Arc::make_mut(overview).problems = problems);
    }
}

/// How long ago an event happened, by its own clock; nothing where that is ahead.
#[expect(clippy::disallowed_methods, reason = "a daemon tells the time of day")]
fn lag(event_at: i64) -> Duration {
    let at = Duration::from_nanos(u64::try_from(event_at).unwrap_or_default());
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + at).unwrap_or_default()
}

fn away(source: &SourceOverview) -> Option<Problem> {
    let Some(SourceHealth::Away { message, hint, .. }) = &source.health else { return None };
    Some(Problem::new(Subject::Source(source.name.as_str().into()), message, hint))
}

fn gateways(vantage: &Vantage) -> Vec<IpAddr> {
    match vantage {
        Vantage::Host => Vec::new(),
        Vantage::Container { networks, .. } => {
            networks.iter().filter_map(|network| network.gateway).collect()
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

const PENDING_MAX: usize = 64;

/// A daemon with thousands of containers should not fill the log at once.
const CHANGES_TOLD_MAX: usize = 64;

#[cfg(test)]
mod tests;
