//! What metrics show of replicas and routes: one row for each label set.

use crate::domain::lifecycle::Trouble;
use crate::domain::pool::{BUCKETS, Histogram, ReplicaTally, StatusClass, Tally};
use crate::telemetry::metrics::Snapshot;

/// A snapshot, put in order for those metrics that have a sample for each replica
/// or route.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) replicas: Vec<Replica<'a>>,
    pub(super) routes: Vec<Route<'a>>,
}

/// The replicas of one name in a pool, those that have left of late included.
#[derive(Debug)]
pub(super) struct Replica<'a> {
    pub(super) pool: &'a str,
    pub(super) name: &'a str,
    pub(super) attempts: u64,
    pub(super) failures: u64,
    pub(super) ejections: [u64; Trouble::ALL.len()],
    pub(super) answers: Answers,
    pub(super) in_flight: u64,
}

/// One way to a pool that has several.
#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) pool: &'a str,
    pub(super) name: &'a str,
    pub(super) answers: Answers,
}

/// A tally at one moment.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) classes: [u64; StatusClass::ALL.len()],
    pub(super) durations: Durations,
}

/// A histogram at one moment; each bucket counts its own alone.
#[derive(Debug, Default)]
pub(super) struct Durations {
    pub(super) counts: [u64; BUCKETS.len() + 1],
    pub(super) sum_us: u64,
}

impl<'a> Scene<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut replicas = replicas(snapshot);
        if let Some(mut rest) = beyond(&mut replicas).into_iter().reduce(|sum, row| sum.and(&row)) {
            (rest.pool, rest.name) = (OTHER, OTHER);
            replicas.push(rest);
        }
        let mut routes = routes(snapshot);
        if let Some(mut rest) = beyond(&mut routes).into_iter().reduce(|sum, row| sum.and(&row)) {
            (rest.pool, rest.name) = (OTHER, OTHER);
            routes.push(rest);
        }
        Self { snapshot, replicas, routes }
    }
}

/// Takes the rows that are too many, to be added up.
fn beyond<T>(rows: &mut Vec<T>) -> Vec<T> {
    rows.split_off(rows.len().min(ROWS_MAX))
}

/// Twins of one name share their tally, and come as one.
fn replicas(snapshot: &Snapshot) -> Vec<Replica<'_>> {
    let mut rows: Vec<Replica<'_>> = Vec::new();
    for pool in &snapshot.pools {
        let mut endpoints: Vec<_> = pool.endpoints.iter().collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        for twins in endpoints.chunk_by(|a, b| a.name == b.name) {
            if let [first, ..] = twins {
                let in_flight = twins.iter().map(|it| u64::from(it.vitals.in_flight())).sum();
                let row = Replica::of(&pool.label, &first.name, &first.tally);
                rows.push(Replica { in_flight, ..row });
            }
        }
    }
    let departed = snapshot.departed.iter();
    rows.extend(departed.map(|it| Replica::of(&it.pool, &it.replica, &it.tally)));
    rows
}

fn routes(snapshot: &Snapshot) -> Vec<Route<'_>> {
    let rows = snapshot.pools.iter().flat_map(|pool| {
        let row = |(name, tally)| Route { pool: &pool.label, name, answers: Answers::of(tally) };
        pool.routes.iter().map(row)
    });
    rows.collect()
}

impl<'a> Replica<'a> {
    fn of(pool: &'a str, name: &'a str, tally: &ReplicaTally) -> Self {
        Self {
            pool,
            name,
            attempts: tally.attempts(),
            failures: tally.failures(),
            ejections: Trouble::ALL.map(|trouble| tally.ejections(trouble)),
            answers: Answers::of(&tally.answers),
            in_flight: 0,
        }
    }

    fn and(self, other: &Self) -> Self {
        let mut sum = self;
        sum.attempts += other.attempts;
        sum.failures += other.failures;
        add(&mut sum.ejections, &other.ejections);
        sum.answers.add(&other.answers);
        sum.in_flight += other.in_flight;
        sum
    }
}

impl Route<'_> {
    fn and(self, other: &Self) -> Self {
        let mut sum = self;
        sum.answers.add(&other.answers);
        sum
    }
}

impl Answers {
    pub(super) fn of(tally: &Tally) -> Self {
        let classes = StatusClass::ALL.map(|class| tally.requests(class));
        Self { classes, durations: Durations::of(&tally.duration) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        add(&mut self.classes, &other.classes);
        add(&mut self.durations.counts, &other.durations.counts);
        self.durations.sum_us += other.durations.sum_us;
    }

    pub(super) fn by_class(&self) -> impl Iterator<Item = (StatusClass, u64)> {
        StatusClass::ALL.into_iter().zip(self.classes)
    }
}

impl Durations {
    pub(super) fn of(histogram: &Histogram) -> Self {
        Self { counts: histogram.counts(), sum_us: histogram.sum_us() }
    }
}

fn add(mine: &mut [u64], theirs: &[u64]) {
    mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
}

/// Replicas that a scrape shows apart, and routes. With both at their bound it
/// has some 10 MB, which a Prometheus still takes every 15 s.
pub(super) const ROWS_MAX: usize = 2_000;

/// Both labels of what is added up; nothing that has a name can be called so.
pub(super) const OTHER: &str = "(other)";
