//! How long an endpoint takes to answer: a moving average that believes bad
//! news at once and good news by and by.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time to the first byte of an answer, as Finagle and Linkerd estimate it
/// ("peak EWMA"): a longer one than expected is believed at once, a shorter one
/// by the time that has passed since the last, with a decay of 10 s. What is
/// idle is expected to be faster and faster, so that it is tried again. Unlike
/// theirs, an expectation does not decay while an answer is due: a replica that
/// hangs would otherwise look better for it.
#[derive(Debug, Default)]
pub struct Latency {
    epoch: OnceLock<Instant>,
    /// Microseconds, below them when that was known: milliseconds from `epoch`.
    /// 0 until an answer has come.
    packed: AtomicU64,
    /// Requests that the endpoint has whole and has not begun to answer.
    due: AtomicU32,
}

impl Latency {
    /// What is to be expected; none until an answer has come.
    pub fn expected_us(&self, now: Instant) -> Option<u32> {
        let (latency_us, at) = unpack(self.packed.load(Ordering::Relaxed))?;
        let idle = self.since_epoch(now).saturating_sub(at);
        let stands = idle <= FRESH_MS || self.due.load(Ordering::Relaxed) > 0;
        Some(if stands { latency_us } else { decayed(latency_us, idle) })
    }

