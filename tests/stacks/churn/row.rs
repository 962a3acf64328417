//! One scenario in one mode: lived through and counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::balancing::{Balancing, Visitors};
use super::clock::now;
use super::evidence::Evidence;
use super::goals::misses;
use super::leaving::Lag;
use super::lines::Speaks;
use super::load::Load;
use super::scenario::{Mode, Scenario};
use super::site::Site;
use super::steps;
use super::table::cells;
use crate::support::client::Failure;

/// How much load there is, and for how long around what is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) per_second: u32,
    pub(super) before: Duration,
    pub(super) after: Duration,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) mode: Mode,
    pub(super) balancing: Balancing,
    pub(super) speaks: Speaks,
    pub(super) sent: usize,
    pub(super) failed: BTreeMap<Failure, usize>,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
    /// How the replicas left that did so while others were ready.
    pub(super) lags: Vec<Lag>,
    /// Requests of those who belong to a replica, and those of them that met
    /// another although neither had come or gone.
    pub(super) bound: usize,
    pub(super) strays: usize,
    /// How many of the Engine's events were of these replicas.
    pub(super) events: usize,
    /// How late the load itself was at worst, which is what this machine adds.
    pub(super) noise: Duration,
    /// Of some requests that failed, what is known.
    pub(super) examples: Vec<String>,
    /// Why the replicas do not all serve when it is long over.
    pub(super) unsettled: Option<String>,
}

/// Lives through a scenario. `name` marks its requests.
pub(super) fn live(site: &Site, scenario: Scenario, mode: Mode, name: &str, pace: Pace) -> Row {
    let begin = now();
    let load = Load { per_second: pace.per_second, asking: scenario.asking };
    let names = site.replicas().into_iter().collect();
    let load = load.start(site.door(), site.speaks, name, Visitors::new(site.balancing, names));
    thread::sleep(pace.before);
    steps::take(site, scenario.steps);
    thread::sleep(pace.after);
    let evidence = Evidence::gather(site, begin, name, load.finish());

    let (failed, examples) = evidence.failures(scenario.asking);
    let outcomes = &evidence.outcomes;
    let mut took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    took.sort_unstable();
    let (bound, strays) = evidence.strays();
    Row {
        scenario,
        mode,
        balancing: site.balancing,
        speaks: site.speaks,
        bound,
        strays,
        sent: outcomes.len(),
        failed,
        p99: took[took.len() * 99 / 100],
        longest: took[took.len() - 1],
        lags: if scenario.others { evidence.lags() } else { Vec::new() },
        events: evidence.events(),
        noise: outcomes.iter().map(|outcome| outcome.late).max().unwrap(),
        examples,
        unsettled: None,
    }
}

impl Row {
    /// Says at once what it is like. Not by `eprintln!`, which the test runner
    /// keeps to itself.
    pub(super) fn tell(&self) {
        let mut to = io::stderr().lock();
        let Self { scenario, mode, balancing, speaks, events, noise, .. } = self;
        let (pool, protocol) = (balancing.as_str(), speaks.as_str());
        let head = format!(
            "{} ({mode}, {pool}, {protocol}), {events} events, {noise:?} of noise",
            scenario.name
        );
        let _ = writeln!(to, "{head}:{}", cells(self));
        for miss in misses(self) {
            let _ = writeln!(to, "    {miss}");
        }
    }
}
