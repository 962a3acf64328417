//! All that is known of the daemon's containers: the last list, what inspects
//! added and what events said since. It outlives every connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::hints::Hints;
use super::identity::Candidates;
use super::inspect::{Details, Inspected, Ledger, Ticket};
use super::wire::{Event, Happening, List, Listed, Misread};
use super::workload;
use crate::domain::problem::{Problem, Subject};
use crate::domain::world::{
    BYSTANDERS_MAX, Bystander, Health, Hint, Loss, NetworkMode, Observation, Place, RunState,
    Vantage, Workload,
};

/// What one daemon runs, as far as it concerns us.
#[derive(Debug)]
pub(super) struct View {
    /// With its dot, such as `lb.`.
    prefix: String,
    candidates: Candidates,
    vantage: Vantage,
    /// As the last list showed them: ours, and those whose network ours use.
    listed: BTreeMap<Arc<str>, Workload>,
    /// The others, as far as there is room for them.
    bystanders: BTreeMap<Arc<str>, Bystander>,
    ledger: Ledger,
    hints: Hints,
    /// Of the last list.
    problems: Vec<Problem>,
}

/// What an event asks for, beside what it said itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    Nothing,
    List,
    /// A list, and further ones: they lag behind this kind of event.
    ListAgain,
}

impl View {
    pub(super) fn new(prefix: &str, candidates: Candidates) -> Self {
        Self {
            prefix: format!("{prefix}."),
            candidates,
            vantage: Vantage::default(),
            listed: BTreeMap::new(),
            bystanders: BTreeMap::new(),
            ledger: Ledger::default(),
            hints: Hints::default(),
            problems: Vec::new(),
        }
    }

    /// Takes in a list that was asked for at `began`.
    pub(super) fn list(&mut self, list: &List, began: Instant, now: Instant) {
        self.vantage = self.candidates.vantage(&list.entries);
        let mut next = self.ours(&list.entries);
        self.problems.clear();
        for misread in &list.misread {
            self.keep_misread(misread, &mut next);
        }
        self.hints.listed(began, |id| next.contains_key(id));
        self.ledger.keep(next.keys());
        for (id, workload) in &next {
            if workload.run == RunState::Running {
                self.hints.found_running(id, now);
            }
            if let Some(before) = self.listed.get(id) {
                match (before.run, workload.run) {
                    (RunState::Running, RunState::Paused) => {
                        let health = self.corrected(before, now).health;
                        self.hints.found_paused(id, health);
                    }
                    (before, RunState::Running) if is_dead(before) => self.ledger.doubt(id),
                    (_, _) => {}
                }
            }
        }
        let others = list.entries.iter().filter(|it| !next.contains_key(it.id.as_str()));
        let others = others.take(BYSTANDERS_MAX).map(workload::bystander);
        self.bystanders = others.map(|it| (Arc::clone(&it.id), it)).collect();
        self.listed = next;
    }

    /// An entry that cannot be read: what was listed of it before still stands.
    fn keep_misread(&mut self, misread: &Misread, next: &mut BTreeMap<Arc<str>, Workload>) {
        let before = misread.id.as_ref().and_then(|id| self.listed.get(id));
        let is_ours = match &misread.labels {
            Some(keys) => keys.iter().any(|key| workload::begins_with(key, &self.prefix)),
            None => true,
        };
        if (is_ours || before.is_some()) && self.problems.len() < PROBLEMS_MAX {
            self.problems.push(unread(misread, before.is_some()));
        }
        if let Some(before) = before {
            next.insert(Arc::clone(&before.id.id), before.clone());
        }
    }

