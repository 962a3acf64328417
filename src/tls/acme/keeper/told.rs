//! What a keeper tells of its certificates.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;

use crate::domain::names::Host;
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::Report;
use crate::tls::Issued;
use crate::tls::acme::authority::Issuer;
use crate::tls::acme::keeper::entry::{Entry, Failed};
use crate::tls::acme::keeper::{Keeper, NAMES_MAX};

impl<I: Issuer> Keeper<I> {
    /// Puts certificates to use, and tells what is wrong, where there is news.
    pub(super) async fn tell(&mut self) {
        if !std::mem::take(&mut self.is_news) {
            return;
        }
        let wanted = self.entries.iter().filter(|(_, entry)| entry.wanted);
        let issued = wanted.map(|(name, entry)| self.issued(name, entry)).collect();
        if let Err(error) = self.store.set_issued(issued) {
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
            entry.failure.as_ref().map(|failed| of_name(name, entry, failed))
        });
        let mut problems: Vec<_> = failing.take(PROBLEMS_MAX).collect();
        let is_any = wanted().next().is_some();
        let quiet = self.quiet.as_ref().filter(|it| it.failure.is_of_all() && is_any);
        if let Some(quiet) = quiet {
            let without = wanted().filter(|(_, entry)| entry.held.is_none()).count();
            problems.push(of_all(quiet, without));
        }
        if self.surplus > 0 {
            let message = format!(
                "{} names want certificates by ACME; the last {} of them, by the alphabet, get none",
                NAMES_MAX + self.surplus,
                self.surplus
            );
            let hint = "give those certificates by files (`--tls-dir`), or split them between \
                        balancers (`--constraint`)";
            problems.push(Problem::new(Subject::Setting, message, hint).about("tls"));
        }
        if is_any {
            problems.extend(self.storage.problems());
        }
        problems
    }
}

fn of_name(name: &Host, entry: &Entry, failed: &Failed) -> Problem {
    let meanwhile = match &entry.held {
        Some(held) => {
            format!("the one in use is good until {}", shown(held.kept.certificate.not_after))
        }
        None => "clients are shown another one meanwhile".to_owned(),
    };
    let message =
        format!("{}; next try at {}; {meanwhile}", failed.failure, shown(failed.until_time));
    Problem::new(Subject::Certificate(Arc::from(name.as_str())), message, failed.failure.hint())
}

fn of_all(quiet: &Failed, without: usize) -> Problem {
    let mut message = format!("{}; next try at {}", quiet.failure, shown(quiet.until_time));
    match without {
        0 => {}
        1 => message.push_str("; 1 name has no certificate yet"),
        count => message.push_str(&format!("; {count} names have no certificate yet")),
    }
    Problem::new(Subject::Setting, message, quiet.failure.hint()).about("acme_directory")
}

fn shown(time: SystemTime) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(time)
}

const TOPIC: &str = "acme";

/// What is wrong with so many is wrong with all.
const PROBLEMS_MAX: usize = 50;
