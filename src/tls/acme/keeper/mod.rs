//! Keeps a certificate for every name that is wanted.
//!
//! Nothing of it serves: whatever the authority does, handshakes go on with what
//! there is.

mod entry;
mod jobs;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::config::ChallengeChoice;
use crate::domain::names::{Host, HostPattern};
use crate::domain::problem::Problem;
use crate::domain::world::Report;
use crate::tls::Store;
use crate::tls::acme::authority::{Advice, Issuer};
use crate::tls::acme::failure::Failure;
use crate::tls::acme::keeper::entry::{Due, Entry, Failed, RANK_OF_NEW};
use crate::tls::acme::keeper::jobs::{Done, Look};
use crate::tls::acme::schedule;
use crate::tls::acme::storage::{Kept, Storage};

/// Has certificates issued and renewed, a few at a time.
pub struct Keeper<I> {
    issuer: Arc<I>,
    choice: ChallengeChoice,
    storage: Arc<Storage>,
    store: Arc<Store>,
    reports: mpsc::Sender<Report>,
    around: Around,
    entries: BTreeMap<Host, Entry>,
    /// Wanted names that are not even looked for.
    beyond: usize,
    jobs: JoinSet<Done>,
    /// Those of `jobs` that ask the authority.
    asking: usize,
    looking: bool,
    /// When to look again at what is kept.
    look_at: Option<Instant>,
    /// Whether orders are ours, since nobody else has the folder.
    leads: bool,
    /// What keeps the authority from being asked at all, and until when.
    quiet: Option<Failed>,
    /// How often it was so in a row.
    refusals: u32,
    told: Vec<Problem>,
    is_news: bool,
}

/// What is around a keeper.
pub struct Around {
    /// Whether http is served, for HTTP-01.
    pub has_http: bool,
    /// The wall's clock.
    pub clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    /// A number from 0 up to 1, another one each time.
    pub chance: fn() -> f64,
}

impl<I: Issuer> Keeper<I> {
    pub(super) fn new(
        issuer: I,
        choice: ChallengeChoice,
        storage: Arc<Storage>,
        store: Arc<Store>,
        reports: mpsc::Sender<Report>,
        around: Around,
    ) -> Self {
        Self {
            issuer: Arc::new(issuer),
            choice,
            storage,
            store,
            reports,
            around,
            entries: BTreeMap::new(),
            beyond: 0,
            jobs: JoinSet::new(),
            asking: 0,
            looking: false,
            look_at: None,
            leads: false,
            quiet: None,
            refusals: 0,
            told: Vec::new(),
            is_news: false,
        }
    }

