//! Consistent choice with bounded load: a key stays with its endpoint as long
//! as that has not much more to do than the others.

use super::{Load, hash};

/// As [`hash`], but a slot that one more request would take beyond its bound is
/// passed over for the one with the next highest score (Mirrokni, Thorup and
/// Zadimoghaddam, with 1 + ε = 1.25).
///
/// The bound of a slot is 1.25 times its share of all that is in flight by
/// weight. It applies from 8 requests in flight an endpoint on average, since
/// with few of them a bound would move keys by mere chance. `weight` is that of
/// all `members` together.
pub fn bounded_hash(
    members: &[u16],
    weight: u32,
    key: u64,
    member: impl Fn(u16) -> (u64, Load),
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    let scored = |slot: u16| {
        let (seed, load) = member(slot);
        (seed, load.weight)
    };
    let first = hash(members, key, scored, &usable)?;
    let count = u64::try_from(members.len()).unwrap_or(u64::MAX);
    let least = Bound { in_flight: count * IN_FLIGHT_MIN + 1, weight: weight.into() };
    if least.takes(member(first).1) {
        // No bound that applies is lower; where weights differ and some are
        // away, hardly any.
        return Some(first);
    }
    let mut all = Bound { in_flight: 1, weight: 0 };
    let mut count = 0;
    for load in members.iter().filter(|&&slot| usable(slot)).map(|&slot| member(slot).1) {
        all.in_flight += u64::from(load.in_flight);
        all.weight += u64::from(load.weight);
        count += 1;
    }
    if all.in_flight <= count * IN_FLIGHT_MIN {
        return Some(first);
    }
    hash(members, key, scored, |slot| usable(slot) && all.takes(member(slot).1)).or(Some(first))
}

/// All that is in flight, with one request more, and the weight that shares it.
struct Bound {
    in_flight: u64,
    weight: u64,
}

impl Bound {
    /// Whether so loaded a slot stays within its bound with one request more.
    fn takes(&self, load: Load) -> bool {
        // Rounded down the bounds together still hold everything: with so many
        // in flight, a quarter more is more than one for each slot.
        let share = self.in_flight * u64::from(load.weight) * 5;
        load.with_one_more() <= (share / (self.weight * 4).max(1)).max(1)
    }
}

/// On average an endpoint, before any bound applies.
const IN_FLIGHT_MIN: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::balance::seed;
    use proptest::prelude::*;

    #[test]
    fn with_few_requests_in_flight_a_key_stays_where_it_is() {
        let alone = choose(7, &[0, 0, 0, 0], &[1; 4], |_| true).unwrap();
        let mut in_flight = [0; 4];
        in_flight[usize::from(alone)] = 31;
        assert_eq!(choose(7, &in_flight, &[1; 4], |_| true), Some(alone));
        in_flight[usize::from((alone + 1) % 4)] = 1;
        let moved = choose(7, &in_flight, &[1; 4], |_| true).unwrap();
        assert_ne!(moved, alone, "8 on average, and it has nearly all");
        // All that overflow from one endpoint go to the next by score.
        let next = choose(7, &[0; 4], &[1; 4], |slot| slot != alone).unwrap();
        assert_eq!(moved, next);
    }

    #[test]
    fn an_endpoint_on_its_own_is_bound_by_nothing() {
        assert_eq!(choose(7, &[1_000], &[1], |_| true), Some(0));
        assert_eq!(choose(7, &[5, 1_000], &[1; 2], |slot| slot == 1), Some(1));
        assert_eq!(choose(7, &[5, 1_000], &[1; 2], |_| false), None);
    }

    proptest! {
        #[test]
        fn nobody_gets_beyond_a_bound_that_applies(
            slots in proptest::collection::vec((0_u32..60, 1_u16..=256), 1..20), key: u64,
        ) {
            let (in_flight, weights): (Vec<_>, Vec<_>) = slots.iter().copied().unzip();
            let usable = |slot: u16| slot % 5 != 3;
            let chosen = choose(key, &in_flight, &weights, usable).unwrap();
            prop_assert!(usable(chosen));
            let of_usable = |values: &mut dyn Iterator<Item = f64>| -> f64 {
                (0..).zip(values).filter(|(slot, _)| usable(*slot)).map(|(_, it)| it).sum()
            };
            let total = of_usable(&mut in_flight.iter().map(|it| f64::from(*it)));
            let weight = of_usable(&mut weights.iter().map(|it| f64::from(*it)));
            let count = of_usable(&mut weights.iter().map(|_| 1.0));
            let at = usize::from(chosen);
            let bound = (1.25 * (total + 1.0) * f64::from(weights[at]) / weight).floor().max(1.0);
            let unbound = choose(key, &vec![0; slots.len()], &weights, usable).unwrap();
            if total >= 8.0 * count {
                prop_assert!(f64::from(in_flight[at]) < bound + 1e-6 || chosen == unbound
                    && f64::from(in_flight[at]) + 1.0
                        <= (1.25 * (8.0 * slots.len() as f64 + 1.0) * f64::from(weights[at])
                            / weights.iter().map(|it| f64::from(*it)).sum::<f64>()).floor().max(1.0));
            } else {
                prop_assert_eq!(chosen, unbound);
            }
        }
    }

    fn choose(
        key: u64,
        in_flight: &[u32],
        weights: &[u16],
        usable: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let members: Vec<u16> = (0..).zip(weights).map(|(slot, _)| slot).collect();
        let member = |slot: u16| {
            let at = usize::from(slot);
            let load = Load { in_flight: in_flight[at], weight: weights[at] };
            (seed(&format!("shop-{slot}")), load)
        };
        let weight = weights.iter().map(|it| u32::from(*it)).sum();
        bounded_hash(&members, weight, key, member, usable)
    }
}
