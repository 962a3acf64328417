//! How many retries a pool may make: a share of its requests, so that a pool
//! that fails is not finished off by its own retries.

use std::sync::atomic::{AtomicU32, Ordering};

/// The retries of a pool in the last ten seconds. Shared by workers without a
/// lock: a count more or less where a second begins does no harm.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Budget([Second; WINDOW]);

#[derive(Debug, Default)]
struct Second {
    /// Which second this is, from 1; 0 for none.
    number: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Budget {
    /// Counts a request. `now` is in seconds since any fixed moment.
    pub fn request(&self, now: u32) {
        if let Some(second) = self.second(now) {
            second.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a retry, if one is left.
    pub fn take(&self, now: u32) -> bool {
        let recent = |second: &&Second| {
            let number = second.number.load(Ordering::Relaxed);
            number != 0 && now + 1 - number.min(now + 1) < WINDOW as u32
        };
        let (mut requests, mut retries) = (0_u64, 0_u64);
        for second in self.0.iter().filter(recent) {
            requests += u64::from(second.requests.load(Ordering::Relaxed));
            retries += u64::from(second.retries.load(Ordering::Relaxed));
        }
        let allowed = (requests * SHARE_PERCENT / 100).max(LEAST);
        let left = retries < allowed;
        if left && let Some(second) = self.second(now) {
            second.retries.fetch_add(1, Ordering::Relaxed);
        }
        left
    }

    /// The counts of this second, emptied of those of an earlier one.
    fn second(&self, now: u32) -> Option<&Second> {
        let second = self.0.get(now as usize % WINDOW)?;
        let number = now + 1;
        let before = second.number.load(Ordering::Relaxed);
        if before != number
            && second
                .number
                .compare_exchange(before, number, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            second.requests.store(0, Ordering::Relaxed);
            second.retries.store(0, Ordering::Relaxed);
        }
        Some(second)
    }
}

/// Seconds that count.
const WINDOW: usize = 10;

/// Retries in the window: at most this part of the requests in it.
const SHARE_PERCENT: u64 = 20;

/// Or this many, if that is more: ten a second, so that a pool with little
/// traffic may retry as well.
const LEAST: u64 = 10 * WINDOW as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quiet_pool_may_retry_ten_times_a_second() {
        let budget = Budget::default();
        let taken = (0..1_000).filter(|_| budget.take(7)).count();
        assert_eq!(taken, 100, "those of the whole window");
        assert!(!budget.take(16), "the window still holds them");
        assert!(budget.take(17), "and has passed");
    }

    #[test]
    fn a_busy_pool_may_retry_a_fifth_of_its_requests() {
        let budget = Budget::default();
        for second in 0..10 {
            (0..1_000).for_each(|_| budget.request(second));
        }
        assert_eq!((0..9_999).filter(|_| budget.take(9)).count(), 2_000);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_share(
            steps in proptest::collection::vec((0_u32..3, 0_u32..400, 0_u32..200), 1..40),
        ) {
            let budget = Budget::default();
            let (mut now, mut made) = (0, Vec::new());
            for (pause, requests, retries) in steps {
                now += pause;
                (0..requests).for_each(|_| budget.request(now));
                let taken = (0..retries).filter(|_| budget.take(now)).count();
                made.push((now, u64::from(requests), taken as u64));
                let window = made.iter().filter(|(at, ..)| now - at < WINDOW as u32);
                let (asked, taken) = window.fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2));
                // A retry that was taken while there were more requests in the window stays.
                let ever = made.iter().map(|it| it.1).sum::<u64>();
                prop_assert!(taken <= (ever / 5).max(LEAST), "{taken} of {asked}");
            }
        }
    }
}
