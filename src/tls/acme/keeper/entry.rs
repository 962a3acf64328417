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
    /// Whether the bound of names has room for orders of it.
    pub(super) has_room: bool,
    /// Whether it was looked for among those that are kept.
    pub(super) loaded: bool,
    /// Whether what is kept could not be read, and is looked at again later.
    pub(super) unread: bool,
    /// Whether the authority is being asked.
    pub(super) busy: bool,
    pub(super) held: Option<Held>,
    /// Whether the one that is held is not kept yet.
    pub(super) unsaved: bool,
    /// In a row.
    pub(super) failures: u32,
    /// How often the authority did not find what it looked for.
    pub(super) disproved: u32,
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
    /// Who gets room before others: the lower ones.
    pub(super) fn rank(&self) -> u8 {
        match (&self.held, self.has_room) {
            (Some(_), _) => 0,
            (None, true) => 1,
            (None, false) => RANK_OF_NEW,
        }
    }

    /// What is to be done now.
    pub(super) fn due(&self, now: Instant, time: SystemTime) -> Option<Due> {
        if !self.may_ask() {
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
        if !self.may_ask() {
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

    fn may_ask(&self) -> bool {
        self.wanted && self.has_room && self.loaded && !self.busy
    }

    /// Has a certificate from now on, about which the authority is asked at once.
    pub(super) fn hold(&mut self, kept: Kept, now: Instant, chance: f64) {
        let renew_at = schedule::renewal(life(&kept), None, chance);
        self.held = Some(Held { kept, window: None, renew_at, ask_at: now });
    }

    /// As [`Self::hold`], of one that has just been issued. If it is due again,
    /// by a clock that is wrong, that is no reason to order without end.
    pub(super) fn hold_new(&mut self, kept: Kept, now: Instant, time: SystemTime, chance: f64) {
        let rest = kept.certificate.not_after.duration_since(time).unwrap_or_default();
        self.hold(kept, now, chance);
        if let Some(held) = &mut self.held {
            held.renew_at = held.renew_at.max(time + (rest / 3).max(RENEWAL_MIN));
        }
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
            Failure::Unreachable(_) => schedule::next_connect(self.failures, chance),
            Failure::Limited { retry_after, .. } => {
                schedule::name_pause(*retry_after, self.failures, chance)
            }
            Failure::Challenge { .. } => {
                self.disproved = self.disproved.wrapping_add(1);
                schedule::next_try(self.failures, chance)
            }
            Failure::Account { .. } | Failure::Order { .. } | Failure::Ours(_) => {
                schedule::next_try(self.failures, chance)
            }
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

pub(super) const RANK_OF_NEW: u8 = 2;

/// Between two orders of a name that nobody hurries, at least.
const RENEWAL_MIN: Duration = Duration::from_secs(60);
