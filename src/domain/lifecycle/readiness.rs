//! How often an endpoint that is not ready is asked again.

use std::time::Duration;

/// The pause before the next probe of an endpoint that has been asked for
/// `asked` without success. The first probe is immediate.
pub fn probe_pause(asked: Duration) -> Duration {
    if asked < Duration::from_secs(2) {
        Duration::from_millis(10)
    } else if asked < Duration::from_secs(60) {
        Duration::from_millis(40)
    } else {
        Duration::from_secs(1)
    }
}

/// `interval` give or take a tenth, by random bits, so that the checks of many
/// replicas spread out.
pub fn jittered(interval: Duration, random: u32) -> Duration {
    let tenth = interval / 10;
    interval - tenth + (tenth * 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_asked_often_at_first_and_seldom_once_it_seems_stuck() {
        for (asked_ms, pause_ms) in
            [(0, 10), (1_999, 10), (2_000, 40), (59_999, 40), (60_000, 1_000), (9_999_999, 1_000)]
        {
            let pause = probe_pause(Duration::from_millis(asked_ms));
            assert_eq!(pause, Duration::from_millis(pause_ms), "{asked_ms} ms");
        }
    }

    #[test]
    fn an_interval_varies_by_a_tenth() {
        let interval = Duration::from_secs(5);
        for (random, ms) in [(0, 4_500), (u32::MAX / 2 + 1, 5_000), (u32::MAX, 5_500)] {
            let pause = jittered(interval, random).as_millis();
            assert!(pause.abs_diff(ms) <= 1, "{pause} ms for {random}");
        }
    }
}
