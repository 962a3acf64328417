//! Each allowance at its bound.

use super::*;

/// A frame of `kind` that costs something each time, and how many may come.
fn costly() -> [(u8, u32, Abuse); 6] {
    let allowed = Allowances::default();
    [
        (kind::RST_STREAM, allowed.resets, Abuse::Resets),
        (kind::SETTINGS, allowed.settings, Abuse::Settings),
        (kind::PING, allowed.pings, Abuse::Pings),
        (kind::PRIORITY, allowed.unknown, Abuse::Unknown),
        (kind::WINDOW_UPDATE, allowed.window_updates, Abuse::WindowUpdates),
        (0xfa, allowed.unknown, Abuse::Unknown),
    ]
}

#[test]
fn so_many_frames_may_come_at_once_and_not_one_more() {
    let now = now();
    for (kind, allowed, abuse) in costly() {
        let mut ledger = Ledger::default();
        for _ in 0..allowed {
            assert_eq!(ledger.received(&frame(kind), now), Ok(()), "{abuse:?}");
        }
        assert_eq!(ledger.received(&frame(kind), now), Err(abuse));
    }
}

#[test]
fn an_allowance_comes_back_evenly() {
    let now = now();
    for (kind, allowed, abuse) in costly() {
        let mut ledger = Ledger::default();
        let each = WINDOW / allowed;
        for number in 0..10 * allowed {
            assert_eq!(ledger.received(&frame(kind), now + each * number), Ok(()), "{abuse:?}");
        }
        let later = now + each * 10 * allowed + WINDOW;
        for _ in 0..allowed {
            assert_eq!(ledger.received(&frame(kind), later), Ok(()), "{abuse:?}");
        }
        assert_eq!(ledger.received(&frame(kind), later), Err(abuse));
    }
}

#[test]
fn who_resets_what_it_has_just_asked_for_is_stopped_within_about_a_hundred() {
    let now = now();
    let mut ledger = Ledger::default();
    for number in 0..Allowances::default().resets {
        assert_eq!(ask(&mut ledger, number, now), Ok(()));
        assert_eq!(ledger.received(&reset(number), now), Ok(()));
    }
    let next = Allowances::default().resets;
    assert_eq!(ask(&mut ledger, next, now), Ok(()));
    assert_eq!(ledger.received(&reset(next), now), Err(Abuse::Resets));
}

#[test]
fn a_stream_may_be_reset_as_soon_as_its_answer_has_begun() {
    let (mut ledger, mut now) = (Ledger::default(), now());
    for number in 0..100_000 {
        now += Duration::from_millis(1);
        assert_eq!(ask(&mut ledger, number, now), Ok(()));
        assert_eq!(answer(&mut ledger, number, now), Ok(()));
        assert_eq!(ledger.received(&reset(number), now), Ok(()), "{number}");
    }
}

#[test]
fn the_more_is_answered_the_more_may_be_given_up_before() {
    // Every so many calls of which one is given up, and how many come in a second.
    for (every, rate) in [(100, 2000), (2, 2000), (2, 100)] {
        let (mut ledger, mut now) = (Ledger::default(), now());
        for number in 0..100_000 {
            now += Duration::from_secs(1) / rate;
            assert_eq!(ask(&mut ledger, number, now), Ok(()));
            let ended = if number % every == 0 {
                ledger.received(&reset(number), now)
            } else {
                answer(&mut ledger, number, now)
            };
            assert_eq!(ended, Ok(()), "{number} of {every} and {rate}");
        }
    }
}

#[test]
fn answers_of_long_ago_excuse_nothing() {
    let (mut ledger, began) = (Ledger::default(), now());
    for number in 0..10_000 {
        assert_eq!(ask(&mut ledger, number, began), Ok(()));
        assert_eq!(answer(&mut ledger, number, began), Ok(()));
    }
    let later = began + 2 * WINDOW;
    for number in 10_000..10_100 {
        assert_eq!(ask(&mut ledger, number, later), Ok(()));
        assert_eq!(ledger.received(&reset(number), later), Ok(()));
    }
    assert_eq!(ask(&mut ledger, 10_100, later), Ok(()));
    assert_eq!(ledger.received(&reset(10_100), later), Err(Abuse::Resets));
}

/// As when all its streams are opened in one packet, and then reset.
#[test]
fn who_opens_more_than_it_may_is_not_forgotten() {
    let (mut ledger, now) = (Ledger::default(), now());
    let allowed = u32::try_from(UNANSWERED_MAX).unwrap() + Allowances::default().resets;
    for number in 0..allowed {
        assert_eq!(ask(&mut ledger, number, now), Ok(()));
    }
    assert_eq!(ledger.unanswered.len(), UNANSWERED_MAX);
    assert_eq!(ask(&mut ledger, allowed, now), Err(Abuse::Resets));
}

#[test]
fn empty_data_is_counted_unless_it_ends_its_stream() {
    let now = now();
    let padded = Frame { flags: flag::PADDED, length: 10, detail: 10, ..frame(kind::DATA) };
    for empty in [frame(kind::DATA), padded] {
        let mut ledger = Ledger::default();
        let full = Frame { length: 1, ..frame(kind::DATA) };
        let last = Frame { flags: flag::END_STREAM, ..frame(kind::DATA) };
        for _ in 0..Allowances::default().empty_data {
            for frame in [full, last, empty] {
                assert_eq!(ledger.received(&frame, now), Ok(()));
            }
        }
        assert_eq!(ledger.received(&full, now), Ok(()));
        assert_eq!(ledger.received(&empty, now), Err(Abuse::EmptyData));
    }
}

