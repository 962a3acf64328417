//! What is known of one name.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::tls::acme::failure::Failure;
use crate::tls::acme::schedule::{self, Life, Window};
use crate::tls::acme::storage::Kept;

/// A name and its certificate.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Whether a pool wants it now.
    pub(super) wanted: bool,
    /// Whether it was looked for among those that are kept.
    pub(super) loaded: bool,
    /// Whether the authority is being asked.
    pub(super) busy: bool,
    pub(super) held: Option<Held>,
    /// Whether the one that is held is not kept yet.
    pub(super) unsaved: bool,
    /// In a row.
    pub(super) failures: u32,
    pub(super) failure: Option<Failed>,
    /// When it was last renewed because the authority was in a hurry.
    pub(super) hurried: Option<SystemTime>,
}

/// A certificate in use.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) kept: Kept,
    window: Option<Window>,
    pub(super) renew_at: SystemTime,
    /// When the authority is asked what it thinks of that.
    pub(super) ask_at: Instant,
}

/// A failure, and until when nothing is tried.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) until: Instant,
    /// The same moment as a person reads it.
    pub(super) until_time: SystemTime,
}

/// What is to be done for a name, the most urgent first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    First,
    Renewal,
    Advice,
}

impl Entry {
    /// What is to be done now.
    pub(super) fn due(&self, now: Instant, time: SystemTime) -> Option<Due> {
        if !self.wanted || !self.loaded || self.busy {
            return None;
        }
        let may_order = self.failure.as_ref().is_none_or(|failed| failed.until <= now);
        match &self.held {
            None => may_order.then_some(Due::First),
            Some(held) if held.renew_at <= time && may_order => Some(Due::Renewal),
            Some(held) => (held.ask_at <= now).then_some(Due::Advice),
        }
    }

    /// Until something may be due.
    pub(super) fn rests(&self, now: Instant, time: SystemTime) -> Option<Duration> {
        if !self.wanted || !self.loaded || self.busy {
            return None;
        }
        let failed = self.failure.as_ref().map(|failed| failed.until.duration_since(now));
        let order = match &self.held {
            None => Duration::ZERO,
            Some(held) => held.renew_at.duration_since(time).unwrap_or_default(),
        };
        let order = order.max(failed.unwrap_or_default());
        Some(match &self.held {
            None => order,
            Some(held) => order.min(held.ask_at.duration_since(now)),
        })
    }

    /// Has a certificate from now on, about which the authority is asked at once.
    pub(super) fn hold(&mut self, kept: Kept, now: Instant, time: SystemTime, chance: f64) {
        let renew_at = schedule::renewal(life(&kept), None, chance);
        // One that does not last is no reason to order without end.
        let renew_at =
            if self.held.is_some() { renew_at.max(time + RENEWAL_MIN) } else { renew_at };
        self.held = Some(Held { kept, window: None, renew_at, ask_at: now });
    }

    /// Follows what the authority says of the renewal. Chance is asked once for
    /// each window.
    pub(super) fn advise(&mut self, window: Window, ask_at: Instant, chance: f64) {
        let Some(held) = &mut self.held else { return };
        held.ask_at = ask_at;
        if held.window != Some(window) {
            held.window = Some(window);
            let life = life(&held.kept);
            let renewal = schedule::renewal(life, Some(window), chance);
            held.renew_at = schedule::unhurried(renewal, life, self.hurried);
        }
    }

    /// Whether it is renewed now only since the authority wants it.
    pub(super) fn is_hurried(&self, time: SystemTime) -> bool {
        let ordinary = |held: &Held| schedule::renewal(life(&held.kept), None, 1.0);
        self.held.as_ref().is_some_and(|held| held.window.is_some() && time < ordinary(held))
    }

    pub(super) fn fail(&mut self, failure: Failure, now: Instant, time: SystemTime, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let wait = match &failure {
            Failure::Limited { retry_after, .. } => {
                schedule::name_pause(*retry_after, self.failures, chance)
            }
            Failure::Unreachable(_)
            | Failure::Account { .. }
            | Failure::Challenge { .. }
            | Failure::Order { .. }
            | Failure::Ours(_) => schedule::next_try(self.failures, chance),
        };
        self.failure = Some(Failed { failure, until: now + wait, until_time: time + wait });
    }

    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.failure = None;
    }
}

fn life(kept: &Kept) -> Life {
    Life { from: kept.certificate.not_before, until: kept.certificate.not_after }
}

/// Between two orders of a name that nobody hurries.
const RENEWAL_MIN: Duration = Duration::from_secs(60);
