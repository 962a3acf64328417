//! What events said and the list does not say yet: an overlay over the list.
//!
//! Lists lag behind events: a dead container is listed as running for up to
//! 160 ms, and one that has its stop signal until it exits. So a hint stands
//! until a list that began late enough contradicts it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::world::{Health, Place, RunState, Workload};

/// All hints that stand.
#[derive(Debug, Default)]
pub(super) struct Hints {
    standing: BTreeMap<Arc<str>, Hint>,
}

/// What events said of one container.
#[derive(Debug, Default)]
struct Hint {
    /// When the newest of it happened, by the daemon's clock.
    latest: i64,
    dead: Option<Until>,
    stopping: Option<Until>,
    /// True: paused; false: not any more.
    paused: Option<(bool, Until)>,
    verdict: Option<(Health, Until)>,
    /// The verdict from before a pause, which the daemon forgets over it.
    kept: Option<Kept>,
    /// Networks that it left, by id.
    left: BTreeMap<Arc<str>, Until>,
}

/// How long a hint stands: until the first list that began at `list_from` or
/// later.
#[derive(Clone, Copy, Debug)]
struct Until {
    list_from: Instant,
    /// Nobody else asks for that list.
    asks: bool,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    health: Health,
    /// None while the pause lasts.
    until: Option<Instant>,
}

impl Hints {
    /// It got its stop signal, or the one that kills. If it still runs a second
    /// after its stop time-out, the signal stopped nothing.
    pub(super) fn signalled(&mut self, id: &Arc<str>, now: Instant, stop_timeout: Duration) {
        self.hint(id).stopping = Some(Until::listed(now + stop_timeout + STOP_GRACE));
    }

    pub(super) fn died(&mut self, id: &Arc<str>, now: Instant) {
        let hint = self.hint(id);
        hint.dead = Some(Until::listed(now + LIST_LAG));
        hint.kept = None;
        hint.verdict = None;
    }

    /// It lives, `again` if it did before. Then it stays dead until the next
    /// list, since the last one holds the address of its former life.
    pub(super) fn started(&mut self, id: &Arc<str>, now: Instant, again: bool) {
        let hint = self.hint(id);
        let dead = again || hint.dead.is_some();
        let dead = dead.then_some(Until { list_from: now, asks: false });
        // The networks that it left are joined anew before the start.
        *hint = Hint { dead, latest: hint.latest, ..Hint::default() };
    }

    /// `health` is the verdict before the pause.
    pub(super) fn paused(&mut self, id: &Arc<str>, now: Instant, health: Health) {
        let hint = self.hint(id);
        hint.paused = Some((true, Until::listed(now + LIST_LAG)));
        hint.keep(health);
    }

    pub(super) fn unpaused(&mut self, id: &Arc<str>, now: Instant) {
        let hint = self.hint(id);
        hint.paused = Some((false, Until::listed(now + LIST_LAG)));
        hint.release(now);
    }

    /// A list shows a pause of which no event told.
    pub(super) fn found_paused(&mut self, id: &Arc<str>, health: Health) {
        self.hint(id).keep(health);
    }

    /// A list shows it running: a pause is over, unless it was heard of too late
    /// for that list.
    pub(super) fn found_running(&mut self, id: &str, now: Instant) {
        if let Some(hint) = self.standing.get_mut(id)
            && !matches!(hint.paused, Some((true, _)))
        {
            hint.release(now);
        }
    }

    /// Its HEALTHCHECK came to a verdict.
    pub(super) fn judged(&mut self, id: &Arc<str>, now: Instant, health: Health) {
        let hint = self.hint(id);
        hint.kept = None;
        hint.verdict = Some((health, Until { list_from: now, asks: false }));
    }

    pub(super) fn disconnected(&mut self, id: &Arc<str>, now: Instant, network: &Arc<str>) {
        self.hint(id).left.insert(Arc::clone(network), Until::listed(now + LIST_LAG));
    }

    pub(super) fn connected(&mut self, id: &Arc<str>, now: Instant, network: &Arc<str>) {
        if let Some(until) = self.hint(id).left.get_mut(network) {
            *until = Until { list_from: now, asks: false };
        }
    }

    /// Something happened to it, by the daemon's clock.
    pub(super) fn happened(&mut self, id: &Arc<str>, at: i64) {
        let hint = self.hint(id);
        hint.latest = hint.latest.max(at);
    }

    /// Whether something that happened to it after this time of the daemon's clock
    /// has been heard of.
    pub(super) fn heard_after(&self, id: &str, at: i64) -> bool {
        self.standing.get(id).is_some_and(|hint| hint.latest > at)
    }

    /// Whether it is known to have died after this time of the daemon's clock.
    pub(super) fn died_after(&self, id: &str, at: i64) -> bool {
        self.heard_after(id, at) && self.standing.get(id).is_some_and(|hint| hint.dead.is_some())
    }

