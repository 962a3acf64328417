//! Certificates that stand in files, read again whenever those change.
//!
//! A file system may hang, and reading takes time: looks are taken one after
//! another on a thread of their own, and what is in use stands meanwhile.

mod clients;
mod folder;
mod pair;
mod read;
mod told;
mod watched;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::error;

use crate::config::TlsSettings;
use crate::domain::problem::Problem;
use crate::domain::world::Report;
use crate::tls::clock::wall_clock;
use crate::tls::files::clients::Clients;
use crate::tls::files::folder::{Found, find};
use crate::tls::files::pair::Pair;
use crate::tls::files::watched::PATIENCE;
use crate::tls::store::{Filed, Store, Unusable};

/// The files that settings name, and those in the folder that they name.
#[derive(Debug)]
pub struct Files {
    settings: TlsSettings,
    store: Arc<Store>,
    /// The default ones first.
    pairs: BTreeMap<Place, Pair>,
    /// When a pair of the folder was last there.
    seen: BTreeMap<Place, Instant>,
    clients: Option<Clients>,
    /// What the store was given: for each pair what is wrong with it.
    given: Vec<Option<Arc<str>>>,
}

/// Where a pair stands, in the order in which the default is taken of them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    Setting,
    /// The one that is called `default`.
    DefaultOfFolder,
    Folder(String),
}

impl Files {
    pub fn new(settings: &TlsSettings, store: Arc<Store>) -> Self {
        let pair = settings.pair.as_ref().map(|it| (Place::Setting, Pair::new(it, "tls_cert")));
        Self {
            pairs: pair.into_iter().collect(),
            seen: BTreeMap::new(),
            clients: settings.client_ca.as_deref().map(Clients::new),
            given: Vec::new(),
            settings: settings.clone(),
            store,
        }
    }

    /// Reads what has changed and puts it to use. What a person should mend at
    /// this moment, which is `now` and, for calendars, `date`.
    pub fn look(&mut self, now: Instant, date: SystemTime) -> Vec<Problem> {
        let mut problems = self.look_into_folder(now);
        let mut changed = false;
        for pair in self.pairs.values_mut() {
            changed |= pair.look(now, date);
        }
        let told: Vec<_> = self.pairs.values().map(|pair| pair.problem(now, date)).collect();
        let faults = told.iter().map(|it| it.as_ref().map(|it| it.message.as_str().into()));
        let faults: Vec<Option<Arc<str>>> = faults.collect();
        if changed || faults != self.given {
            let filed = self.pairs.values().zip(&faults);
            let filed = filed.map(|(pair, fault)| Filed { fault: fault.clone(), ..pair.filed() });
            log_failure(self.store.set_files(filed.collect(), date));
            self.given = faults;
        }
        problems.extend(told.into_iter().flatten());
        problems.extend(self.pairs.values().flat_map(Pair::remarks));
        if let Some(clients) = &mut self.clients {
            if clients.look(now) {
                log_failure(self.store.set_clients(clients.roots(), date));
            }
            problems.extend(clients.problem(now));
        }
        problems
    }

    /// Looks again and again, and tells when there is another list of problems.
    pub async fn watch(mut self, reports: mpsc::Sender<Report>) {
        let mut told = Vec::new();
        loop {
            let look = spawn_blocking(move || {
                let problems = self.look(Instant::now(), wall_clock());
                (self, problems)
            });
            // It is gone if it panicked, and so is this task then.
            let Ok((files, problems)) = look.await else { return };
            self = files;
            if problems != told {
                told.clone_from(&problems);
                let report = Report::Noted { topic: TOPIC, problems };
                if reports.send(report).await.is_err() {
                    return;
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn look_into_folder(&mut self, now: Instant) -> Vec<Problem> {
        let Some(folder) = self.settings.folder.as_deref() else { return Vec::new() };
        let found = match find(folder) {
            Ok(found) => found,
            // Those that were there stay in use.
            Err(failed) => return vec![told::no_folder(folder, &failed)],
        };
        let kept = self.pairs.keys().filter(|place| **place != Place::Setting).count();
        let problems = told::folder(folder, &found, kept);
        // Nobody takes every certificate away at once: a volume is not mounted.
        if !found.is_nothing() {
            self.take(found, now);
        }
        problems
    }

    fn take(&mut self, found: Found, now: Instant) {
        for (name, files) in found.pairs {
            let place = match name.as_str() {
                "default" | "default/" => Place::DefaultOfFolder,
                _ => Place::Folder(name),
            };
            self.seen.insert(place.clone(), now);
            let known = self.pairs.get(&place).is_some_and(|pair| pair.stands_in(&files));
            if !known {
                self.pairs.insert(place, Pair::new(&files, "tls_dir"));
            }
        }
        // One file may be away for a moment while it is replaced.
        self.seen.retain(|_, seen| now < *seen + PATIENCE);
        let gone = |place: &Place| *place != Place::Setting && !self.seen.contains_key(place);
        self.pairs.retain(|place, _| !gone(place));
    }
}

/// What is in use goes on.
fn log_failure(outcome: Result<(), Unusable>) {
    if let Err(failed) = outcome {
        error!(error = %failed, "Cannot put certificates to use");
    }
}

/// A change is to be live within 10 s, and counts at the second look at it.
const LOOK_EVERY: Duration = Duration::from_secs(2);

const TOPIC: &str = "certificate files";

#[cfg(test)]
mod tests;
