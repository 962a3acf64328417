//! The moments, one by one.

use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Ninety days from the first.
fn ninety() -> Life {
    Life { from: at(0), until: at(90 * DAY) }
}

#[test]
fn without_a_window_it_is_renewed_about_when_two_thirds_are_over() {
    assert_eq!(seconds(renewal(ninety(), None, 0.0)), 60 * DAY);
    assert_eq!(seconds(renewal(ninety(), None, 1.0)), 57 * DAY);
    let short = Life { from: at(0), until: at(6 * DAY) };
    assert_eq!(seconds(renewal(short, None, 0.0)), 4 * DAY);
}

#[test]
fn within_a_window_chance_decides() {
    let window = |start, end| Some(Window { start: at(start), end: at(end) });
    for (window, chance, expected) in [
        (window(10 * DAY, 20 * DAY), 0.0, 10 * DAY),
        (window(10 * DAY, 20 * DAY), 0.5, 15 * DAY),
        (window(10, 20), 0.5, 15),
        // A window that ends before it begins says nothing.
        (window(20 * DAY, 10 * DAY), 0.0, 60 * DAY),
        // Nor does one that is too late.
        (window(100 * DAY, 200 * DAY), 0.5, 81 * DAY),
    ] {
        assert_eq!(seconds(renewal(ninety(), window, chance)), expected, "{window:?}");
    }
}

#[test]
fn an_authority_that_always_says_at_once_is_obeyed_once_a_day() {
    let now = at(DAY);
    assert_eq!(unhurried(at(5), ninety(), None), at(5), "the first time at once");
    assert_eq!(unhurried(at(5), ninety(), Some(now)), at(2 * DAY));
    let ordinary = at(60 * DAY);
    assert_eq!(unhurried(ordinary, ninety(), Some(now)), ordinary, "which is no hurry");
    let short = Life { from: at(DAY), until: at(DAY + 9) };
    assert!(unhurried(at(5), short, Some(now)) < short.until, "never beyond its life");
}

#[test]
fn the_authority_says_when_to_ask_again_within_bounds() {
    let said = |seconds| next_question(Some(Duration::from_secs(seconds)), 0.5).as_secs();
    assert_eq!([said(0), said(60), said(HOUR), said(9 * DAY)], [60, 60, HOUR, DAY]);
    assert_eq!(next_question(None, 0.0).as_secs(), 6 * HOUR);
    assert!(next_question(None, 0.9).as_secs() > 6 * HOUR);
}

#[test]
fn a_name_that_fails_is_tried_ever_more_rarely_and_once_a_day_at_least() {
    let waits: Vec<_> = (1..=9).map(|failures| next_try(failures, 0.0).as_secs() / 60).collect();
    assert_eq!(waits, [1, 4, 16, 64, 256, 1024, 1440, 1440, 1440]);
    assert_eq!(next_try(u32::MAX, 0.0).as_secs(), DAY);
    assert_eq!(next_try(1, 1.0).as_secs(), 75);
}

#[test]
fn a_name_stays_below_the_limit_of_failures_an_hour() {
    let mut tries = vec![0];
    for failures in 1..20 {
        tries.push(tries[tries.len() - 1] + next_try(failures, 0.0).as_secs());
    }
    for &begin in &tries {
        let within = tries.iter().filter(|&&it| it >= begin && it < begin + HOUR).count();
        assert!(within <= 4, "{within} tries in the hour from {begin}");
    }
}

#[test]
fn an_authority_that_is_away_is_asked_again_soon_and_never_often() {
    let waits: Vec<_> = (1..=12).map(|failures| next_connect(failures, 0.0).as_secs()).collect();
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
}

#[test]
fn a_limit_pauses_the_account_shortly_and_the_name_as_long_as_it_says() {
    let said = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(pause(None).as_secs(), 60);
    assert_eq!(pause(said(1)).as_secs(), 60);
    assert_eq!(pause(said(600)).as_secs(), 600);
    assert_eq!(pause(said(34 * HOUR)).as_secs(), HOUR);
    assert_eq!(name_pause(said(34 * HOUR), 1, 0.0).as_secs(), 34 * HOUR);
    assert_eq!(name_pause(said(99 * DAY), 1, 0.0).as_secs(), 7 * DAY);
    assert_eq!(name_pause(None, 2, 0.0).as_secs(), 240);
}
