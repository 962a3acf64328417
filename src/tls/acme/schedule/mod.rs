//! When to renew, when to ask again and when to try again: no clock and no
//! chance but those that are given.
//!
//! A `chance` is a number from 0 up to 1. It spreads those who would otherwise
//! all come at one moment.

use std::time::{Duration, SystemTime};

/// How long a certificate is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Life {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

/// When the authority would like a certificate to be renewed (RFC 9773,
/// section 4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    pub start: SystemTime,
    pub end: SystemTime,
}

/// When to renew: at a moment within the authority's window (RFC 9773, section
/// 4.2), else about when two thirds of its life are over. It may be past.
pub(super) fn renewal(life: Life, window: Option<Window>, chance: f64) -> SystemTime {
    let lasts = life.until.duration_since(life.from).unwrap_or_default();
    match window.filter(|window| window.start < window.end) {
        Some(Window { start, end }) => {
            let width = end.duration_since(start).unwrap_or_default();
            let latest = life.from + lasts.mul_f64(LATEST);
            (start + width.mul_f64(chance)).min(latest)
        }
        None => life.from + lasts.mul_f64(TWO_THIRDS - chance * SPREAD),
    }
}

/// When to renew, of one that was last renewed at `hurried` ahead of its time:
/// an authority that always says "at once" is obeyed once a day.
pub(super) fn unhurried(
    renewal: SystemTime,
    life: Life,
    hurried: Option<SystemTime>,
) -> SystemTime {
    let ordinary = self::renewal(life, None, 1.0);
    match hurried.and_then(|at| at.checked_add(HURRY_EVERY)) {
        Some(next) if renewal < ordinary => renewal.max(next.min(ordinary)),
        Some(_) | None => renewal,
    }
}

/// Until the authority is asked again when it would like a renewal. It says so
/// itself, and is believed within bounds (RFC 9773, section 4.3.2).
pub(super) fn next_question(said: Option<Duration>, chance: f64) -> Duration {
    match said {
        Some(said) => said.clamp(QUESTION_MIN, QUESTION_MAX),
        None => QUESTION_EVERY.mul_f64(1.0 + chance * JITTER),
    }
}

/// Until a name is ordered again that has failed so many times in a row, at
/// least once.
///
/// The steps keep it under the 5 failures an hour and name that Let's Encrypt
/// allows, with one left for a restart.
pub(super) fn next_try(failures: u32, chance: f64) -> Duration {
    backed_off(TRY_MIN, 4, failures, TRY_MAX, chance)
}

/// Until the authority is asked again that could not be reached so many times
/// in a row, at least once.
pub(super) fn next_connect(failures: u32, chance: f64) -> Duration {
    backed_off(CONNECT_MIN, 2, failures, CONNECT_MAX, chance)
}

/// For how long nothing is asked of an authority that wants less of us.
pub(super) fn pause(said: Option<Duration>) -> Duration {
    said.unwrap_or(PAUSE_MIN).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// For how long the name waits that was told so.
pub(super) fn name_pause(said: Option<Duration>, failures: u32, chance: f64) -> Duration {
    next_try(failures, chance).max(said.unwrap_or_default().min(NAME_PAUSE_MAX))
}

fn backed_off(
    first: Duration,
    factor: u32,
    failures: u32,
    most: Duration,
    chance: f64,
) -> Duration {
    let steps = factor.saturating_pow(failures.saturating_sub(1));
    first.saturating_mul(steps).min(most).mul_f64(1.0 + chance * JITTER)
}

const TWO_THIRDS: f64 = 2.0 / 3.0;

/// Of a life: three days of ninety.
const SPREAD: f64 = 1.0 / 30.0;

/// Of a life. A window beyond it is not believed: tries need time to fail.
const LATEST: f64 = 0.9;

/// What is added at most to a wait.
const JITTER: f64 = 0.25;

const HURRY_EVERY: Duration = Duration::from_secs(24 * 3600);

const QUESTION_MIN: Duration = Duration::from_secs(60);
const QUESTION_MAX: Duration = Duration::from_secs(24 * 3600);
const QUESTION_EVERY: Duration = Duration::from_secs(6 * 3600);

const TRY_MIN: Duration = Duration::from_secs(60);
const TRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is not reached is not burdened, and may be back at any moment.
const CONNECT_MIN: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(3600);

/// A limit may be that of one name, which must not keep the others for long.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// As long as the longest window of Let's Encrypt's limits.
const NAME_PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests;
