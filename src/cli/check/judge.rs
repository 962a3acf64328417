//! What the planner says about labels, told where they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::app;
use crate::cli::check::{Label, Subject};
use crate::cli::finding::{Finding, Severity};
use crate::domain::files::Files;
use crate::domain::labels::LabelSettings;
use crate::domain::names::SourceName;
use crate::domain::plan::{self, Memory, Plan};
use crate::domain::problem::{self, Problem};
use crate::domain::world::{
    Health, NetworkMode, Observation, Place, RunState, Workload, WorkloadId,
};

/// Whether containers or written pools are judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Service,
    Pool,
}

/// Plans `subjects` as if they all ran, and tells what is wrong with them.
pub(super) fn judge(kind: Kind, subjects: &[Subject], settings: &LabelSettings) -> Vec<Finding> {
    let source = match kind {
        Kind::Service => SourceName::docker(),
        Kind::Pool => SourceName::settings(),
    };
    let workloads: Vec<Workload> = subjects.iter().map(|subject| workload(kind, subject)).collect();
    let been_ready: BTreeSet<Arc<str>> = workloads.iter().map(|it| Arc::clone(&it.id.id)).collect();
    let observation = Observation { workloads, ..Observation::default() };
    let world = BTreeMap::from([(source, Arc::new(observation))]);
    let memory =
        Memory { previous: &Plan::default(), been_ready: &been_ready, drained: &BTreeSet::new() };
    let files = plan::plan(&world, memory, settings).files;
    let settings = app::with_files(settings, &files);
    let problems = plan::plan(&world, memory, &settings).problems;
    let unread = files.first().filter(|_| settings.files.assumed);
    let unread = unread.map(|file| self::unread(file, files.len(), &settings.files));
    problems.iter().filter_map(|problem| finding(kind, problem, subjects)).chain(unread).collect()
}

/// Says that label files were not judged.
fn unread(first: &str, count: usize, files: &Files) -> Finding {
    let more = match count - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let folder = files.folder.display();
    Finding {
        place: None,
        severity: Severity::Warning,
        message: format!("label file `{first}`{more} is not judged, since `{folder}` is not here"),
        hint: "name the folder that the balancer will see there: --label-files DIR".to_owned(),
    }
}

