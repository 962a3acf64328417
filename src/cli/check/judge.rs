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
use crate::domain::world::{Health, Observation, Place, RunState, Workload, WorkloadId};

/// Whether containers or written pools are judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Service,
    Pool,
}

/// Plans written pools as if their servers ran, and tells what is wrong with them.
pub(super) fn judge_pools(subjects: &[Subject], settings: &LabelSettings) -> Vec<Finding> {
    let workloads = subjects.iter().map(pool).collect();
    let seen = Observation { workloads, ..Observation::default() };
    let files = &|settings: &LabelSettings, wanted: &BTreeSet<_>| app::with_files(settings, wanted);
    judge(Kind::Pool, subjects, seen, settings, files)
}

/// How the files come to be known that labels name.
pub(super) type WithFiles<'a> = &'a dyn Fn(&LabelSettings, &BTreeSet<Arc<str>>) -> LabelSettings;

/// Plans what is `seen`, and tells what is wrong with it at the places of `subjects`.
pub(super) fn judge(
    kind: Kind,
    subjects: &[Subject],
    seen: Observation,
    settings: &LabelSettings,
    with_files: WithFiles<'_>,
) -> Vec<Finding> {
    let source = match kind {
        Kind::Service => SourceName::docker(),
        Kind::Pool => SourceName::settings(),
    };
    let been_ready = seen.workloads.iter().map(|it| Arc::clone(&it.id.id)).collect();
    let world = BTreeMap::from([(source, Arc::new(seen))]);
    let memory =
        Memory { previous: &Plan::default(), been_ready: &been_ready, drained: &BTreeSet::new() };
    let files = plan::plan(&world, memory, settings).files;
    let settings = with_files(settings, &files);
    let plan = plan::plan(&world, memory, &settings);
    let unread = files.iter().filter(|file| settings.files.get(file).is_none());
    let unread = unread.map(|file| self::unread(file, subjects, &settings.files));
    let prefix = &*settings.prefix;
    // What is written in one place will run together: no later day settles it.
    let meetings = plan::conflicts(&plan, prefix);
    let never = plan::shadowed(&plan, prefix);
    let judge = Judge { kind, subjects, plan: &plan, prefix };
    let told = plan.problems.iter().map(|problem| {
        // The rest follows from these, or is settled by which replica is ready.
        let of_container = matches!(problem.subject, problem::Subject::Container(_));
        let is_error = problem.key.is_some() || of_container || meetings.contains(problem);
        (problem, if is_error { Severity::Error } else { Severity::Warning })
    });
    let never = never.iter().map(|problem| (problem, Severity::Warning));
    let told = told.chain(never);
    told.filter_map(|(problem, severity)| judge.finding(problem, severity)).chain(unread).collect()
}

/// Says that a label file was not judged, where the first label names it.
fn unread(file: &str, subjects: &[Subject], files: &Files) -> Finding {
    let labels = subjects.iter().flat_map(|subject| subject.labels.values());
    let mut named = labels.filter(|label| label.text.contains(file));
    Finding {
        place: named.next().map(|label| label.place.clone()),
        severity: Severity::Warning,
        message: format!(
            "label file `{file}` is not judged, since what the balancer sees at `{}` is not here",
            files.folder.display()
        ),
        hint: "name a folder with the same files: --label-files DIR".to_owned(),
    }
}

/// A written pool as its source would see it, at an address where nobody listens.
fn pool(subject: &Subject) -> Workload {
    Workload {
        id: WorkloadId { id: subject.name.clone(), life: 0 },
        name: subject.name.clone(),
        project: None,
        service: None,
        labels: subject.texts(),
        run: RunState::Running,
        health: Health::None,
        created: 0,
        place: Place::Fixed(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
        stop_timeout: None,
        exit_code: None,
        oneoff: false,
        host_name: None,
    }
}

/// Finds where the problems of a plan were written.
struct Judge<'a> {
    kind: Kind,
    subjects: &'a [Subject],
    plan: &'a Plan,
    prefix: &'a str,
}