#[test]
fn whoever_takes_data_may_ping_and_update_windows_for_it() {
    let (mut ledger, now) = (Ledger::default(), now());
    for _ in 0..10_000 {
        assert_eq!(ledger.sent(&Frame { length: 16_384, ..frame(kind::DATA) }, now), Ok(()));
        assert_eq!(ledger.received(&frame(kind::PING), now), Ok(()));
        for _ in 0..UPDATES_PER_DATA {
            assert_eq!(ledger.received(&frame(kind::WINDOW_UPDATE), now), Ok(()));
        }
    }
}

#[test]
fn streams_that_the_client_makes_us_reset_are_counted_and_our_own_are_not() {
    let (mut ledger, now) = (Ledger::default(), now());
    let reset = |detail| Frame { detail, ..frame(kind::RST_STREAM) };
    for number in 0..1000 {
        let ours = OUR_REASONS[number % OUR_REASONS.len()];
        assert_eq!(ledger.sent(&reset(ours), now), Ok(()));
    }
    const PROTOCOL_ERROR: u32 = 1;
    for _ in 0..Allowances::default().made_resets {
        assert_eq!(ledger.sent(&reset(PROTOCOL_ERROR), now), Ok(()));
    }
    assert_eq!(ledger.sent(&reset(PROTOCOL_ERROR), now), Err(Abuse::MadeResets));
}

#[test]
fn a_client_may_not_send_overhead_for_ever() {
    let (mut ledger, mut now) = (Ledger::default(), now());
    let unknown = Frame { length: 16_384, ..frame(0xfa) };
    let each = u64::from(unknown.length) + FRAME_HEAD_BYTES;
    let allowed = OVERHEAD_FREE * OVERHEAD_MAX / each;
    for _ in 0..allowed {
        now += WINDOW;
        assert_eq!(ledger.received(&unknown, now), Ok(()));
    }
    assert_eq!(ledger.received(&unknown, now), Err(Abuse::Overhead));
}

#[test]
fn a_head_is_open_until_its_last_frame_has_come_whole() {
    let (mut ledger, now) = (Ledger::default(), now());
    let later = now + Duration::from_secs(1);
    let last = |kind| Frame { flags: flag::END_HEADERS, length: 5, stream: 1, ..frame(kind) };
    assert_eq!(ledger.received(&Frame { stream: 1, ..frame(kind::HEADERS) }, now), Ok(()));
    ledger.frame_ended();
    assert_eq!(ledger.head_since(), Some(now));
    assert_eq!(ledger.received(&last(kind::CONTINUATION), later), Ok(()));
    assert_eq!(ledger.head_since(), Some(now), "counted from its beginning");
    ledger.frame_ended();
    assert_eq!(ledger.head_since(), None);
    assert_eq!(ledger.received(&last(kind::HEADERS), later), Ok(()));
    assert_eq!(ledger.head_since(), Some(later));
    assert_eq!(ledger.received(&frame(kind::PING), later), Ok(()));
    assert_eq!(ledger.head_since(), None, "another frame begins only behind it");
}

#[test]
fn trailers_have_a_bound_and_heads_another() {
    let block = |kind, length| Frame { length, stream: 1, ..frame(kind) };
    let (mut ledger, now) = (Ledger::default(), now());
    for kind in [kind::HEADERS, kind::CONTINUATION, kind::CONTINUATION] {
        assert_eq!(ledger.received(&block(kind, TRAILERS_MAX), now), Ok(()), "the head");
    }
    for most in [1, TRAILERS_MAX] {
        assert_eq!(ledger.received(&block(kind::HEADERS, most), now), Ok(()));
        let rest = block(kind::CONTINUATION, TRAILERS_MAX - most);
        assert_eq!(ledger.received(&rest, now), Ok(()));
    }
    let more = block(kind::CONTINUATION, 1);
    assert_eq!(ledger.received(&more, now), Err(Abuse::Trailers));
}

#[test]
fn a_connection_begins_with_settings() {
    let mut ledger = Ledger::default();
    assert!(!ledger.has_begun());
    assert_eq!(ledger.received(&frame(kind::SETTINGS), now()), Ok(()));
    assert!(ledger.has_begun());
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let mut words = Abuse::ALL.map(Abuse::reason).to_vec();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Abuse::ALL.len());
}

fn ask(ledger: &mut Ledger, number: u32, now: Instant) -> Result<(), Abuse> {
    let stream = 2 * number + 1;
    ledger.received(&Frame { length: 50, stream, ..frame(kind::HEADERS) }, now)
}

fn answer(ledger: &mut Ledger, number: u32, now: Instant) -> Result<(), Abuse> {
    ledger.sent(&Frame { stream: 2 * number + 1, ..frame(kind::HEADERS) }, now)
}

/// As the client sends it.
fn reset(number: u32) -> Frame {
    Frame { stream: 2 * number + 1, detail: 8, ..frame(kind::RST_STREAM) }
}

fn frame(kind: u8) -> Frame {
    Frame { kind, flags: 0, length: 0, stream: 0, detail: 0 }
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}