/// A subject as a source would see it. It has no address yet, so that only
/// what was written can be wrong.
fn workload(kind: Kind, subject: &Subject) -> Workload {
    let place = match kind {
        Kind::Service => {
            Place::Container { mode: NetworkMode::Own, networks: Vec::new(), exposed: None }
        }
        Kind::Pool => Place::Fixed(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
    };
    let labels = subject.labels.iter().map(|(key, label)| (key.clone(), label.text.clone()));
    Workload {
        id: WorkloadId { id: subject.name.clone(), life: 0 },
        name: subject.name.clone(),
        project: None,
        service: (kind == Kind::Service).then(|| subject.name.clone()),
        labels: labels.collect(),
        run: if kind == Kind::Service { RunState::Created } else { RunState::Running },
        health: Health::None,
        created: 0,
        place,
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

/// None for a problem that may be none once compose has filled in its variables.
fn finding(kind: Kind, problem: &Problem, subjects: &[Subject]) -> Option<Finding> {
    let subject = named(problem).and_then(|name| subjects.iter().find(|it| *it.name == *name));
    let label = problem.key.as_deref().and_then(|key| {
        let own = subject.and_then(|subject| subject.labels.get(key));
        own.or_else(|| subjects.iter().find_map(|subject| subject.labels.get(key)))
    });
    // A message repeats the value it is about, with its `$`; a message about
    // the key does not, and holds whatever the value will be. What follows from
    // several labels may follow from an open one.
    let is_open = match label {
        Some(label) => label.is_open && problem.message.contains('$'),
        None => subjects.iter().any(|it| it.labels.values().any(|label| label.is_open)),
    };
    if is_open {
        return None;
    }
    let place = label.map(|label: &Label| label.place.clone());
    let place = place.or_else(|| subject.map(|subject| subject.place.clone()));
    let about = match (kind, subject) {
        (Kind::Service, Some(subject)) => format!("service `{}`: ", subject.name),
        (Kind::Pool, Some(subject)) => format!("pool `{}`: ", subject.name),
        (_, None) => format!("{}: ", problem.subject),
    };
    Some(Finding {
        place,
        // What no label is to blame for alone follows from others, or is settled
        // by which replica is ready.
        severity: if problem.key.is_some() { Severity::Error } else { Severity::Warning },
        message: format!("{about}{}", problem.message),
        hint: problem.hint.clone(),
    })
}

/// A problem of what runs, where no file can be named.
pub(super) fn told(problem: &Problem) -> Finding {
    Finding {
        place: None,
        severity: match (&problem.key, &problem.subject) {
            (None, problem::Subject::Pool(_)) => Severity::Warning,
            // A container that cannot be reached serves nobody.
            (Some(_), _) | (None, _) => Severity::Error,
        },
        message: problem.to_string(),
        hint: problem.hint.clone(),
    }
}

fn named(problem: &Problem) -> Option<&str> {
    match &problem.subject {
        problem::Subject::Container(name) | problem::Subject::Pool(name) => Some(name),
        problem::Subject::Source(_)
        | problem::Subject::Certificate(_)
        | problem::Subject::Setting => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn subject(name: &str, labels: &[(&str, &str, bool)], line: usize) -> Subject {
        let place = |line| config::Place::Line { file: "c.yml".into(), line, column: 1 };
        let labels = labels.iter().zip(line + 1..).map(|(&(key, text, is_open), line)| {
            (key.to_owned(), Label { text: text.to_owned(), is_open, place: place(line) })
        });
        Subject { name: name.into(), place: place(line), labels: labels.collect() }
    }

    fn problem(subject: problem::Subject, key: Option<&str>, message: &str) -> Problem {
        let problem = Problem::new(subject, message, "mend it");
        key.iter().fold(problem, |problem, &key| problem.about(key))
    }

    fn told(problem: &Problem, subjects: &[Subject]) -> Option<String> {
        finding(Kind::Service, problem, subjects).map(|finding| finding.to_string())
    }

    fn subjects() -> [Subject; 2] {
        [
            subject("web", &[("lb.port", "80", false)], 10),
            subject("api", &[("lb.pool", "x", false), ("lb.port", "${PORT}", true)], 20),
        ]
    }

    #[test]
    fn a_problem_stands_where_its_label_was_written() {
        let container = problem::Subject::Container("api".into());
        let problem = problem(container, Some("lb.pool"), "label `lb.pool` is odd");
        assert_eq!(
            told(&problem, &subjects()).unwrap(),
            "c.yml:21:1: error: service `api`: label `lb.pool` is odd\n  hint: mend it"
        );
    }

    #[test]
    fn a_problem_without_a_label_is_a_warning_at_its_service() {
        let problem = problem(problem::Subject::Container("web".into()), None, "it is odd");
        let [web, api] = subjects();
        let told_of = told(&problem, std::slice::from_ref(&web)).unwrap();
        assert!(told_of.starts_with("c.yml:10:1: warning: service `web`: "), "{told_of}");
        // A label of another service is open, and may be what it follows from.
        assert_eq!(told(&problem, &[web, api]), None);
    }

    #[test]
    fn a_problem_of_a_pool_is_found_by_its_label() {
        let problem = problem(problem::Subject::Pool("x".into()), Some("lb.pool"), "it is odd");
        assert!(told(&problem, &subjects()).unwrap().starts_with("c.yml:21:1: error: pool `x`: "));
    }

    #[test]
    fn a_value_that_only_compose_knows_is_not_judged_but_its_key_is() {
        let container = problem::Subject::Container("api".into());
        let value = problem(container.clone(), Some("lb.port"), "label `lb.port` is `${PORT}`");
        assert_eq!(told(&value, &subjects()), None);
        let key = problem(container, Some("lb.port"), "label `lb.port` is unknown");
        assert!(told(&key, &subjects()).is_some());
    }
}
