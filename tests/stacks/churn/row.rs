//! One scenario in one mode: lived through, counted, and held against the goals.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::client::Failure;
use super::clock::{Micros, micros, now};
use super::leaving::{Arrival, Arrivals, Lag, lags};
use super::load::{Asking, Load, Outcome, target};
use super::scenario::{Mode, Scenario};
use super::site::{Line, Site};
use super::steps;
use super::table::cells;

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
    pub(super) sent: usize,
    pub(super) failed: BTreeMap<Failure, usize>,
    pub(super) p99: Duration,
    pub(super) longest: Duration,
    /// How the replicas left that did so while others were ready.
    pub(super) lags: Vec<Lag>,
    /// How many of the Engine's events were of these replicas.
    pub(super) events: usize,
    /// How late the load itself was at worst, which is what this machine adds.
    pub(super) noise: Duration,
    /// Of some requests that failed, what is known.
    examples: Vec<String>,
    /// Why the replicas do not all serve when it is long over.
    pub(super) unsettled: Option<String>,
}

/// Lives through a scenario. `name` marks its requests.
pub(super) fn live(site: &Site, scenario: Scenario, mode: Mode, name: &str, pace: Pace) -> Row {
    let begin = now();
    let load = Load { per_second: pace.per_second, asking: scenario.asking };
    let load = load.start(site.door(), name);
    thread::sleep(pace.before);
    steps::take(site, scenario.steps);
    thread::sleep(pace.after);
    let outcomes = load.finish();

    let lines = site.requests(name);
    let log = site.access_log(name, begin);
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
    let (events, project) = (site.ear.since(begin), site.stack.project());
    let lags = if scenario.others {
        lags(&events, &arrivals(&lines, &outcomes, name))
    } else {
        Vec::new()
    };
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
        events: events.iter().filter(|it| it.project.as_deref() == Some(project)).count(),
        noise: outcomes.iter().map(|outcome| outcome.late).max().unwrap(),
        examples,
        unsettled: None,
    }
}

impl Row {
    /// Which goals it misses.
    pub(super) fn misses(&self) -> Vec<String> {
        let mut misses = self.examples.clone();
        misses.extend(self.unsettled.as_ref().map(|why| format!("not healed: {why}")));
        if self.events == 0 {
            misses.push("nothing has happened".to_owned());
        }
        for (failure, count) in &self.failed {
            // A replica died with a body that must not be sent again: told so.
            let is_clear = matches!(failure, Failure::Status(502 | 503));
            if self.scenario.asking == Asking::Get || !is_clear {
                misses.push(format!("{count} failed: {failure}"));
            }
        }
        let wait = if self.scenario.others { SLACK } else { HOLD + SLACK };
        if self.longest > wait + self.noise {
            misses.push(format!("a request took {:?}, more than {wait:?}", self.longest));
        }
        let (median, most) = (self.median_lag(), self.lags.last());
        let late = |lag: Option<&Lag>, bound| lag.filter(|lag| lag.time > bound).cloned();
        for (kind, lag) in [
            ("median", late(median, LAG_MEDIAN_MAX)),
            ("max", late(most, LAG_MAX + micros(self.noise))),
        ] {
            misses.extend(lag.map(|Lag { time, told }| {
                format!("a last request {time} µs ({kind}) after the {told}")
            }));
        }
        misses
    }

    /// Says at once what it is like. Not by `eprintln!`, which the test runner
    /// keeps to itself.
    pub(super) fn tell(&self) {
        let mut to = io::stderr().lock();
        let Self { scenario, mode, events, noise, .. } = self;
        let head = format!("{} ({mode}), {events} events, {noise:?} of noise", scenario.name);
        let _ = writeln!(to, "{head}:{}", cells(self));
        for miss in self.misses() {
            let _ = writeln!(to, "    {miss}");
        }
    }

    pub(super) fn median_lag(&self) -> Option<&Lag> {
        self.lags.get(self.lags.len() / 2)
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
        arrivals.entry(line.replica.clone()).or_default().push(Arrival {
            at: line.at,
            sent,
            target: line.target.clone(),
        });
    }
    arrivals
}

/// `lb.hold` unless it is set.
const HOLD: Duration = Duration::from_secs(10);
/// For what is tried in vain before, and for the answer itself on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
const LAG_MEDIAN_MAX: Micros = 10_000;
const LAG_MAX: Micros = 50_000;
const EXAMPLES_MAX: usize = 5;