impl Judge<'_> {
    /// None for a problem that may be none once compose has filled in its variables.
    fn finding(&self, problem: &Problem, severity: Severity) -> Option<Finding> {
        let subject = self.subject(problem);
        let label = problem.key.as_deref().and_then(|key| {
            let own = subject.and_then(|subject| subject.labels.get(key));
            own.or_else(|| self.subjects.iter().find_map(|subject| subject.labels.get(key)))
        });
        // A message repeats the value it is about, with its `$`; a message about
        // the key does not, and holds whatever the value will be. What follows from
        // several labels may follow from an open one.
        let has_open = |it: &Subject| it.labels.values().any(|label| label.is_open);
        let is_open = match (label, &problem.subject) {
            (Some(label), _) => label.is_open && problem.message.contains('$'),
            (None, problem::Subject::Container(_)) => subject.is_some_and(has_open),
            (None, _) => self.subjects.iter().any(has_open),
        };
        if is_open {
            return None;
        }
        let of_pool = matches!(problem.subject, problem::Subject::Pool(_));
        let label = label.or_else(|| self.route(subject?).filter(|_| of_pool));
        let place = label.map(|label: &Label| label.place.clone());
        let place = place.or_else(|| subject.map(|subject| subject.place.clone()));
        let about = match (self.kind, subject) {
            (Kind::Service, Some(subject)) if of_pool => {
                format!("{} of service `{}`: ", problem.subject, subject.name)
            }
            (Kind::Service, Some(subject)) => format!("service `{}`: ", subject.name),
            (Kind::Pool, Some(subject)) => format!("pool `{}`: ", subject.name),
            (_, None) => format!("{}: ", problem.subject),
        };
        let message = format!("{about}{}", problem.message);
        // A service is planned as one container of its name.
        let hint = match (self.kind, subject) {
            (Kind::Service, Some(Subject { name, .. })) => {
                problem.hint.replace(&format!("container `{name}`"), &format!("service `{name}`"))
            }
            (Kind::Service | Kind::Pool, _) => problem.hint.clone(),
        };
        Some(Finding { place, severity, message, hint })
    }

    /// Whom a problem is about: of a pool, the first of those that join it.
    fn subject(&self, problem: &Problem) -> Option<&Subject> {
        let named = |name: &str| self.subjects.iter().find(|it| *it.name == *name);
        match &problem.subject {
            problem::Subject::Container(name) => named(name),
            problem::Subject::Pool(name) => {
                let pool = self.plan.pools.iter().find(|(pool, _)| pool.to_string() == **name);
                let member = pool.and_then(|(_, pool)| pool.members.first());
                named(member.map_or(name, |member| &member.name))
            }
            problem::Subject::Source(_)
            | problem::Subject::Certificate(_)
            | problem::Subject::Setting => None,
        }
    }

    /// The label that says most of which requests are asked for.
    fn route<'s>(&self, subject: &'s Subject) -> Option<&'s Label> {
        let label = |key: &&str| subject.labels.get(&format!("{}.{key}", self.prefix));
        ["host", "path", "path.exact", "priority", "pool"].iter().find_map(label)
    }
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
        let (plan, kind) = (&Plan::default(), Kind::Service);
        let judge = Judge { kind, subjects, plan, prefix: "lb" };
        judge.finding(problem, Severity::Error).map(|finding| finding.to_string())
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
    fn a_problem_without_a_label_stands_at_its_service() {
        let problem = problem(problem::Subject::Container("web".into()), None, "it is odd");
        let [web, _] = subjects();
        let told_of = told(&problem, std::slice::from_ref(&web)).unwrap();
        assert!(told_of.starts_with("c.yml:10:1: error: service `web`: "), "{told_of}");
        assert!(told(&problem, &subjects()).is_some());
    }

    #[test]
    fn what_may_follow_from_an_open_label_is_not_told() {
        let of_pool = problem(problem::Subject::Pool("x".into()), None, "it is odd");
        assert_eq!(told(&of_pool, &subjects()), None);
        let of_service = problem(problem::Subject::Container("api".into()), None, "it is odd");
        assert_eq!(told(&of_service, &subjects()), None);
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
