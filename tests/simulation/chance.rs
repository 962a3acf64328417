//! All chance of one history, from one seed.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Draws the same each time for the same seed.
pub(super) struct Chance(RefCell<fastrand::Rng>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(RefCell::new(fastrand::Rng::with_seed(seed)))
    }

    /// True in so many cases of a hundred.
    pub(super) fn percent(&self, cases: u8) -> bool {
        self.0.borrow_mut().u8(0..100) < cases
    }

    pub(super) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.0.borrow_mut().u64(range))
    }

    /// Mostly one of the first range, now and then one of the second.
    pub(super) fn mostly(
        &self,
        usual: RangeInclusive<u64>,
        rare_percent: u8,
        rare: RangeInclusive<u64>,
    ) -> Duration {
        if self.percent(rare_percent) { self.millis(rare) } else { self.millis(usual) }
    }

    pub(super) fn below(&self, count: usize) -> usize {
        self.0.borrow_mut().usize(0..count)
    }

    pub(super) fn bits(&self) -> u64 {
        self.0.borrow_mut().u64(..)
    }
}