    /// Another life began at this time of the daemon's clock, if that is known:
    /// nothing from before applies to it.
    pub(super) fn forget_before(&mut self, id: &str, began: Option<i64>) {
        self.standing
            .retain(|known, hint| **known != *id || began.is_some_and(|began| began < hint.latest));
    }

    /// Lifts what a list that began at `began` may contradict. `is_known` says
    /// which containers it holds.
    pub(super) fn listed(&mut self, began: Instant, is_known: impl Fn(&str) -> bool) {
        self.standing.retain(|id, hint| {
            hint.dead = hint.dead.filter(|until| until.stands(began));
            hint.stopping = hint.stopping.filter(|until| until.stands(began));
            hint.paused = hint.paused.filter(|(_, until)| until.stands(began));
            hint.verdict = hint.verdict.filter(|(_, until)| until.stands(began));
            hint.left.retain(|_, until| until.stands(began));
            let over = |kept: &Kept| kept.until.is_some_and(|until| until <= began);
            hint.kept = hint.kept.filter(|kept| is_known(id) && !over(kept));
            !hint.is_empty()
        });
    }

    /// When a list should be made that may lift a hint; may be in the past.
    pub(super) fn due(&self) -> Option<Instant> {
        self.standing.values().filter_map(Hint::due).min()
    }

    /// How it runs, if the list says `listed`.
    pub(super) fn run(&self, id: &str, listed: RunState) -> RunState {
        self.standing.get(id).map_or(listed, |hint| hint.run(listed))
    }

    /// Whether it left this network.
    pub(super) fn has_left(&self, id: &str, network: &str) -> bool {
        self.standing.get(id).is_some_and(|hint| hint.left.contains_key(network))
    }

    /// Corrects what the list says.
    pub(super) fn correct(&self, workload: &mut Workload, now: Instant) {
        let Some(hint) = self.standing.get(&workload.id.id) else {
            return;
        };
        workload.run = hint.run(workload.run);
        workload.health = hint.health(workload.health, now);
        if let Place::Container { networks, .. } = &mut workload.place {
            for attachment in networks {
                if hint.left.contains_key(&attachment.network) {
                    attachment.address = None;
                }
            }
        }
    }

    fn hint(&mut self, id: &Arc<str>) -> &mut Hint {
        self.standing.entry(Arc::clone(id)).or_default()
    }
}

impl Hint {
    fn run(&self, listed: RunState) -> RunState {
        match listed {
            RunState::Running | RunState::Paused | RunState::Stopping => {
                let paused = self.paused.map_or(listed == RunState::Paused, |(paused, _)| paused);
                if self.dead.is_some() {
                    RunState::Stopped
                } else if paused {
                    // It cannot even finish what it has, signal or not.
                    RunState::Paused
                } else if self.stopping.is_some() || listed == RunState::Stopping {
                    RunState::Stopping
                } else {
                    RunState::Running
                }
            }
            RunState::Created | RunState::Restarting | RunState::Stopped => listed,
        }
    }

    fn health(&self, listed: Health, now: Instant) -> Health {
        match (self.verdict, self.kept) {
            (Some((health, _)), _) => health,
            (None, Some(kept)) if kept.until.is_none_or(|until| now < until) => kept.health,
            (None, Some(_) | None) => listed,
        }
    }

    fn keep(&mut self, health: Health) {
        self.verdict = None;
        if health != Health::None {
            self.kept = Some(Kept { health, until: None });
        }
    }

    fn release(&mut self, now: Instant) {
        if let Some(kept) = &mut self.kept {
            kept.until.get_or_insert(now + PROBE_MAX);
        }
    }

    fn due(&self) -> Option<Instant> {
        let verdict = self.verdict.map(|(_, until)| until);
        let paused = self.paused.map(|(_, until)| until);
        let hints = [self.dead, self.stopping, paused, verdict].into_iter().flatten();
        let all = hints.chain(self.left.values().copied());
        let asked = all.filter(|until| until.asks).map(|until| until.list_from);
        asked.chain(self.kept.and_then(|kept| kept.until)).min()
    }

    fn is_empty(&self) -> bool {
        self.dead.is_none()
            && self.stopping.is_none()
            && self.paused.is_none()
            && self.verdict.is_none()
            && self.kept.is_none()
            && self.left.is_empty()
    }
}

impl Until {
    fn listed(list_from: Instant) -> Self {
        Self { list_from, asks: true }
    }

    fn stands(self, list_began: Instant) -> bool {
        list_began < self.list_from
    }
}

/// A list that began sooner after a hint may not know of it yet.
const LIST_LAG: Duration = Duration::from_millis(500);

/// After the stop time-out the daemon kills: this long that may take.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// HEALTHCHECK's default interval, and some time for the probe itself.
const PROBE_MAX: Duration = Duration::from_secs(35);

#[cfg(test)]
mod tests;
