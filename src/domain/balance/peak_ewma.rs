//! Peak EWMA: of two endpoints drawn at random, the one that promises the
//! shorter wait.

use super::Load;
use super::p2c::better_of_two;

/// What one more request would wait for at an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub load: Load,
    /// How long an answer takes there, in microseconds; none until one has come.
    pub latency_us: Option<u32>,
}

/// Draws two different usable slots by weight; ties go to the first draw.
pub fn peak_ewma(
    ring: &[u16],
    cost: impl Fn(u16) -> Cost,
    random: u64,
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    better_of_two(ring, |one, other| cost(one).is_below(cost(other)), random, usable)
}

impl Cost {
    /// Never preferred to anything.
    pub const MAX: Self = Self { load: Load::MAX, latency_us: None };

    /// Whether one more request costs less here than at `other`: what is in
    /// flight with it, times what each takes, by weight.
    fn is_below(self, other: Self) -> bool {
        let wait = |latency_us: u32, load: Load, by: Load| {
            u128::from(latency_us.max(1)) * u128::from(load.with_one_more()) * u128::from(by.weight)
        };
        match (self.latency_us, other.latency_us) {
            (Some(ours), Some(theirs)) => {
                wait(ours, self.load, other.load) < wait(theirs, other.load, self.load)
            }
            // It may be slow, or down: one request finds out.
            (None, Some(_)) => self.load.in_flight == 0,
            (Some(_), None) => other.load.in_flight > 0,
            (None, None) => self.load.is_below(other.load),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endpoint_without_a_sample_gets_one_request_at_a_time() {
        let busy = known(1_000, 50, 1);
        assert!(unknown(0).is_below(busy));
        assert!(!unknown(1).is_below(busy));
        assert!(busy.is_below(unknown(1)));
        assert!(unknown(1).is_below(unknown(2)));
    }

    #[test]
    fn a_slow_endpoint_gets_a_request_when_the_fast_one_has_as_many_times_more() {
        let slow = known(20_000, 0, 1);
        assert!(known(1_000, 18, 1).is_below(slow));
        assert!(slow.is_below(known(1_000, 20, 1)));
        assert!(known(1_000, 38, 2).is_below(known(20_000, 0, 1)));
    }

    #[test]
    fn the_slowest_of_all_is_never_chosen() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1)]);
        let latencies = [900, 40_000, 1_000];
        let cost = |slot: u16| known(latencies[usize::from(slot)], 3, 1);
        for random in (0..9).map(|n: u64| ((n / 3) << 32) | (n % 3)) {
            assert_ne!(peak_ewma(&ring, cost, random, |_| true), Some(1));
            assert_eq!(peak_ewma(&ring, cost, random, |slot| slot == 1), Some(1));
            assert_eq!(peak_ewma(&ring, |_| Cost::MAX, random, |_| false), None);
        }
    }

    proptest! {
        #[test]
        fn of_two_costs_at_most_one_is_below_the_other(one in any_cost(), other in any_cost()) {
            prop_assert!(!(one.is_below(other) && other.is_below(one)));
            prop_assert!(!one.is_below(one));
        }
    }

    fn any_cost() -> impl Strategy<Value = Cost> {
        (any::<Option<u32>>(), any::<u32>(), 1_u16..=256).prop_map(
            |(latency_us, in_flight, weight)| Cost { latency_us, load: Load { in_flight, weight } },
        )
    }

    fn known(latency_us: u32, in_flight: u32, weight: u16) -> Cost {
        Cost { latency_us: Some(latency_us), load: Load { in_flight, weight } }
    }

    fn unknown(in_flight: u32) -> Cost {
        Cost { latency_us: None, load: Load { in_flight, weight: 1 } }
    }
}
