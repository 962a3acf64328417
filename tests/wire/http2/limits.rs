//! Hostile clients: each is sent away, and nobody else notices.

use super::raw::{
    ASK, CALM, CONTINUATION, DATA, ENDS_HEADERS, ENDS_STREAM, HEADERS, PING, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, frame,
};
use super::{ask, before, client, get, is_served, run, whole};
use crate::wire::pressure::resident;
use crate::wire::{Backend, Balancer, admin, ok};

#[test]
fn who_resets_streams_as_fast_as_they_are_opened_is_sent_away() {
    expect(Some(CALM), "rapid_reset", |number| {
        let stream = 2 * number + 1;
        let mut bytes = frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, stream, ASK);
        bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        bytes
    });
}

#[test]
fn who_makes_us_reset_streams_is_sent_away() {
    const WITHOUT_SCHEME: &[u8] = &[0x82, 0x84];
    expect(Some(CALM), "made_reset", |number| {
        frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, 2 * number + 1, WITHOUT_SCHEME)
    });
}

#[test]
fn who_changes_settings_all_the_time_is_sent_away() {
    expect(Some(CALM), "settings_flood", |_| frame(SETTINGS, 0, 0, &[]));
}

#[test]
fn who_pings_all_the_time_is_sent_away() {
    expect(Some(CALM), "ping_flood", |_| frame(PING, 0, 0, &[7; 8]));
}

#[test]
fn who_sends_frames_that_mean_nothing_is_sent_away() {
    expect(Some(CALM), "unknown_flood", |_| frame(0xfa, 0, 0, &[7; 8]));
}

#[test]
fn who_updates_windows_for_nothing_is_sent_away() {
    expect(Some(CALM), "window_update_flood", |_| {
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()).repeat(50)
    });
}

#[test]
fn who_sends_data_without_data_is_sent_away() {
    expect(Some(CALM), "empty_data_flood", |number| match number {
        0 => frame(HEADERS, ENDS_HEADERS, 1, ASK),
        _ => frame(DATA, 0, 1, &[]),
    });
}

#[test]
fn who_never_ends_a_head_is_sent_away() {
    expect(Some(CALM), "protocol_error", |number| match number {
        0 => frame(HEADERS, 0, 1, ASK),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
}

#[test]
fn who_sends_a_small_head_that_would_become_a_large_one_is_sent_away() {
    let backend = Backend::answering(|_| ok("well"));
    let balancer = before(&backend);
    run(async {
        let mut raw = Raw::open(&balancer, &[]).await;
        // A field of 4 KB is put into the table, and then named by one byte each time.
        let mut block = ASK.to_vec();
        block.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
        block.extend_from_slice(&[b'v'; 4096 - 128]);
        block.extend_from_slice(&[0xbe; 8 * 1024]);
        assert!(raw.send(&frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, 1, &block)).await);
        assert_eq!(raw.farewell().await, Some(CALM));
        is_served(&balancer).await;
    });
    assert_eq!(backend.seen().len(), 1, "only the other one came through");
}

#[test]
fn of_each_client_that_is_sent_away_there_is_a_line() {
    const CLOSED: &str = "HTTP/2 connection closed";
    let backend = Backend::answering(|_| ok("well"));
    let balancer = before(&backend);
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(200);
    run(async {
        for (time, from) in [1, 2, 1, 2, 3].into_iter().enumerate() {
            let mut raw = Raw::open_from([127, 0, 0, from], &balancer).await;
            raw.send(&pings).await;
            raw.farewell().await;
            let counted = counted(&balancer, "ping_flood");
            assert_eq!(usize::try_from(counted).unwrap(), time + 1);
        }
    });
    let of = |from| balancer.times_logged(&format!("client=127.0.0.{from}"));
    for from in 1..=3 {
        balancer.logged(&format!("client=127.0.0.{from}"));
        // Each worker tells of those that it serves.
        assert!((1..=2).contains(&of(from)), "{from}");
    }
    assert_eq!(balancer.times_logged(CLOSED), of(1) + of(2) + of(3));
}

#[test]
fn a_client_that_takes_nothing_holds_no_more_than_its_buffer() {
    let backend = Backend::answering(|_| ok(&"x".repeat(4 << 20)));
    let balancer = before(&backend);
    run(async {
        const INITIAL_WINDOW_SIZE: u16 = 4;
        let mut raw = Raw::open(&balancer, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        let before = resident(&balancer);
        for number in 0..100 {
            let stream = 2 * number + 1;
            assert!(raw.send(&frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, stream, ASK)).await);
        }
        let mut answered = 0;
        while answered < 100 {
            let frame = raw.next().await.unwrap();
            assert_ne!(frame.kind, DATA, "there is no window");
            answered += u32::from(frame.kind == HEADERS);
        }
        let client = client(&balancer).await;
        let response = ask(&client, get("/")).await.await.unwrap();
        assert_eq!(whole(response).await.0.len(), 4 << 20);
        // All of the answers would be 400 MiB.
        let held = resident(&balancer).saturating_sub(before);
        assert!(held < 100 << 20, "{held} bytes");
    });
}

#[test]
fn no_more_streams_are_open_than_we_allow() {
    let backend = Backend::scripted(|_, stream| std::io::Read::read(stream, &mut [0]).is_err());
    let balancer = before(&backend);
    run(async {
        let mut raw = Raw::open(&balancer, &[]).await;
        for number in 0..101 {
            let stream = 2 * number + 1;
            assert!(raw.send(&frame(HEADERS, ENDS_HEADERS | ENDS_STREAM, stream, ASK)).await);
        }
        let refused = loop {
            let frame = raw.next().await.unwrap();
            if frame.kind == RST_STREAM {
                break frame;
            }
        };
        const REFUSED_STREAM: u32 = 7;
        assert_eq!((refused.stream, refused.payload), (201, REFUSED_STREAM.to_be_bytes().to_vec()));
    });
}

/// One client sends what `bytes` gives, again and again, and is sent away with
/// this code and for this reason; others are served all the while.
fn expect(code: Option<u32>, reason: &str, bytes: impl Fn(u32) -> Vec<u8>) {
    let backend = Backend::answering(|_| ok("well"));
    let balancer = before(&backend);
    run(async {
        let mut raw = Raw::open(&balancer, &[]).await;
        let mut sent = 0;
        while sent < FRAMES_MAX && raw.send(&bytes(sent)).await {
            sent += 1;
            if sent % 16 == 0 {
                tokio::task::yield_now().await;
            }
            if counted(&balancer, reason) > 0 {
                break;
            }
        }
        assert!(sent < FRAMES_MAX, "{reason}: it could go on");
        // What was sent beyond our end may cost us the last word.
        let told = raw.farewell().await;
        assert!(told.is_none() || told == code, "{reason}: {told:?}");
        is_served(&balancer).await;
    });
    assert_eq!(counted(&balancer, reason), 1);
    let line = balancer.logged("HTTP/2 connection closed");
    assert!(line.contains(reason), "{line}");
}

fn counted(balancer: &Balancer, reason: &str) -> u32 {
    let metrics = admin(balancer, "/metrics").text();
    let name = format!("evenkeel_http2_refused_total{{reason=\"{reason}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
    line.parse().unwrap()
}

const FRAMES_MAX: u32 = 5000;
