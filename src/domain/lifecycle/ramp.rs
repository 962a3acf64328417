//! Slow start: a new replica's share of the traffic grows with time.

use std::time::Duration;

/// A part of the traffic that an endpoint would get by its weight, in 1/65536.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Share(u32);

impl Share {
    pub const FULL: Self = Self(1 << 16);

    /// So much that a replica is kept busy enough to warm up.
    pub const FLOOR: Self = Self(Self::FULL.0 / 10);

    /// The share after being ready for so long, of a ramp of `slow_start`: it
    /// grows in proportion, from the floor to all.
    pub fn after(ready_for: Duration, slow_start: Duration) -> Self {
        if ready_for >= slow_start {
            return Self::FULL;
        }
        let grown =
            ready_for.as_micros() * u128::from(Self::FULL.0) / slow_start.as_micros().max(1);
        Self(u32::try_from(grown).unwrap_or(Self::FULL.0)).max(Self::FLOOR)
    }

    /// Whether an endpoint with this share takes a request by its random bits,
    /// where the endpoint that is furthest up has a share of `most`: of those
    /// that are equally far up none stands back.
    pub fn takes(self, most: Self, random: u64) -> bool {
        let drawn = ((random >> 32) * u64::from(most.0)) >> 32;
        self >= most || drawn < u64::from(self.0)
    }

    pub fn percent(self) -> u32 {
        (self.0 * 100 + Self::FULL.0 / 2) / Self::FULL.0
    }

    /// What so many requests in flight would be with a full share.
    pub fn scale(self, in_flight: u32) -> u32 {
        let scaled = u64::from(in_flight) * u64::from(Self::FULL.0) / u64::from(self.0.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_share_grows_in_proportion_from_its_floor() {
        let ramp = Duration::from_secs(100);
        for (seconds, percent) in [(0, 10), (5, 10), (25, 25), (50, 50), (99, 99), (100, 100)] {
            let share = Share::after(Duration::from_secs(seconds), ramp);
            assert_eq!(share.percent(), percent, "{seconds} s");
        }
        assert_eq!(Share::after(Duration::ZERO, Duration::ZERO), Share::FULL);
    }

    #[test]
    fn who_is_as_far_up_as_any_never_stands_back() {
        for random in [0, u64::MAX / 2, u64::MAX] {
            assert!(Share::FLOOR.takes(Share::FLOOR, random));
            assert!(Share::FULL.takes(Share::FULL, random));
        }
        assert!(!Share::FLOOR.takes(Share::FULL, u64::MAX));
        assert!(Share::FLOOR.takes(Share::FULL, 0));
    }

    proptest! {
        #[test]
        fn the_share_never_falls_with_time(
            ramp in 1_u64..3_600_000, (earlier, later) in (0_u64..4_000_000, 0_u64..4_000_000),
        ) {
            let after = |ms| Share::after(Duration::from_millis(ms), Duration::from_millis(ramp));
            prop_assert!(after(earlier.min(later)) <= after(earlier.max(later)));
            prop_assert!(after(later) >= Share::FLOOR && after(later) <= Share::FULL);
        }

        #[test]
        fn load_counts_for_no_less_while_a_share_grows(in_flight: u32, ms in 0_u64..2_000) {
            let share = Share::after(Duration::from_millis(ms), Duration::from_secs(1));
            prop_assert!(share.scale(in_flight) >= in_flight);
        }
    }
}
