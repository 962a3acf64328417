//! A bucket for each key, in bounded memory.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::domain::limit::{Bucket, Rate, Ruling};

/// The buckets of one limit: at most [`KEYS_MAX`]. A key has its place in one
/// small set of places, and where that is full it takes the place of the bucket
/// that is fullest, which loses the least. Keys are hashed with a random seed,
/// so that nobody can aim at the place of another.
pub struct Keyed {
    seed: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// Whoever reads the clock first may come here last: its time counts for
    /// nobody once there has been a later one.
    latest: u64,
    sets: Vec<Set>,
}

/// What a limit has on each of a few keys, by their hash.
#[derive(Clone, Copy, Debug, Default)]
struct Set([(u64, Bucket); WAYS]);

/// Made when the first request asks, since few pools have a limit.
#[derive(Debug, Default)]
pub struct Lazy(OnceLock<Box<Keyed>>);

impl Lazy {
    pub fn get(&self) -> &Keyed {
        self.0.get_or_init(Box::default)
    }
}

impl Keyed {
    /// Takes a token from the bucket of `key` at `now`, in nanoseconds of any
    /// clock that all callers share.
    pub fn take(&self, key: impl Hash, rate: Rate, now: u64) -> Ruling {
        let hash = self.seed.hash_one(key);
        let shard = usize::try_from(hash % SHARDS as u64).ok().and_then(|it| self.shards.get(it));
        let index = usize::try_from((hash >> 32) % SETS as u64).unwrap_or_default();
        let Some(shard) = shard else { return Ruling::Pass };
        // Who panicked with it has left it as good as it was.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { latest, sets } = &mut *shard;
        *latest = now.max(*latest);
        if sets.is_empty() {
            sets.resize(SETS, Set::default());
        }
        sets.get_mut(index).map_or(Ruling::Pass, |set| set.take(hash, rate, *latest))
    }
}

impl Set {
    fn take(&mut self, hash: u64, rate: Rate, now: u64) -> Ruling {
        let places = self.0.iter_mut();
        let place = places.min_by_key(|(known, bucket)| (*known != hash, *bucket));
        let Some((known, bucket)) = place else { return Ruling::Pass };
        if *known != hash {
            (*known, *bucket) = (hash, Bucket::default());
        }
        bucket.take(rate, now)
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self {
            seed: RandomState::new(),
            shards: [const { Mutex::new(Shard { latest: 0, sets: Vec::new() }) }; SHARDS],
        }
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

const SHARDS: usize = 64;
const SETS: usize = 128;
const WAYS: usize = 8;

/// Keys that a limit knows at once: 1 MiB of them.
pub const KEYS_MAX: usize = SHARDS * SETS * WAYS;

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const ONE_AN_HOUR: Rate = Rate { pace: 3_600_000_000_000, burst: NonZeroU32::MIN };

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let limit = Keyed::default();
        for key in 0..1000 {
            assert_eq!(limit.take(key, ONE_AN_HOUR, 1), Ruling::Pass, "{key}");
            assert_ne!(limit.take(key, ONE_AN_HOUR, 1), Ruling::Pass, "{key}");
        }
    }

    #[test]
    fn more_keys_than_there_is_room_for_take_no_more_room() {
        let limit = Keyed::default();
        for key in 0..2 * KEYS_MAX {
            limit.take(key, ONE_AN_HOUR, 1);
        }
        let sets = limit.shards.iter().map(|shard| shard.lock().unwrap().sets.len());
        assert_eq!(sets.sum::<usize>() * WAYS, KEYS_MAX);
    }

    #[test]
    fn a_flood_of_new_keys_does_not_free_one_that_is_deep_in_debt() {
        let (limit, rate) =
            (Keyed::default(), Rate { pace: 1000, burst: NonZeroU32::new(9).unwrap() });
        while limit.take("greedy", rate, 1) == Ruling::Pass {}
        for key in 0..KEYS_MAX {
            limit.take(key, rate, 1);
        }
        assert_ne!(limit.take("greedy", rate, 1), Ruling::Pass);
    }

    #[test]
    fn whoever_has_read_the_clock_long_ago_lends_nobody_a_token() {
        let rate = Rate { pace: 1000, burst: NonZeroU32::new(9).unwrap() };
        let limit = Keyed::default();
        let passed = |now| (0..20).filter(|_| limit.take("k", rate, now) == Ruling::Pass).count();
        assert_eq!([passed(1_000_000), passed(0), passed(1_000_000)], [9, 0, 0]);
        assert_eq!(passed(1_001_000), 1);
    }

    #[test]
    fn workers_together_pass_exactly_a_burst() {
        let rate = Rate { pace: ONE_AN_HOUR.pace, burst: NonZeroU32::new(100).unwrap() };
        let limit = Keyed::default();
        let tries = || (0..100).filter(|_| limit.take("k", rate, 1) == Ruling::Pass).count();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(tries)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
