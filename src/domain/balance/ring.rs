//! Round robin and random choice, both along a ring in which each slot stands
//! as often as its weight says.

/// Lays out the ring of `(slot, weight)`, each slot's places spread evenly: in
/// every stretch of it a slot is met as often as its share says, within one.
/// Weights are first divided by their greatest common divisor.
pub fn ring(members: &[(u16, u16)]) -> Vec<u16> {
    let divisor = members.iter().fold(0, |divisor, &(_, weight)| gcd(divisor, weight)).max(1);
    let mut places = Vec::new();
    for &(slot, weight) in members {
        let count = u64::from(weight / divisor);
        // Place k of n stands at (2k + 1) / 2n of the way round.
        places.extend((0..count).map(|k| (((2 * k + 1) << 32) / (2 * count), slot)));
    }
    places.sort_by_key(|&(way, _)| way);
    places.into_iter().map(|(_, slot)| slot).collect()
}

/// The slot whose turn it is; if it is not usable, the next one that is.
pub fn round_robin(ring: &[u16], turn: u64, usable: impl Fn(u16) -> bool) -> Option<u16> {
    let start = place(ring, turn)?;
    let (before, from) = ring.split_at_checked(start)?;
    from.iter().chain(before).copied().find(|&slot| usable(slot))
}

/// A slot at random by weight, of the usable ones.
pub fn random(ring: &[u16], random: u64, usable: impl Fn(u16) -> bool) -> Option<u16> {
    let drawn = place(ring, random).and_then(|place| ring.get(place)).copied()?;
    if usable(drawn) {
        return Some(drawn);
    }
    // Drawing again among the usable keeps their shares; walking on would give
    // all of the lost share to one neighbour.
    let count = ring.iter().filter(|&&slot| usable(slot)).count();
    let nth = usize::try_from((random >> 32).checked_rem(u64::try_from(count).ok()?)?).ok()?;
    ring.iter().copied().filter(|&slot| usable(slot)).nth(nth)
}

/// Where `number` falls on the ring; nowhere on an empty one.
pub(super) fn place(ring: &[u16], number: u64) -> Option<usize> {
    let count = u64::try_from(ring.len()).ok()?;
    usize::try_from(number.checked_rem(count)?).ok()
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_weights_take_turns_in_order() {
        let ring = ring(&[(0, 5), (1, 5), (2, 5)]);
        let chosen: Vec<_> = (0..6).map(|turn| round_robin(&ring, turn, |_| true)).collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2].map(Some));
    }

    #[test]
    fn a_slot_that_is_not_usable_is_passed_over() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!(round_robin(&ring, 1, |slot| slot != 1), Some(2));
        assert_eq!(round_robin(&ring, 1, |_| false), None);
        assert_eq!(round_robin(&[], 1, |_| true), None);
    }

    #[test]
    fn random_choice_shares_what_an_unusable_slot_leaves() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1)]);
        let mut hits = [0_u32; 3];
        for high in 0..6_u64 {
            for low in 0..3_u64 {
                let number = (high << 32) + (low + 3 - (high << 32) % 3) % 3;
                hits[usize::from(random(&ring, number, |slot| slot != 1).unwrap())] += 1;
            }
        }
        assert_eq!(hits, [9, 0, 9]);
    }

    proptest! {
        #[test]
        fn one_way_round_gives_each_slot_its_weight(
            weights in proptest::collection::vec(1_u16..=256, 1..12),
        ) {
            let members: Vec<_> = (0..).zip(weights.iter().copied()).collect();
            let ring = ring(&members);
            let divisor = weights.iter().copied().fold(0, gcd);
            for (slot, weight) in members {
                let met = ring.iter().filter(|&&it| it == slot).count();
                prop_assert_eq!(met, usize::from(weight / divisor));
            }
        }

        #[test]
        fn no_stretch_of_the_ring_favours_a_slot(
            weights in proptest::collection::vec(1_u16..=16, 1..8),
        ) {
            let members: Vec<_> = (0..).zip(weights.iter().copied()).collect();
            let ring = ring(&members);
            let total = f64::from(weights.iter().copied().map(u32::from).sum::<u32>());
            for (slot, weight) in members {
                let share = f64::from(weight) / total;
                let mut met = 0.0;
                for (length, &it) in (1_u32..).zip(&ring) {
                    met += f64::from(u8::from(it == slot));
                    // Half a place for its own rounding, and what ties shift.
                    let bound = 1.0 + weights.len() as f64 / 2.0;
                    prop_assert!((met - f64::from(length) * share).abs() <= bound);
                }
            }
        }
    }
}
