//! One scenario in one mode: lived through, counted, and held against the goals.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use super::client::Failure;
use super::clock::{Micros, now};
use super::leaving::{Arrival, Arrivals, lags};
use super::load::{Asking, Load, Outcome, target};
use super::scenario::{Mode, Scenario};
use super::site::{Line, Site};
use super::steps;

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) mode: Mode,
    pub(super) sent: usize,
    pub(super) failed: BTreeMap<Failure, usize>,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
    /// Of the replicas that left while others were ready: from the event to the
    /// last request, sorted.
    pub(super) lags: Vec<Micros>,
    /// How late the load itself was at worst, which is what this machine adds.
    pub(super) noise: Duration,
    /// Of some requests that failed, what is known.
    pub(super) examples: Vec<String>,
}

/// Lives through a scenario. `name` marks its requests.
pub(super) fn live(
    site: &mut Site,
    scenario: Scenario,
    mode: Mode,
    name: &str,
    per_second: u32,
) -> Row {
    let begin = now();
    let load = Load { per_second, asking: scenario.asking };
    let load = load.start(site.door(), name);
    thread::sleep(BEFORE);
    steps::take(site, scenario.steps);
    thread::sleep(AFTER);
    let outcomes = load.finish();

    let lines = site.requests(name);
    let log = site.access_log(name);
    let mut failed = BTreeMap::new();
    let mut examples = Vec::new();
    let twice = executed_twice(&lines);
    for outcome in &outcomes {
        let target = target(name, outcome.number);
        let told = log.get(&target);
        if let Some(failure) = failure(outcome, told, twice.contains(&target), scenario.asking) {
            *failed.entry(failure).or_default() += 1;
            if examples.len() < EXAMPLES_MAX {
                let told = told.map_or("(not in the access log)", |(_, line)| line);
                let (took, sent) = (outcome.took, outcome.sent - begin);
                examples.push(format!("{failure} after {took:?}, sent at {sent} µs: {told}"));
            }
        }
    }
    let mut lags = if scenario.others {
        lags(&site.ear.since(begin), &arrivals(&lines, &outcomes, name))
    } else {
        Vec::new()
    };
    lags.sort_unstable();
    let mut took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
    took.sort_unstable();
    Row {
        scenario,
        mode,
        sent: outcomes.len(),
        failed,
        p99: took[took.len() * 99 / 100],
        longest: took[took.len() - 1],
        lags,
        noise: outcomes.iter().map(|outcome| outcome.late).max().unwrap(),
        examples,
    }
}

impl Row {
    /// Which goals it misses.
    pub(super) fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        for (failure, count) in &self.failed {
            // A replica died with a body that must not be sent again: told so.
            let is_clear = matches!(failure, Failure::Status(502 | 503));
            if self.scenario.asking == Asking::Get || !is_clear {
                misses.push(format!("{count} failed: {failure}"));
            }
        }
        if self.longest > HOLD + self.noise + SLACK {
            misses.push(format!("a request took {:?}, longer than the hold", self.longest));
        }
        let millis = |lag: Micros| lag as f64 / 1e3;
        if let Some(median) = self.median_lag()
            && median > LAG_MEDIAN_MAX
        {
            misses
                .push(format!("a last request {:.1} ms (median) after the event", millis(median)));
        }
        if let Some(&most) = self.lags.last()
            && most > LAG_MAX + super::clock::micros(self.noise)
        {
            misses.push(format!("a last request {:.1} ms (max) after the event", millis(most)));
        }
        misses
    }

    pub(super) fn median_lag(&self) -> Option<Micros> {
        self.lags.get(self.lags.len() / 2).copied()
    }
}

fn failure(
    outcome: &Outcome,
    told: Option<&(String, String)>,
    twice: bool,
    asking: Asking,
) -> Option<Failure> {
    // What is asked by GET may be asked again.
    if twice && asking != Asking::Get {
        return Some(Failure::Twice);
    }
    match (&outcome.end, told) {
        (Err(failure), _) => Some(*failure),
        (Ok(by), Some((container, _))) if by != container => Some(Failure::Misnamed),
        (Ok(_), _) => None,
    }
}

fn executed_twice(lines: &[Line]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let executed = lines.iter().filter(|line| line.stage == "executed");
    executed.filter(|line| !seen.insert(&line.target)).map(|line| line.target.clone()).collect()
}

fn arrivals(lines: &[Line], outcomes: &[Outcome], name: &str) -> Arrivals {
    let sent: BTreeMap<_, _> =
        outcomes.iter().map(|outcome| (target(name, outcome.number), outcome.sent)).collect();
    let mut arrivals = Arrivals::new();
    for line in lines.iter().filter(|line| line.stage != "cut") {
        let sent = sent.get(&line.target).copied().unwrap_or(line.at);
        arrivals.entry(line.replica.clone()).or_default().push(Arrival { at: line.at, sent });
    }
    arrivals
}

/// Of load around what is done.
const BEFORE: Duration = Duration::from_millis(1_500);
const AFTER: Duration = Duration::from_millis(2_500);

/// `lb.hold` unless it is set.
const HOLD: Duration = Duration::from_secs(10);
/// For the answer itself, of a replica that has just started.
const SLACK: Duration = Duration::from_millis(500);
const LAG_MEDIAN_MAX: Micros = 10_000;
const LAG_MAX: Micros = 50_000;
const EXAMPLES_MAX: usize = 5;