    /// Takes in an event: what it takes away is gone at once, and told.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) -> (Wish, Option<Hint>) {
        let before = self.standing(event);
        let wish = self.wish(event, now);
        let after = self.standing(event);
        let loss = before.zip(after).and_then(|(before, after)| lost(event, before, after));
        (wish, loss.map(|loss| Hint { id: Arc::clone(&event.container), loss }))
    }

    fn wish(&mut self, event: &Event, now: Instant) -> Wish {
        // Network events carry no labels, so a container that no list has shown
        // yet is not known by one; its start asks for a list.
        let is_ours = self.listed.contains_key(&event.container)
            || event.attributes.keys().any(|key| workload::begins_with(key, &self.prefix));
        let wish = if is_ours {
            self.take_in(event, now)
        } else {
            self.pass_by(event);
            Wish::Nothing
        };
        // Our own process runs some milliseconds before its container is listed
        // with its networks.
        let moved = match event.happening {
            Happening::Started | Happening::Connected(_) | Happening::Disconnected(_) => true,
            Happening::Created
            | Happening::HealthChanged(_)
            | Happening::Renamed
            | Happening::Paused
            | Happening::Unpaused
            | Happening::Signalled(_)
            | Happening::Died
            | Happening::Stopped
            | Happening::Destroyed => false,
        };
        if moved && self.candidates.hold(&event.container) { Wish::ListAgain } else { wish }
    }

    /// Notes what happens to a container that is not ours, which is worth no list.
    fn pass_by(&mut self, event: &Event) {
        let id = &event.container;
        let run = match &event.happening {
            Happening::Created => RunState::Created,
            Happening::Started | Happening::Unpaused => RunState::Running,
            Happening::Paused => RunState::Paused,
            Happening::Died | Happening::Stopped => RunState::Stopped,
            Happening::Destroyed => {
                self.bystanders.remove(id);
                return;
            }
            Happening::Connected(_)
            | Happening::Disconnected(_)
            | Happening::HealthChanged(_)
            | Happening::Renamed
            | Happening::Signalled(_) => return,
        };
        if !self.bystanders.contains_key(id)
            && self.bystanders.len() < BYSTANDERS_MAX
            && let Some(bystander) = workload::bystander_of(event)
        {
            self.bystanders.insert(Arc::clone(id), bystander);
        }
        if let Some(bystander) = self.bystanders.get_mut(id) {
            bystander.run = run;
        }
    }

    fn take_in(&mut self, event: &Event, now: Instant) -> Wish {
        let id = &event.container;
        if self.is_stale(event) {
            // The daemon's clock may have been set back: the list knows.
            return Wish::ListAgain;
        }
        let is_late = self.hints.heard_after(id, event.at);
        self.hints.happened(id, event.at);
        match &event.happening {
            Happening::Created | Happening::Renamed => return Wish::List,
            Happening::Connected(network) => {
                self.hints.connected(id, now, network);
                return Wish::ListAgain;
            }
            Happening::Disconnected(network) => self.hints.disconnected(id, now, network),
            Happening::Started => {
                if self.listed.get(id).is_some_and(|listed| is_dead(listed.run)) {
                    self.ledger.died(id, event.at);
                }
                let again = self.ledger.started(id, event.at);
                // What was heard of the same life before its start still holds.
                if !is_late {
                    self.hints.started(id, now, again);
                }
                return Wish::List;
            }
            Happening::HealthChanged(health) => {
                if let Some(health) = health {
                    self.hints.judged(id, now, *health);
                }
                return Wish::List;
            }
            Happening::Paused => {
                let before = self.listed.get(id).map(|listed| self.corrected(listed, now).health);
                self.hints.paused(id, now, before.unwrap_or(Health::None));
            }
            Happening::Unpaused => {
                self.hints.unpaused(id, now);
                return Wish::List;
            }
            Happening::Signalled(signal) => {
                let details = self.ledger.details(id).cloned().unwrap_or_default();
                // A label of this name hides which signal it was. Taking traffic
                // away in vain costs less than sending it to a dying process.
                let hidden = self.listed.get(id).is_some_and(|it| it.labels.contains_key("signal"));
                let stops = signal.is_none_or(|it| it == details.stop_signal || it == SIGKILL);
                if hidden || stops {
                    self.hints.signalled(id, now, details.stop_timeout);
                }
            }
            Happening::Died => {
                self.ledger.died(id, event.at);
                self.hints.died(id, now);
            }
            Happening::Stopped => self.hints.died(id, now),
            Happening::Destroyed => {
                self.hints.died(id, now);
                return Wish::List;
            }
        }
        Wish::Nothing
    }

    /// Whether it tells of a former life: one from before the current life's
    /// start, or a start from before a death that is known.
    fn is_stale(&self, event: &Event) -> bool {
        let id = &event.container;
        let before_birth = self.ledger.began(id).is_some_and(|began| event.at < began);
        let is_start = event.happening == Happening::Started;
        before_birth || (is_start && self.hints.died_after(id, event.at))
    }

    /// How the container of `event`, which a list has shown, runs as far as is
    /// known, and whether it is in the network that `event` is about.
    fn standing(&self, event: &Event) -> Option<(RunState, bool)> {
        let id = &event.container;
        let listed = self.listed.get(id)?;
        let run = self.hints.run(id, listed.run);
        let is_in = match (&event.happening, &listed.place) {
            (Happening::Disconnected(left), Place::Container { networks, .. }) => {
                let joined = networks.iter().any(|it| it.network == *left && it.address.is_some());
                joined && !self.hints.has_left(id, left)
            }
            (_, _) => false,
        };
        Some((run, is_in))
    }

    /// Events may have been missed, so that lives may have passed unseen.
    pub(super) fn doubt(&mut self) {
        self.ledger.doubt_all();
    }

    pub(super) fn next_to_inspect(&mut self) -> Option<Ticket> {
        self.ledger.next_wanted()
    }

    pub(super) fn inspected(&mut self, ticket: &Ticket, inspected: Inspected) {
        if self.ledger.learn(ticket, inspected) {
            self.hints.forget_before(&ticket.id, self.ledger.began(&ticket.id));
        }
    }

    pub(super) fn not_inspected(&mut self, ticket: &Ticket) {
        self.ledger.failed(ticket);
    }

    pub(super) fn retry_failed(&mut self) {
        self.ledger.retry_failed();
    }

    /// When a list should be made that may lift a hint; may be in the past.
    pub(super) fn due(&self) -> Option<Instant> {
        self.hints.due()
    }

    /// All that is known, put together.
    pub(super) fn observation(&self, now: Instant) -> Observation {
        Observation {
            workloads: self.listed.values().map(|listed| self.corrected(listed, now)).collect(),
            vantage: self.vantage.clone(),
            problems: self.problems.clone(),
            bystanders: self.bystanders.values().cloned().collect(),
        }
    }

    /// Ours, and those whose network ours use: their address is ours then.
    fn ours(&self, list: &[Listed]) -> BTreeMap<Arc<str>, Workload> {
        let labelled = list.iter().filter(|it| workload::has_labels_of(it, &self.prefix));
        let mut ours: BTreeMap<_, _> = labelled
            .map(|listed| workload::workload(listed, list))
            .map(|workload| (Arc::clone(&workload.id.id), workload))
            .collect();
        let peers: BTreeSet<_> = ours.values().filter_map(peer).collect();
        for listed in list.iter().filter(|listed| peers.contains(listed.id.as_str())) {
            let workload = workload::workload(listed, list);
            ours.entry(Arc::clone(&workload.id.id)).or_insert(workload);
        }
        ours
    }

    fn corrected(&self, listed: &Workload, now: Instant) -> Workload {
        let id = &listed.id.id;
        let mut workload = listed.clone();
        workload.id.life = self.ledger.life(id);
        self.hints.correct(&mut workload, now);
        let details = self.ledger.details(id);
        if let Some(created) = details.and_then(|details| details.created) {
            workload.created = created;
        }
        workload.exit_code = workload.exit_code.filter(|_| is_dead(workload.run));
        workload.host_name = details.and_then(|details| details.host_name.clone());
        let stop_timeout =
            details.map_or_else(|| Details::default().stop_timeout, |it| it.stop_timeout);
        workload.stop_timeout = Some(stop_timeout);
        if let Place::Container { networks, exposed, .. } = &mut workload.place {
            if let Some(details) = details {
                let exposed = exposed.get_or_insert_default();
                exposed.extend(&details.exposed);
                exposed.sort_unstable();
                exposed.dedup();
            }
            if !workload::holds_addresses(workload.run) {
                networks.iter_mut().for_each(|attachment| attachment.address = None);
            }
        }
        workload
    }
}

