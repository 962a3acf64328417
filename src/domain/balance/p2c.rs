//! Power of two choices: of two endpoints drawn at random, the less loaded wins.

use super::Load;

/// Draws two different usable slots by weight; ties go to the first draw.
pub fn p2c(
    ring: &[u16],
    load: impl Fn(u16) -> Load,
    random: u64,
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    better_of_two(ring, |one, other| load(one).is_below(load(other)), random, usable)
}

/// Draws two different usable slots by the halves of `random`, by weight: the
/// second one if it `is_below` the first.
pub(super) fn better_of_two(
    ring: &[u16],
    is_below: impl Fn(u16, u16) -> bool,
    random: u64,
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    let first = super::random(ring, random, &usable)?;
    let second = super::random(ring, random.rotate_left(32), |slot| slot != first && usable(slot));
    Some(match second {
        Some(second) if is_below(second, first) => second,
        Some(_) | None => first,
    })
}

#[cfg(test)]
mod tests {
    use super::super::ring;
    use super::*;

    #[test]
    fn the_busiest_endpoint_is_never_chosen() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
        let in_flight = [3, 9, 1, 4];
        let load = |slot: u16| Load { in_flight: in_flight[usize::from(slot)], weight: 1 };
        for random in pairs() {
            assert_ne!(p2c(&ring, load, random, |_| true), Some(1), "{random:#x}");
        }
    }

    #[test]
    fn equal_loads_are_shared_evenly() {
        let ring = ring(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
        let mut hits = [0_u32; 4];
        for random in pairs() {
            let load = |_| Load { in_flight: 0, weight: 1 };
            hits[usize::from(p2c(&ring, load, random, |_| true).unwrap())] += 1;
        }
        assert_eq!(hits, [4, 4, 4, 4]);
    }

    #[test]
    fn the_only_usable_endpoint_is_chosen_and_none_if_there_is_none() {
        let ring = ring(&[(0, 1), (1, 1)]);
        for random in pairs() {
            assert_eq!(p2c(&ring, |_| Load::MAX, random, |slot| slot == 1), Some(1));
            assert_eq!(p2c(&ring, |_| Load::MAX, random, |_| false), None);
        }
    }

    /// Every pair of draws from four places, once.
    fn pairs() -> impl Iterator<Item = u64> {
        (0..4).flat_map(|low| (0..4).map(move |high| high << 32 | low))
    }
}
