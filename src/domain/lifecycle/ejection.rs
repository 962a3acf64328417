//! Passive health: what requests that fail make of a replica (`max_fails`,
//! `fail_timeout`).
//!
//! Times are in milliseconds from any fixed moment.

use std::collections::VecDeque;
use std::time::Duration;

/// How many failures are put up with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outliers {
    /// Failures within `fail_timeout` that eject; 0: none do. At most 1000.
    pub max_fails: u32,
    /// 100 ms to 1 h.
    pub fail_timeout: Duration,
}

/// How a replica failed a request, as far as that is its fault: what nginx's
/// `proxy_next_upstream` calls `error`, `timeout` and `http_…`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Trouble {
    Connect,
    Timeout,
    Reset,
    Status,
}

/// What is remembered of one endpoint's failures.
#[derive(Debug, Default)]
pub struct Record {
    /// The latest ones while it is in service, at most `max_fails`.
    failures: VecDeque<u64>,
    /// Ejections in a row.
    times: u32,
    /// For how long it was out the last time.
    was_out: u64,
    /// When it came back from that; none while it is out.
    returned_at: Option<u64>,
}

impl Record {
    /// Notes a failure in service. Whether it is one too many.
    pub fn fail(&mut self, now: u64, limits: Outliers) -> bool {
        let most = limits.max_fails as usize;
        if most == 0 {
            return false;
        }
        let since = now.saturating_sub(millis(limits.fail_timeout));
        self.failures.retain(|&at| at >= since);
        self.failures.push_back(now);
        while self.failures.len() > most {
            self.failures.pop_front();
        }
        self.failures.len() == most
    }

    /// Ejects it; until when. Ejections in a row grow longer; the row ends when
    /// it has served for as long as it had been out.
    pub fn eject(&mut self, now: u64, limits: Outliers) -> u64 {
        let quiet = self.returned_at.take().map(|at| now.saturating_sub(at));
        if quiet.is_some_and(|quiet| quiet > self.was_out) {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.was_out = millis(time_out(limits.fail_timeout, self.times));
        self.failures.clear();
        now.saturating_add(self.was_out)
    }

    /// It is in service again, and its failures count from none.
    pub fn readmit(&mut self, now: u64) {
        self.returned_at = Some(now);
        self.failures.clear();
    }

    /// For how long it was, or is, out.
    pub fn was_out(&self) -> Duration {
        Duration::from_millis(self.was_out)
    }
}

/// How long the ejection lasts that is the `times`-th in a row.
fn time_out(fail_timeout: Duration, times: u32) -> Duration {
    let most = fail_timeout.saturating_mul(TIMES_MAX).min(TIME_OUT_MAX).max(fail_timeout);
    fail_timeout.saturating_mul(times.max(1)).min(most)
}

impl Outliers {
    pub const OFF: Self = Self { max_fails: 0, fail_timeout: Duration::from_secs(10) };
}

impl Default for Outliers {
    fn default() -> Self {
        Self { max_fails: 3, fail_timeout: Duration::from_secs(10) }
    }
}

impl Trouble {
    pub const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Reset, Self::Status];

    /// As metrics and the log call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Status => "status",
        }
    }

    /// What it did, to follow "it".
    pub fn what(self) -> &'static str {
        match self {
            Self::Connect => "could not be connected to",
            Self::Timeout => "did not answer in time",
            Self::Reset => "broke off before it answered",
            Self::Status => "answered with a status of `retry.on`",
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An ejection in a row is so many times as long as the first at most.
const TIMES_MAX: u32 = 10;

/// And no longer than this, unless `fail_timeout` is: a replica that recovers
/// should not be waited for by people.
const TIME_OUT_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LIMITS: Outliers = Outliers { max_fails: 3, fail_timeout: Duration::from_secs(10) };

    #[test]
    fn so_many_failures_within_the_window_are_too_many() {
        for (seconds, last_is_too_many) in [
            (&[0, 1, 2][..], true),
            (&[0, 5, 10], true),
            (&[0, 5, 11], false),
            (&[0, 9, 11, 12], true),
            (&[0, 11, 22, 33, 44], false),
            (&[0, 0], false),
        ] {
            let mut record = Record::default();
            let fails: Vec<_> = seconds.iter().map(|at| record.fail(at * 1000, LIMITS)).collect();
            let (last, before) = fails.split_last().unwrap();
            assert_eq!(*last, last_is_too_many, "{seconds:?}");
            assert!(!before.contains(&true), "{seconds:?}");
        }
    }

    #[test]
    fn with_max_fails_0_nothing_is_too_much_and_with_1_anything_is() {
        let mut record = Record::default();
        assert!((0..100).all(|at| !record.fail(at, Outliers::OFF)));
        assert!(record.fail(100, Outliers { max_fails: 1, ..LIMITS }));
    }

    #[test]
    fn ejections_in_a_row_grow_up_to_a_bound() {
        for (fail_timeout, expected) in [
            (1, [1, 2, 3, 10, 10]),
            (10, [10, 20, 30, 100, 100]),
            (60, [60, 120, 180, 300, 300]),
            (3600, [3600; 5]),
        ] {
            let outs = [1, 2, 3, 10, 1000]
                .map(|times| time_out(Duration::from_secs(fail_timeout), times).as_secs());
            assert_eq!(outs, expected);
        }
    }

    #[test]
    fn a_row_of_ejections_ends_after_as_long_in_service_as_out_of_it() {
        let mut record = Record::default();
        assert_eq!(record.eject(0, LIMITS), 10_000);
        assert_eq!(record.eject(10_000, LIMITS), 30_000, "its trial failed");
        record.readmit(30_000);
        assert_eq!(record.eject(50_000, LIMITS), 80_000, "it served for no longer");
        record.readmit(80_000);
        assert_eq!(record.eject(110_001, LIMITS), 120_001, "it served for longer");
    }

    #[test]
    fn who_comes_back_begins_with_no_failures() {
        let mut record = Record::default();
        assert!([0, 1, 2].map(|at| record.fail(at, LIMITS))[2]);
        record.eject(2, LIMITS);
        record.readmit(3);
        assert_eq!([4, 5, 6].map(|at| record.fail(at, LIMITS)), [false, false, true]);
    }

    proptest! {
        #[test]
        fn a_failure_is_too_many_exactly_if_the_window_holds_as_many(
            gaps in vec(0_u64..8_000, 1..60), max_fails in 1_u32..6,
        ) {
            let limits = Outliers { max_fails, ..LIMITS };
            let (mut record, mut now, mut all) = (Record::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                all.push(now);
                let recent = all.iter().filter(|&&at| now - at <= 10_000).count();
                prop_assert_eq!(record.fail(now, limits), recent >= max_fails as usize);
                prop_assert!(record.failures.len() <= max_fails as usize);
            }
        }

        #[test]
        fn no_ejection_is_shorter_than_fail_timeout_or_longer_than_its_bound(
            ms in 100_u64..3_600_000, times: u32,
        ) {
            let fail_timeout = Duration::from_millis(ms);
            let out = time_out(fail_timeout, times);
            prop_assert!(out >= fail_timeout);
            prop_assert!(out <= fail_timeout.max(TIME_OUT_MAX) && out <= fail_timeout * TIMES_MAX);
        }
    }
}