/// What a container lost between two standings. It is told before the
/// observation that shows it, and only if there is something to lose.
fn lost(event: &Event, before: (RunState, bool), after: (RunState, bool)) -> Option<Loss> {
    let ((before, was_in), (after, is_in)) = (before, after);
    if let Happening::Disconnected(network) = &event.happening
        && was_in
        && !is_in
    {
        return workload::holds_addresses(after).then(|| Loss::Network(Arc::clone(network)));
    }
    match (before, after) {
        (RunState::Running, RunState::Stopping) => Some(Loss::Stopping),
        (RunState::Running | RunState::Stopping, RunState::Paused) => Some(Loss::Paused),
        (before, RunState::Stopped) if workload::holds_addresses(before) => Some(Loss::Stopped),
        (_, _) => None,
    }
}

fn unread(misread: &Misread, is_known: bool) -> Problem {
    let standing = if is_known { "it is taken to be as before" } else { "it takes no requests" };
    let Misread { name, fault, .. } = misread;
    let message = format!("what Docker lists of it cannot be read, so that {standing}: {fault}");
    let hint = "create the container anew; if that does not help, report this as a bug with what \
                `docker inspect` says of it";
    Problem::new(Subject::Container(name.as_str().into()), message, hint)
}

fn peer(workload: &Workload) -> Option<Arc<str>> {
    match &workload.place {
        Place::Container { mode: NetworkMode::Container(peer), .. } => Some(Arc::clone(peer)),
        Place::Container { .. } | Place::Fixed(_) => None,
    }
}

fn is_dead(run: RunState) -> bool {
    match run {
        RunState::Stopped | RunState::Restarting => true,
        RunState::Created | RunState::Running | RunState::Paused | RunState::Stopping => false,
    }
}

const SIGKILL: i32 = 9;

/// Of one list that are told; where there are more, all have the same cause.
const PROBLEMS_MAX: usize = 64;

#[cfg(test)]
mod tests;
