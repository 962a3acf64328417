//! Which requests are logged.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::StatusCode;

use crate::config::AccessLogSettings;

/// What is asked of each request before its line is written.
#[derive(Debug)]
pub(super) struct Choice {
    /// All of these are.
    statuses: Vec<RangeInclusive<u16>>,
    /// So are all that take so long.
    slow: Option<Duration>,
    /// Of all others so many in 2³² are.
    share: u64,
}

impl Choice {
    pub(super) fn new(settings: &AccessLogSettings) -> Self {
        let AccessLogSettings { statuses, slow, sample, .. } = settings;
        let mut statuses = statuses.clone();
        if sample.is_some() {
            statuses.push(ERRORS);
        }
        let chooses = !statuses.is_empty() || slow.is_some();
        let sample = sample.unwrap_or(if chooses { 0.0 } else { 1.0 });
        Self { statuses, slow: *slow, share: (sample * ALL as f64) as u64 }
    }

    /// Whether a request is logged that ended with this status after this time.
    /// `draw` is asked only where chance decides.
    pub(super) fn takes(&self, status: u16, took: Duration, draw: impl FnOnce() -> u32) -> bool {
        self.share >= ALL
            || self.statuses.iter().any(|range| range.contains(&status))
            || (self.slow.is_some_and(|slow| took >= slow) && status != TUNNEL)
            || (self.share > 0 && u64::from(draw()) < self.share)
    }
}

const ALL: u64 = 1 << 32;

/// What nobody wants to miss.
const ERRORS: RangeInclusive<u16> = 500..=u16::MAX;

/// It lasts for as long as both ends want it.
const TUNNEL: u16 = StatusCode::SWITCHING_PROTOCOLS.as_u16();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_logged_unless_something_chooses() {
        let choice = Choice::new(&AccessLogSettings::default());
        for status in [200, 404, 500, 101] {
            assert!(choice.takes(status, Duration::ZERO, || panic!("nothing to draw for")));
        }
    }

    #[test]
    fn statuses_and_slowness_choose_and_either_will_do() {
        let (statuses, slow) = (vec![400..=499, 503..=503], Some(Duration::from_millis(500)));
        let both = AccessLogSettings { statuses, slow, ..AccessLogSettings::default() };
        let by_status = AccessLogSettings { slow: None, ..both.clone() };
        let by_time = AccessLogSettings { statuses: Vec::new(), ..both.clone() };
        for (status, ms, [of_both, of_status, of_time]) in [
            (200, 499, [false, false, false]),
            (200, 500, [true, false, true]),
            (404, 0, [true, true, false]),
            (404, 500, [true, true, true]),
            (500, 0, [false, false, false]),
            (503, 0, [true, true, false]),
            (101, 500_000, [false, false, false]),
        ] {
            for (settings, expected) in
                [(&both, of_both), (&by_status, of_status), (&by_time, of_time)]
            {
                let took = Duration::from_millis(ms);
                let takes = Choice::new(settings).takes(status, took, || panic!("nothing to draw"));
                assert_eq!(takes, expected, "{status} after {ms} ms by {settings:?}");
            }
        }
    }

    #[test]
    fn a_sample_takes_its_share_and_all_errors_and_slow_ones() {
        let sampled = |sample| {
            let slow = Some(Duration::from_secs(1));
            let statuses = vec![404..=404];
            let sample = Some(sample);
            Choice::new(&AccessLogSettings {
                sample,
                slow,
                statuses,
                ..AccessLogSettings::default()
            })
        };
        for (sample, drawn, expected) in [
            (0.0, 0, false),
            (0.25, 0, true),
            (0.25, (1 << 30) - 1, true),
            (0.25, 1 << 30, false),
            (1.0, u32::MAX, true),
        ] {
            let choice = sampled(sample);
            assert_eq!(choice.takes(200, Duration::ZERO, || drawn), expected, "{sample} {drawn}");
            for (status, seconds) in [(500, 0), (599, 0), (200, 1), (404, 0)] {
                assert!(choice.takes(status, Duration::from_secs(seconds), || u32::MAX));
            }
        }
    }
}
