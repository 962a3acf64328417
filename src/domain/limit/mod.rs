//! How many requests may pass in a while.

mod keyed;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

pub use keyed::{KEYS_MAX, Keyed, Lazy};

/// A limit of requests, as a bucket of `burst` tokens that is filled at an even
/// pace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// For one more request, in nanoseconds: at least 1.
    pub pace: u64,
    /// How many may come at once.
    pub burst: NonZeroU32,
}

/// What a limit says of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ruling {
    Pass,
    /// One may pass in so long, and a whole burst in so long.
    Wait {
        next: Duration,
        whole: Duration,
    },
}

/// What is left of a bucket, as the generic cell rate algorithm keeps it: the
/// moment at which it will be full again, in nanoseconds of the caller's clock.
/// A bucket that nobody knows is full.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bucket(u64);

impl Bucket {
    /// Takes a token, if there is one. If the limit has become smaller since,
    /// a bucket is never emptier than one of the new limit can be. `now` must not
    /// go back.
    pub fn take(&mut self, rate: Rate, now: u64) -> Ruling {
        let most = rate.pace.saturating_mul(u64::from(rate.burst.get()));
        let debt = self.0.saturating_sub(now).min(most);
        let after = debt.saturating_add(rate.pace);
        if after > most {
            self.0 = now.saturating_add(debt);
            let next = Duration::from_nanos(after - most);
            return Ruling::Wait { next, whole: Duration::from_nanos(debt) };
        }
        self.0 = now.saturating_add(after);
        Ruling::Pass
    }
}

/// Whom limits take for one client: who has one IPv6 address usually has all of
/// its /64.
pub fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(per_second: u64, burst: u32) -> Rate {
        Rate { pace: SECOND / per_second, burst: NonZeroU32::new(burst).unwrap() }
    }

    fn passed(bucket: &mut Bucket, rate: Rate, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(rate, now) == Ruling::Pass).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_pace_holds() {
        let (rate, mut bucket) = (rate(10, 5), Bucket::default());
        assert_eq!(passed(&mut bucket, rate, SECOND, 9), 5);
        let next = Duration::from_millis(100);
        let whole = Duration::from_millis(500);
        assert_eq!(bucket.take(rate, SECOND), Ruling::Wait { next, whole });
        assert_eq!(passed(&mut bucket, rate, SECOND + SECOND / 10, 9), 1);
        assert_eq!(passed(&mut bucket, rate, SECOND + SECOND / 2, 9), 4);
        assert_eq!(passed(&mut bucket, rate, 9 * SECOND, 9), 5);
    }

    #[test]
    fn a_smaller_limit_holds_at_once_and_forgives_what_it_could_not_have_lent() {
        let mut bucket = Bucket::default();
        assert_eq!(passed(&mut bucket, rate(1, 1000), 0, 1000), 1000);
        let small = rate(1, 2);
        assert_eq!(passed(&mut bucket, small, 0, 9), 0);
        assert_eq!(passed(&mut bucket, small, 2 * SECOND, 9), 2);
    }

    proptest! {
        #[test]
        fn never_more_than_a_burst_and_the_pace_pass(
            gaps in prop::collection::vec(0_u64..SECOND, 1..200),
            burst in 1_u32..20,
            per_second in 1_u64..50,
        ) {
            let (rate, mut bucket, mut now) = (rate(per_second, burst), Bucket::default(), 0);
            let mut through = 0;
            for gap in gaps {
                now += gap;
                through += u64::from(bucket.take(rate, now) == Ruling::Pass);
                prop_assert!(through <= u64::from(burst) + now / rate.pace + 1);
            }
        }
    }
}