    /// It has a whole request, and until [`Self::told`] it is its turn.
    pub fn asked(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer has begun, failed, or is wanted no more.
    pub fn told(&self) {
        self.due.fetch_sub(1, Ordering::Relaxed);
    }

    /// An answer has begun, or failed, after so long.
    pub fn record(&self, took: Duration, now: Instant) {
        let (took, at) = (micros(took), self.since_epoch(now));
        self.update(|known| {
            let (latency_us, since) = match known {
                Some((latency_us, since)) if latency_us > took => (latency_us, since),
                Some(_) | None => return Some((took, at)),
            };
            Some(mix(latency_us, took, since, at))
        });
    }

    /// A request was given up after so long: an answer takes no less. It is no
    /// answer, so where none has come yet nothing is known still.
    pub fn record_at_least(&self, took: Duration, now: Instant) {
        let (took, at) = (micros(took), self.since_epoch(now));
        self.update(|known| {
            let (latency_us, since) = known?;
            let expected = decayed(latency_us, at.saturating_sub(since));
            (expected < took).then_some((took, at.max(since)))
        });
    }

    fn update(&self, next: impl Fn(Option<(u32, u64)>) -> Option<(u32, u64)>) {
        let packed = |known| next(unpack(known)).map(|(latency_us, at)| pack(latency_us, at));
        // It refuses where nothing changes.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, packed);
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.epoch.get_or_init(|| now));
        whole_ms(since)
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn pack(latency_us: u32, at: u64) -> u64 {
    u64::from(latency_us) << AT_BITS | at.min((1 << AT_BITS) - 1)
}

fn unpack(packed: u64) -> Option<(u32, u64)> {
    let latency_us = u32::try_from(packed >> AT_BITS).ok().filter(|&latency_us| latency_us > 0)?;
    Some((latency_us, packed & ((1 << AT_BITS) - 1)))
}

/// The estimate after an answer that took less, and since when it stands. Only
/// the time that whole microseconds took counts as over: were the rest rounded
/// away, answers in quick succession would not add up to anything.
fn mix(latency_us: u32, took: u32, since: u64, at: u64) -> (u32, u64) {
    let idle = at.saturating_sub(since);
    let (known, took) = (f64::from(latency_us), f64::from(took));
    let mixed = (took + (known - took) * kept(idle)).ceil();
    if mixed >= known && idle > FRESH_MS {
        return (round(known - 1.0), at);
    }
    let spent = -((mixed - took) / (known - took)).ln() * DECAY.as_secs_f64();
    let spent =
        Duration::try_from_secs_f64(spent).map_or(idle, |it| whole_ms(it + HALF_MS).min(idle));
    (round(mixed), (since + spent).max(at.saturating_sub(FRESH_MS)))
}

/// What is left of an estimate that nothing confirms.
fn decayed(latency_us: u32, idle_ms: u64) -> u32 {
    round(f64::from(latency_us) * kept(idle_ms))
}

/// The part that an estimate keeps after so many milliseconds.
fn kept(idle_ms: u64) -> f64 {
    (-Duration::from_millis(idle_ms).as_secs_f64() / DECAY.as_secs_f64()).exp()
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX).clamp(1, LATENCY_MAX_US)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
fn round(latency_us: f64) -> u32 {
    (latency_us.round() as u32).clamp(1, LATENCY_MAX_US)
}

/// What a failure counts as, at least, so that nobody is preferred for failing
/// fast (Linkerd's figure).
pub const PENALTY: Duration = Duration::from_secs(5);

/// Time in which an estimate that nothing confirms falls to 1/e.
const DECAY: Duration = Duration::from_secs(10);

/// For so long an estimate stands as it is: a hundredth of its decay, in which
/// what samples take off it may add up.
const FRESH_MS: u64 = 100;

/// What is added where milliseconds are rounded.
const HALF_MS: Duration = Duration::from_micros(500);

/// 35 years of milliseconds.
const AT_BITS: u32 = 40;

/// Longer ones, beyond 16 s, count as this.
const LATENCY_MAX_US: u32 = (1 << (u64::BITS - AT_BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_longer_answer_is_believed_at_once_and_a_shorter_one_by_and_by() {
        let (latency, start) = (Latency::default(), start());
        assert_eq!(latency.expected_us(start), None);
        latency.record(ms(10), start);
        assert_eq!(latency.expected_us(start), Some(10_000));
        latency.record(ms(200), start);
        assert_eq!(latency.expected_us(start), Some(200_000));
        latency.record(ms(10), start);
        assert_eq!(latency.expected_us(start), Some(200_000), "no time has passed");
        let later = start + Duration::from_secs(10);
        latency.record(ms(10), later);
        // 200 / e + 10 (1 - 1 / e)
        assert_eq!(latency.expected_us(later), Some(79_898));
    }

    #[test]
    fn what_is_idle_is_tried_again_some_day() {
        let (latency, start) = (Latency::default(), start());
        latency.record(PENALTY, start);
        let expected = |seconds| latency.expected_us(start + Duration::from_secs(seconds)).unwrap();
        assert_eq!(expected(10), 1_839_397);
        assert!(expected(70) < 5_000, "{}", expected(70));
        assert_eq!(expected(10_000_000), 1, "it never counts as unknown again");
    }

    #[test]
    fn a_request_that_was_given_up_says_only_that_it_takes_no_less() {
        let (latency, start) = (Latency::default(), start());
        latency.record(ms(100), start);
        latency.record_at_least(ms(50), start);
        assert_eq!(latency.expected_us(start), Some(100_000));
        latency.record_at_least(ms(300), start);
        assert_eq!(latency.expected_us(start), Some(300_000));
    }

    #[test]
    fn a_request_that_was_given_up_is_no_first_answer() {
        let (latency, start) = (Latency::default(), start());
        latency.record_at_least(ms(1), start);
        assert_eq!(latency.expected_us(start), None);
        latency.record(ms(20), start);
        assert_eq!(latency.expected_us(start), Some(20_000));
    }

    #[test]
    fn answers_in_quick_succession_are_believed_as_others_are() {
        let (latency, start) = (Latency::default(), start());
        latency.record(Duration::from_micros(5_000), start);
        let after = |answers: std::ops::RangeInclusive<u64>| {
            let last = start + ms(*answers.end());
            for number in answers {
                latency.record(Duration::from_micros(300), start + ms(number));
            }
            latency.expected_us(last).unwrap()
        };
        // 300 + 4700 / e
        let expected = after(1..=10_000);
        assert!((1_900..2_150).contains(&expected), "{expected}");
        assert_eq!(after(10_001..=90_000), 300);
    }

    #[test]
    fn who_owes_an_answer_looks_no_better_with_time() {
        let (latency, start) = (Latency::default(), start());
        latency.record(ms(10), start);
        latency.asked();
        let later = start + Duration::from_secs(60);
        assert_eq!(latency.expected_us(later), Some(10_000));
        latency.told();
        assert!(latency.expected_us(later).unwrap() < 50);
    }

    #[test]
    fn times_beyond_all_bounds_do_no_harm() {
        let (latency, start) = (Latency::default(), start());
        latency.record(Duration::MAX, start);
        assert_eq!(latency.expected_us(start), Some(LATENCY_MAX_US));
        latency.record(Duration::ZERO, start + Duration::from_secs(40 * 365 * 86_400));
        assert_eq!(latency.expected_us(start), Some(1), "one that was asked before counts as now");
    }

    proptest! {
        #[test]
        fn an_estimate_stays_between_what_was_seen(
            samples in proptest::collection::vec((1_u32..10_000_000, 0_u64..30_000), 1..50),
        ) {
            let latency = Latency::default();
            let mut now = start();
            for (took_us, pause_ms) in &samples {
                now += ms(*pause_ms);
                latency.record(Duration::from_micros((*took_us).into()), now);
            }
            let least = samples.iter().map(|(took, _)| *took).min().unwrap();
            let most = samples.iter().map(|(took, _)| *took).max().unwrap();
            let expected = latency.expected_us(now).unwrap();
            prop_assert!((least - 1..=most).contains(&expected), "{}", expected);
            prop_assert!(expected >= samples.last().unwrap().0 - 1, "{}", expected);
            prop_assert!(latency.expected_us(now + ms(1)).unwrap() <= expected);
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }
}
