//! Consistent choice by a key: weighted rendezvous hashing.
//!
//! Each endpoint draws a score from the key and its own seed, and the highest
//! wins. When one of n leaves, only its own keys move, about 1/n of all.

use std::cmp::Ordering;
use std::net::IpAddr;

/// The usable slot with the highest score for `key`. `member` gives a slot's
/// seed and weight.
pub fn hash(
    members: &[u16],
    key: u64,
    member: impl Fn(u16) -> (u64, u16),
    usable: impl Fn(u16) -> bool,
) -> Option<u16> {
    let mut best: Option<(Score, u16)> = None;
    for &slot in members {
        let (seed, weight) = member(slot);
        let score = Score { drawn: mix(key ^ seed) >> 11, weight };
        // Asked only of the few that get ahead: it costs more than a score.
        if best.is_none_or(|(best, _)| score.beats(best)) && usable(slot) {
            best = Some((score, slot));
        }
    }
    best.map(|(_, slot)| slot)
}

/// The key of what a request says (FNV-1a).
pub fn key(said: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(said.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The key of a client: its whole IPv4 address, or the /64 of its IPv6 address,
/// within which one subscriber's devices change at will.
pub fn client_key(client: IpAddr) -> u64 {
    let bits = match client.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    };
    mix(bits)
}

/// The seed of an endpoint, from a name that outlives its restarts.
pub fn seed(name: &str) -> u64 {
    key(name.as_bytes())
}

/// With u uniform in (0, 1), the highest `-weight / ln u` falls to each member
/// as often as its weight says (Efraimidis and Spirakis).
#[derive(Clone, Copy)]
struct Score {
    /// 53 bits, which are what a double holds exactly.
    drawn: u64,
    weight: u16,
}

impl Score {
    fn beats(self, other: Self) -> bool {
        // The logarithm is what costs, and grows with what was drawn: where
        // weight and draw agree on the order it changes nothing.
        match (self.drawn.cmp(&other.drawn), self.weight.cmp(&other.weight)) {
            (Ordering::Less | Ordering::Equal, Ordering::Less | Ordering::Equal) => false,
            (Ordering::Greater | Ordering::Equal, Ordering::Greater | Ordering::Equal) => true,
            (Ordering::Less, Ordering::Greater) | (Ordering::Greater, Ordering::Less) => {
                self.value() > other.value()
            }
        }
    }

    fn value(self) -> f64 {
        // Half a step keeps u from 0.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let uniform = (self.drawn as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(self.weight) / uniform.ln()
    }
}

/// The finaliser of splitmix64: every bit of the input moves half of the output.
pub fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    #[test]
    fn weights_share_the_keys() {
        let weights = [1, 2, 5];
        let mut hits = [0_u32; 3];
        for key in keys(16_000) {
            hits[usize::from(choose(&[0, 1, 2], key, &weights))] += 1;
        }
        for (hits, share) in hits.into_iter().zip([2_000.0, 4_000.0, 10_000.0]) {
            assert!((f64::from(hits) - share).abs() < share * 0.1, "{hits} of {share}");
        }
    }

    #[test]
    fn a_client_is_its_ipv4_address_or_its_ipv6_network() {
        let key = |address: &str| client_key(address.parse().unwrap());
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    }

    proptest! {
        #[test]
        fn the_highest_score_wins_and_unusable_slots_draw_none(
            weights in proptest::collection::vec(1_u16..=256, 1..40), key: u64,
        ) {
            let members: Vec<u16> = (0..).zip(&weights).map(|(slot, _)| slot).collect();
            let member = |slot: u16| (seed(&format!("shop-{slot}")), weights[usize::from(slot)]);
            let usable = |slot: u16| slot % 3 != 1;
            let value = |slot: &u16| {
                let (seed, weight) = member(*slot);
                Score { drawn: mix(key ^ seed) >> 11, weight }.value()
            };
            let expected = members.iter().copied().filter(|slot| usable(*slot))
                .max_by(|a, b| value(a).total_cmp(&value(b)));
            prop_assert_eq!(hash(&members, key, member, usable), expected);
        }

        #[test]
        fn when_one_leaves_only_its_own_keys_move(count in 2_u16..12, leaver in 0_u16..12) {
            let leaver = leaver % count;
            let weights = vec![1; usize::from(count)];
            let all: Vec<_> = (0..count).collect();
            let rest: Vec<_> = all.iter().copied().filter(|&slot| slot != leaver).collect();
            let mut moved = 0_u32;
            for key in keys(2_000) {
                let (before, after) = (choose(&all, key, &weights), choose(&rest, key, &weights));
                if before == leaver { moved += 1 } else { prop_assert_eq!(before, after) }
            }
            let share = 2_000.0 / f64::from(count);
            prop_assert!((f64::from(moved) - share).abs() < share * 0.35 + 10.0, "{}", moved);
        }
    }

    fn choose(members: &[u16], key: u64, weights: &[u16]) -> u16 {
        let member = |slot: u16| (seed(&format!("shop-{slot}")), weights[usize::from(slot)]);
        hash(members, key, member, |_| true).unwrap()
    }

    fn keys(count: u32) -> impl Iterator<Item = u64> {
        (0..count).map(|n| client_key(Ipv4Addr::from_bits(0x0a00_0000 + n).into()))
    }
}
