//! Least requests: of all endpoints, the one with the fewest in flight.

use super::Load;
use super::ring::place;

/// The usable slot with the fewest requests in flight by weight. Ties go to the
/// first one from `turn` on, so that equal loads take turns.
pub fn least_request(
    ring: &[u16],
    load: impl Fn(u16) -> Load,
    turn: u64,
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    let (before, from) = ring.split_at_checked(place(ring, turn)?)?;
    let candidates = from.iter().chain(before).copied().filter(|&slot| usable(slot));
    candidates.reduce(|best, slot| if load(slot).is_below(load(best)) { slot } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::ring;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_loads_take_turns() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1)]);
        let load = |_| Load { in_flight: 4, weight: 1 };
        let chosen: Vec<_> =
            (0..3).map(|turn| least_request(&ring, load, turn, |_| true)).collect();
        assert_eq!(chosen, [0, 1, 2].map(Some));
    }

    #[test]
    fn twice_the_weight_carries_twice_the_load() {
        let ring = ring(&[(0, 2), (1, 1)]);
        let load = |slot| {
            [Load { in_flight: 2, weight: 2 }, Load { in_flight: 1, weight: 1 }][usize::from(slot)]
        };
        for turn in 0..3 {
            assert_eq!(least_request(&ring, load, turn, |_| true), Some(0));
        }
    }

    proptest! {
        #[test]
        fn no_usable_endpoint_carries_less_than_the_chosen_one(
            in_flight in proptest::collection::vec(0_u32..100, 1..20), turn: u64,
        ) {
            let members: Vec<_> = (0..).zip(in_flight.iter().map(|_| 1)).collect();
            let load = |slot| Load { in_flight: in_flight[usize::from(slot)], weight: 1 };
            let usable = |slot: u16| slot % 3 != 1;
            let chosen = least_request(&ring(&members), load, turn, usable);
            let fewest = (0..).zip(&in_flight).filter(|&(slot, _)| usable(slot)).map(|(_, n)| *n).min();
            prop_assert_eq!(chosen.map(|slot| in_flight[usize::from(slot)]), fewest);
        }
    }
}
