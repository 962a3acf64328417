//! What a keeper tells of its certificates.

use std::sync::Arc;

use tracing::warn;

use crate::domain::names::Host;
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::Report;
use crate::tls::acme::authority::Issuer;
use crate::tls::acme::keeper::entry::{Entry, Failed};
use crate::tls::acme::keeper::{Keeper, NAMES_MAX};
use crate::tls::{Issued, date};

impl<I: Issuer> Keeper<I> {
    /// Puts certificates to use, and tells what is wrong, where there is news.
    pub(super) async fn tell(&mut self) {
        if !std::mem::take(&mut self.is_news) {
            return;
        }
        let is_shown = |entry: &Entry| entry.wanted && (entry.has_room || entry.held.is_some());
        let wanted = self.entries.iter().filter(|(_, entry)| is_shown(entry));
        let issued = wanted.map(|(name, entry)| self.issued(name, entry)).collect();
        if let Err(error) = self.store.set_issued(issued, (self.around.clock)()) {
            warn!("Cannot use the newest certificates: {error}");
        }
        let problems = self.problems();
        if problems != self.told {
            self.told.clone_from(&problems);
            // It is gone only when we end.
            let _ = self.reports.send(Report::Noted { topic: TOPIC, problems }).await;
        }
    }

    fn issued(&self, name: &Host, entry: &Entry) -> Issued {
        let of_all = self.quiet.as_ref().filter(|quiet| quiet.failure.is_of_all());
        let failed = entry.failure.as_ref().or(of_all.filter(|_| entry.held.is_none()));
        Issued {
            names: vec![name.clone()],
            certificate: entry.held.as_ref().map(|held| held.kept.certificate.clone()),
            renews_at: entry.held.as_ref().map(|held| held.renew_at),
            failure: failed.map(|failed| failed.failure.to_string().into()),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let wanted = || self.entries.iter().filter(|(_, entry)| entry.wanted);
        let failing = wanted().filter_map(|(name, entry)| {
            let failed = entry.failure.as_ref().filter(|failed| !failed.failure.is_of_all());
            failed.map(|failed| of_name(name, entry, failed))
        });
        let mut problems: Vec<_> = failing.take(PROBLEMS_MAX).collect();
        let is_any = wanted().next().is_some();
        let quiet = self.quiet.as_ref().filter(|it| it.failure.is_of_all() && is_any);
        if let Some(quiet) = quiet {
            let without = wanted().filter(|(_, entry)| entry.held.is_none()).count();
            problems.push(of_all(quiet, without));
        }
        problems.extend(self.left_out());
        if is_any {
            problems.extend(self.storage.problems());
        }
        problems
    }
}

impl<I> Keeper<I> {
    /// What is wrong with names for which there are no orders.
    fn left_out(&self) -> Option<Problem> {
        let mut left_out = self.entries.iter().filter(|(_, it)| it.wanted && !it.has_room);
        let shown = left_out.by_ref().take(LEFT_OUT_TOLD_MAX).map(|(name, _)| format!("`{name}`"));
        let shown: Vec<_> = shown.collect();
        let more = left_out.count() + self.beyond;
        if shown.is_empty() {
            return None;
        }
        let wanting = NAMES_MAX + shown.len() + more;
        let shown = shown.join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "{wanting} names want certificates by ACME, of which {NAMES_MAX} get one: none is \
             ordered for {shown}{more}"
        );
        let hint = "give those certificates by files (`--tls-dir`), or split them between \
                    balancers (`--constraint`)";
        Some(Problem::new(Subject::Setting, message, hint).about("tls"))
    }
}

fn of_name(name: &Host, entry: &Entry, failed: &Failed) -> Problem {
    let meanwhile = match &entry.held {
        Some(held) => {
            format!("the one in use is good until {}", date(held.kept.certificate.not_after))
        }
        None => "clients are shown another one meanwhile".to_owned(),
    };
    let message =
        format!("{}; next try at {}; {meanwhile}", failed.failure, date(failed.until_time));
    Problem::new(Subject::Certificate(Arc::from(name.as_str())), message, failed.failure.hint())
}

fn of_all(quiet: &Failed, without: usize) -> Problem {
    // Without the time, since it would be news at every try.
    let mut message = format!("{}; it is asked again, ever more rarely", quiet.failure);
    match without {
        0 => {}
        1 => message.push_str("; 1 name has no certificate yet"),
        count => message.push_str(&format!("; {count} names have no certificate yet")),
    }
    Problem::new(Subject::Setting, message, quiet.failure.hint()).about("acme_directory")
}

const TOPIC: &str = "acme";

/// What is wrong with so many is wrong with all.
const PROBLEMS_MAX: usize = 50;

/// As many as one sees at a glance.
const LEFT_OUT_TOLD_MAX: usize = 10;