    /// Runs until nobody can want anything any more.
    pub async fn run(mut self, mut wanted: watch::Receiver<BTreeSet<Arc<str>>>) {
        let first = wanted.borrow_and_update().clone();
        self.want(&first);
        loop {
            self.begin();
            self.tell().await;
            let next = self.next();
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let names = wanted.borrow_and_update().clone();
                    self.want(&names);
                }
                Some(done) = self.jobs.join_next() => {
                    if let Ok(done) = done {
                        self.take(done);
                    }
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes up new names. Those that nobody wants any longer are not renewed;
    /// what they failed is remembered while it counts.
    fn want(&mut self, names: &BTreeSet<Arc<str>>) {
        let mut hosts: Vec<Host> = names.iter().filter_map(|name| name.parse().ok()).collect();
        hosts.sort_by_key(|host| self.entries.get(host).map_or(RANK_OF_NEW, Entry::rank));
        self.beyond = hosts.len().saturating_sub(KNOWN_MAX);
        for entry in self.entries.values_mut() {
            entry.wanted = false;
        }
        for host in hosts.into_iter().take(KNOWN_MAX) {
            self.entries.entry(host).or_default().wanted = true;
        }
        self.give_room();
        let (now, mut room) = (Instant::now(), NAMES_MAX);
        self.entries.retain(|_, entry| {
            let failing = entry.failure.as_ref().is_some_and(|failed| failed.until > now);
            if entry.wanted || entry.busy {
                return true;
            }
            let remembered = failing && room > 0;
            room -= usize::from(remembered);
            remembered
        });
        self.is_news = true;
    }

    /// Says for whom there may be orders. Who comes later pushes out nobody who has
    /// a certificate, or has been given room before.
    fn give_room(&mut self) {
        let (mut wanted, others): (Vec<_>, Vec<_>) =
            self.entries.values_mut().partition(|entry| entry.wanted);
        wanted.sort_by_key(|entry| entry.rank());
        for (index, entry) in wanted.into_iter().enumerate() {
            entry.has_room = index < NAMES_MAX;
        }
        for entry in others {
            entry.has_room = false;
        }
    }

    /// Begins whatever is due and has room.
    fn begin(&mut self) {
        let now = Instant::now();
        if !self.looking && self.must_look(now) {
            self.look();
        }
        if !self.leads || self.quiet.as_ref().is_some_and(|quiet| quiet.until > now) {
            return;
        }
        let time = (self.around.clock)();
        for wanted in [Due::First, Due::Renewal, Due::Advice] {
            while self.asking < ASKING_MAX {
                let due = self.entries.iter().find(|(_, it)| it.due(now, time) == Some(wanted));
                let Some(name) = due.map(|(name, _)| name.clone()) else { break };
                self.ask(name, wanted, time);
            }
        }
    }

    fn must_look(&self, now: Instant) -> bool {
        let mut wanted = self.entries.values().filter(|entry| entry.wanted);
        wanted.any(|entry| !entry.loaded && !entry.unread)
            || (self.needs_looks() && self.look_at.is_none_or(|at| at <= now))
    }

    /// Whether what is kept may change under us, or could not be read or written.
    fn needs_looks(&self) -> bool {
        let mut wanted = self.entries.values().filter(|entry| entry.wanted).peekable();
        wanted.peek().is_some()
            && (!self.leads || wanted.any(|entry| entry.unsaved || entry.unread))
    }

    /// Takes in what a job has come to.
    fn take(&mut self, done: Done) {
        self.is_news = true;
        match done {
            Done::Looked(look) => self.take_look(look),
            Done::Issued { name, hurried, issued } => {
                self.asking -= 1;
                self.take_issued(&name, hurried, issued);
            }
            Done::Advised { name, advised } => {
                self.asking -= 1;
                self.take_advice(&name, &advised);
            }
        }
    }

    fn take_look(&mut self, look: Look) {
        self.looking = false;
        if self.leads && !look.leads {
            let folder = self.storage.folder().display();
            info!(%folder, "Another balancer orders certificates, which are used here too");
        }
        self.leads = look.leads;
        let (now, time) = (Instant::now(), (self.around.clock)());
        for (name, kept) in look.found {
            let chance = (self.around.chance)();
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            entry.unread = kept.is_err();
            // What may be there is neither ordered anew nor written over.
            let Ok(kept) = kept else { continue };
            entry.loaded = true;
            let own = HostPattern::Exact(name);
            let until = entry.held.as_ref().map(|held| held.kept.certificate.not_after);
            let fit = |Kept { certificate: it, .. }: &Kept| {
                it.is_current(time) && it.names.contains(&own) && until < Some(it.not_after)
            };
            if let Some(kept) = kept.filter(fit) {
                entry.hold(kept, now, chance);
            }
        }
        for name in look.saved {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.unsaved = false;
            }
        }
        self.give_room();
    }

    fn take_issued(&mut self, name: &Host, hurried: bool, issued: Result<(Kept, bool), Failure>) {
        let (now, time) = (Instant::now(), (self.around.clock)());
        let chance = (self.around.chance)();
        match &issued {
            Ok((kept, _)) if time < kept.certificate.not_after => self.resume(),
            Ok(_) => {}
            Err(failure) => self.heed(failure),
        }
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.busy = false;
        match issued {
            Ok((kept, saved)) if time < kept.certificate.not_after => {
                entry.succeed();
                entry.unsaved = !saved;
                entry.hurried = if hurried { Some(time) } else { entry.hurried };
                entry.hold_new(kept, now, time, chance);
                info!(name = name.as_str(), "Certificate issued");
            }
            Ok(_) => {
                let words = "by our clock it was over before it came; set the clock";
                entry.fail(Failure::Ours(words.to_owned()), now, time, chance);
            }
            Err(failure) => entry.fail(failure, now, time, chance),
        }
    }

    /// Advice is a courtesy: where there is none, nothing else waits for it.
    fn take_advice(&mut self, name: &Host, advised: &Result<Option<Advice>, Failure>) {
        let chance = (self.around.chance)();
        match advised {
            Ok(_) => self.resume(),
            Err(failure) => debug!(name = name.as_str(), "No advice on the renewal: {failure}"),
        }
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.busy = false;
        let said = advised.as_ref().ok().and_then(|it| it.map(|advice| advice.ask_in));
        let ask_at = Instant::now() + schedule::next_question(said, chance);
        match advised {
            Ok(Some(advice)) => entry.advise(advice.window, ask_at, chance),
            Ok(None) | Err(_) => {
                if let Some(held) = &mut entry.held {
                    held.ask_at = ask_at;
                }
            }
        }
    }

    /// The authority does what it is asked. A limit is over when its time is: what
    /// was asked before it says nothing of it.
    fn resume(&mut self) {
        let now = Instant::now();
        let limited = self.quiet.as_ref().is_some_and(|quiet| {
            matches!(quiet.failure, Failure::Limited { .. }) && quiet.until > now
        });
        if !limited {
            (self.quiet, self.refusals) = (None, 0);
        }
    }

    /// Asks nothing for a while, after a failure that concerns more than a name.
    fn heed(&mut self, failure: &Failure) {
        let (now, time) = (Instant::now(), (self.around.clock)());
        if self.quiet.as_ref().is_some_and(|quiet| quiet.until > now) {
            // Those who asked at the same time fail together, which counts once.
            return;
        }
        let chance = (self.around.chance)();
        let refusals = self.refusals.saturating_add(1);
        let wait = match failure {
            Failure::Unreachable(_) => schedule::next_connect(refusals, chance),
            Failure::Account { .. } => schedule::next_try(refusals, chance),
            Failure::Limited { retry_after, .. } => schedule::pause(*retry_after),
            Failure::Challenge { .. } | Failure::Order { .. } | Failure::Ours(_) => return,
        };
        self.refusals = refusals;
        let failure = failure.clone();
        self.quiet = Some(Failed { failure, until: now + wait, until_time: time + wait });
    }

    /// When something may be due. The wall's clock may be set, and is looked at
    /// from time to time.
    fn next(&self) -> Instant {
        let (now, time) = (Instant::now(), (self.around.clock)());
        let look = self.look_at.filter(|_| self.needs_looks() && !self.looking);
        let latest = look.unwrap_or(now + CHECK_EVERY).min(now + CHECK_EVERY);
        if self.asking >= ASKING_MAX || !self.leads {
            return latest;
        }
        let quiet = self.quiet.as_ref().map_or(now, |quiet| quiet.until.max(now));
        let rests = self.entries.values().filter_map(|entry| entry.rests(now, time)).min();
        rests.map_or(latest, |rests| (now + rests).max(quiet).min(latest))
    }
}

impl<I> fmt::Debug for Keeper<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

/// More in flight would only meet the limits of authorities sooner.
const ASKING_MAX: usize = 4;

/// As many as a balancer for people's services ever has; each costs a file and
/// a place in the table of certificates.
const NAMES_MAX: usize = 1000;

/// With those that are shown if a certificate is kept for them, and not renewed.
const KNOWN_MAX: usize = 2 * NAMES_MAX;

/// How soon a certificate that another balancer has got is shown here too, and
/// one that could not be kept is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How soon it is seen that the wall's clock was set.
const CHECK_EVERY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
