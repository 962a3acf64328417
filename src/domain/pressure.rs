//! What to give up as memory runs out.

use std::sync::atomic::{AtomicU8, Ordering};

/// How short of memory we are. Each level asks for all that those below it do.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    #[default]
    None,
    /// No new connections, and none that only wait for a next request.
    High,
    /// No new requests either.
    Critical,
}

/// Memory at one moment, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// What could not be given back at once.
    pub used: u64,
    /// Where somebody ends us.
    pub limit: u64,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::None, Self::High, Self::Critical];

    /// The level from now on, after this one. A level is left only well below
    /// where it begins, so that what was freed by it does not end it at once.
    /// Without a limit that is known there is no pressure.
    #[must_use]
    pub fn after(self, memory: Option<Memory>) -> Self {
        let Some(Memory { used, limit }) = memory else { return Self::None };
        let share = u128::from(used) * 100 / u128::from(limit.max(1));
        let reached = |level: &Self| {
            let relief = if self >= *level { RELIEF } else { 0 };
            share >= level.begins_at().saturating_sub(relief)
        };
        Self::ALL.into_iter().rev().find(reached).unwrap_or_default()
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// In percent of the limit.
    fn begins_at(self) -> u128 {
        match self {
            Self::None => 0,
            Self::High => HIGH,
            Self::Critical => CRITICAL,
        }
    }
}

/// The level in force, as one sets it and many look at it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU8);

impl Gauge {
    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Ordering::Relaxed);
    }

    pub fn level(&self) -> Level {
        let stored = self.0.load(Ordering::Relaxed);
        Level::ALL.into_iter().find(|level| *level as u8 == stored).unwrap_or_default()
    }
}

/// Where there is still room to finish what is under way.
const HIGH: u128 = 85;

/// Where each further request may be the last.
const CRITICAL: u128 = 95;

/// How far it must fall below either, in percent of the limit.
const RELIEF: u128 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Critical, High, None};

    #[test]
    fn levels_begin_at_their_share_and_end_well_below_it() {
        for (before, percent, after) in [
            (None, 0, None),
            (None, 84, None),
            (None, 85, High),
            (None, 94, High),
            (None, 95, Critical),
            (None, 300, Critical),
            (High, 84, High),
            (High, 80, High),
            (High, 79, None),
            (High, 95, Critical),
            (Critical, 94, Critical),
            (Critical, 90, Critical),
            (Critical, 89, High),
            (Critical, 80, High),
            (Critical, 79, None),
        ] {
            let memory = Memory { used: percent * 1000, limit: 100_000 };
            assert_eq!(before.after(Some(memory)), after, "{before:?} at {percent} %");
        }
    }

    #[test]
    fn a_limit_that_is_lifted_ends_any_level() {
        for level in Level::ALL {
            assert_eq!(level.after(Option::None), None);
        }
    }

    #[test]
    fn a_gauge_shows_what_was_set() {
        let gauge = Gauge::default();
        assert_eq!(gauge.level(), None);
        for level in Level::ALL {
            gauge.set(level);
            assert_eq!(gauge.level(), level);
        }
    }

    #[test]
    fn no_number_is_too_large_or_too_small() {
        let after = |used, limit| None.after(Some(Memory { used, limit }));
        assert_eq!(after(u64::MAX, u64::MAX), Critical);
        assert_eq!(after(u64::MAX / 2, u64::MAX), None);
        assert_eq!(after(1, 0), Critical);
        assert_eq!(after(0, 0), None);
    }
}
