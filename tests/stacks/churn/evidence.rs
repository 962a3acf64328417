//! What clients, replicas, the balancer and the Engine say of one row.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::Micros;
use super::events::Event;
use super::leaving::{Arrival, Arrivals, Lag, lags};
use super::load::{Asking, Outcome};
use super::site::{Entry, Line, Site};
use crate::support::client::Failure;

#[derive(Debug)]
pub(super) struct Evidence {
    begin: Micros,
    project: String,
    pub(super) outcomes: Vec<Outcome>,
    lines: Vec<Line>,
    /// By target.
    log: BTreeMap<String, Entry>,
    events: Vec<Event>,
}

impl Evidence {
    /// Of the row that began then and whose requests bear this name.
    pub(super) fn gather(site: &Site, begin: Micros, name: &str, outcomes: Vec<Outcome>) -> Self {
        Self {
            begin,
            project: site.stack.project().to_owned(),
            outcomes,
            lines: site.requests(name),
            log: site.access_log(name, begin),
            events: site.ear.since(begin),
        }
    }

    /// How many requests failed in which way, and of some what is known.
    pub(super) fn failures(&self, asking: Asking) -> (BTreeMap<Failure, usize>, Vec<String>) {
        let (mut failed, mut examples) = (BTreeMap::new(), Vec::new());
        let twice = if asking == Asking::Get {
            // What is asked by GET may be asked again.
            BTreeSet::new()
        } else {
            self.executed_twice()
        };
        for outcome in &self.outcomes {
            let entry = self.log.get(&outcome.target);
            let failure = match (&outcome.end, entry) {
                _ if twice.contains(outcome.target.as_str()) => Failure::Twice,
                (Err(failure), _) => *failure,
                (Ok(by), Some(entry)) if *by != entry.container => Failure::Misnamed,
                (Ok(_), _) => continue,
            };
            *failed.entry(failure).or_default() += 1;
            if examples.len() < EXAMPLES_MAX {
                let entry = entry.map_or("(not in the access log)", |entry| &entry.line);
                let (took, sent) = (outcome.took, outcome.sent - self.begin);
                examples.push(format!("{failure} after {took:?}, sent at {sent} µs: {entry}"));
            }
        }
        (failed, examples)
    }

    /// How replicas left; of the latest request with its line of the access log.
    pub(super) fn lags(&self) -> Vec<Lag> {
        let mut lags = lags(&self.events, &self.arrivals());
        if let Some(latest) = lags.last_mut()
            && let Some(entry) = self.log.get(&latest.target)
        {
            latest.told = format!("{}: {}", latest.told, entry.line);
        }
        lags
    }

    /// How many were sent by who belongs to a replica, and how many of these met
    /// another one although the Engine tells of neither.
    pub(super) fn strays(&self) -> (usize, usize) {
        let told: BTreeSet<_> = self.events.iter().map(|event| &event.container).collect();
        let met = self
            .outcomes
            .iter()
            .filter_map(|outcome| Some((outcome.expected.as_ref()?, outcome.end.as_ref().ok()?)));
        let strays = met.clone().filter(|(expected, met)| {
            expected != met && !told.contains(expected) && !told.contains(met)
        });
        (met.clone().count(), strays.count())
    }

    /// How many of the Engine's events were of these replicas.
    pub(super) fn events(&self) -> usize {
        let replicas: BTreeSet<_> = self.lines.iter().map(|line| &line.replica).collect();
        // Networks' events tell no project.
        let ours = self.events.iter().filter(|event| {
            event.project.as_ref() == Some(&self.project) || replicas.contains(&event.container)
        });
        ours.count()
    }

    fn executed_twice(&self) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let executed = self.lines.iter().filter(|line| line.stage == "executed");
        executed.map(|line| line.target.as_str()).filter(|target| !seen.insert(*target)).collect()
    }

    fn arrivals(&self) -> Arrivals {
        let sent = self.outcomes.iter().map(|outcome| (outcome.target.as_str(), outcome.sent));
        let sent: BTreeMap<_, _> = sent.collect();
        let mut arrivals = Arrivals::new();
        for line in self.lines.iter().filter(|line| line.stage != "cut") {
            let sent = sent.get(line.target.as_str()).copied().unwrap_or(line.at);
            let arrival = Arrival { at: line.at, sent, target: line.target.clone() };
            arrivals.entry(line.replica.clone()).or_default().push(arrival);
        }
        arrivals
    }
}

const EXAMPLES_MAX: usize = 5;

mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_post_that_was_executed_twice_failed_although_it_was_answered() {
        let evidence = evidence(Ok("a".to_owned()), &[("a", "executed"), ("b", "executed")]);
        assert_eq!(failures(&evidence, Asking::Post(1)), [(Failure::Twice, 1)]);
        assert_eq!(failures(&evidence, Asking::Get), []);
    }

    #[test]
    fn a_post_that_one_replica_began_and_another_executed_is_well() {
        let lines = [("b", "arrived"), ("b", "cut"), ("a", "arrived"), ("a", "executed")];
        assert_eq!(failures(&evidence(Ok("a".to_owned()), &lines), Asking::Post(1)), []);
    }

    #[test]
    fn an_answer_by_another_replica_than_the_log_names_failed() {
        let evidence = evidence(Ok("b".to_owned()), &[]);
        assert_eq!(failures(&evidence, Asking::Get), [(Failure::Misnamed, 1)]);
    }

    #[test]
    fn what_the_client_saw_is_told_with_the_line_of_the_log() {
        let (failed, examples) = evidence(Err(Failure::Status(502)), &[]).failures(Asking::Get);
        assert_eq!(failed, BTreeMap::from([(Failure::Status(502), 1)]));
        assert!(examples[0].contains("502") && examples[0].contains("the line"), "{examples:?}");
    }

    fn failures(evidence: &Evidence, asking: Asking) -> Vec<(Failure, usize)> {
        evidence.failures(asking).0.into_iter().collect()
    }

    /// Of one request, which the access log says `a` has answered.
    fn evidence(end: Result<String, Failure>, lines: &[(&str, &str)]) -> Evidence {
        let target = "/row/0".to_owned();
        let (took, late) = (Duration::ZERO, Duration::ZERO);
        let line = |(replica, stage): &(&str, &str)| Line {
            at: 0,
            replica: (*replica).to_owned(),
            stage: (*stage).to_owned(),
            target: target.clone(),
        };
        let entry = Entry { container: "a".to_owned(), line: "the line".to_owned() };
        Evidence {
            begin: 0,
            project: String::new(),
            outcomes: vec![Outcome {
                target: target.clone(),
                sent: 0,
                took,
                late,
                end,
                expected: None,
            }],
            lines: lines.iter().map(line).collect(),
            log: BTreeMap::from([(target.clone(), entry)]),
            events: Vec::new(),
        }
    }
}
