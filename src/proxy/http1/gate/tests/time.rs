//! How long a client may take, in virtual time.

use tokio::io::AsyncReadExt;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_head_must_arrive_in_its_time_however_it_drips() {
    let (mut client, mut gate, handle) = gate();
    let drip = async {
        sleep(secs(20)).await;
        for byte in GET {
            client.write_all(&[*byte]).await.unwrap();
            sleep(secs(1)).await;
        }
    };
    let began = Instant::now();
    let serve = async {
        assert_eq!(read(&mut gate).await.unwrap(), HARMLESS_HEAD);
        began.elapsed()
    };
    assert_eq!(tokio::join!(drip, serve).1, secs(30), "ten seconds from its first byte");
    let turn = handle.next().unwrap();
    assert_eq!(turn.verdict, Err(Refusal::HeadTimeout));
    assert_eq!(turn.received_at - began, secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_head_in_time_knows_when_it_began() {
    let (mut client, mut gate, handle) = gate();
    let began = Instant::now();
    let send = async {
        client.write_all(&GET[..5]).await.unwrap();
        sleep(secs(9)).await;
        client.write_all(&GET[5..]).await.unwrap();
    };
    assert_eq!(tokio::join!(send, read(&mut gate)).1.unwrap(), GET);
    assert_eq!(handle.next().unwrap().received_at, began);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left_without_an_answer() {
    let (_client, mut gate, handle) = gate();
    let began = Instant::now();
    assert_eq!(read(&mut gate).await.unwrap(), b"");
    assert_eq!(began.elapsed(), secs(75));
    assert!(handle.next().is_none());
    assert_eq!(handle.fault(), None);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_for_a_second_rests_and_is_heard_all_the_same() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(GET).await.unwrap();
    read(&mut gate).await.unwrap();
    drop(handle.next().unwrap());
    assert!(timeout(Duration::from_millis(999), read(&mut gate)).await.is_err());
    assert!(!handle.rests());
    assert!(timeout(Duration::from_millis(2), read(&mut gate)).await.is_err());
    assert!(handle.rests());
    assert!(!handle.rests(), "it is told once");

    let rest = poll_fn(|cx| gate.poll_rest(cx));
    let send = async {
        sleep(secs(60)).await;
        client.write_all(GET).await.unwrap();
    };
    tokio::join!(rest, send);
    assert_eq!(read(&mut gate).await.unwrap(), GET);
    assert!(handle.next().unwrap().verdict.is_ok());
}

/// As hyper does, which asks anew only when it is woken.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_next_head_is_woken_to_rest() {
    let (mut client, mut gate, handle) = gate();
    // The wait for the first head is armed for much later.
    assert!(timeout(secs(5), poll_fn(|cx| gate.poll_rest(cx))).await.is_err());
    client.write_all(GET).await.unwrap();
    poll_fn(|cx| gate.poll_rest(cx)).await;
    read(&mut gate).await.unwrap();
    let turn = handle.next().unwrap();
    let rests = handle.clone();
    let waits = async move {
        poll_fn(|cx| {
            let mut room = [0; 64];
            let reads = Pin::new(&mut gate).poll_read(cx, &mut ReadBuf::new(&mut room));
            if reads.is_pending() && !rests.rests() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    };
    LocalSet::new()
        .run_until(async {
            let waiting = spawn_local(waits);
            sleep(secs(3)).await;
            drop(turn);
            let began = Instant::now();
            waiting.await.unwrap();
            assert!(began.elapsed() <= secs(2), "{:?}", began.elapsed());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_rest_ends_with_the_time_between_requests() {
    let (_client, mut gate, _) = gate();
    let began = Instant::now();
    poll_fn(|cx| gate.poll_rest(cx)).await;
    assert_eq!(began.elapsed(), secs(75));
    assert_eq!(read(&mut gate).await.unwrap(), b"", "as if the client had left");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_late_is_no_rest() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(&GET[..5]).await.unwrap();
    assert!(timeout(secs(5), read(&mut gate)).await.is_err());
    assert!(!handle.rests());
}

#[tokio::test(start_paused = true)]
async fn idling_begins_at_the_end_of_the_answer_however_long_that_took() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(GET).await.unwrap();
    read(&mut gate).await.unwrap();
    let turn = handle.next().unwrap();
    let began = Instant::now();
    let answer = async {
        sleep(secs(1_000)).await;
        drop(turn);
    };
    let ((), end) = tokio::join!(answer, read(&mut gate));
    assert_eq!(end.unwrap(), b"");
    assert_eq!(began.elapsed(), secs(1_075));
}

#[tokio::test(start_paused = true)]
async fn a_stray_empty_line_starts_no_head() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(b"\r\n").await.unwrap();
    let began = Instant::now();
    assert_eq!(read(&mut gate).await.unwrap(), b"");
    assert_eq!(began.elapsed(), secs(75));
    assert!(handle.next().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_head_sent_early_begins_when_it_is_wanted() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(&[GET, &GET[..9]].concat()).await.unwrap();
    read(&mut gate).await.unwrap();
    let turn = handle.next().unwrap();
    let began = Instant::now();
    let answer = async {
        sleep(secs(100)).await;
        drop(turn);
    };
    let ((), next) = tokio::join!(answer, read(&mut gate));
    assert_eq!(next.unwrap(), HARMLESS_HEAD);
    assert_eq!(began.elapsed(), secs(110));
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_silent() {
    let (mut client, mut gate, handle) = gate();
    let began = Instant::now();
    let send = async {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        client.write_all(head).await.unwrap();
        for _ in 0..3 {
            sleep(secs(59)).await;
            client.write_all(b"x").await.unwrap();
        }
    };
    let serve = async {
        loop {
            if let Err(error) = read(&mut gate).await {
                return error;
            }
        }
    };
    let ((), error) = tokio::join!(send, serve);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), secs(3 * 59 + 60));
    assert_eq!(handle.fault(), Some(Fault::BodyTimeout));
}

#[tokio::test(start_paused = true)]
async fn a_write_without_progress_is_given_up() {
    let (mut client, server) = duplex(16);
    let (mut gate, handle) = Gate::new(server, Limits::default());
    let began = Instant::now();
    let receive = async {
        for _ in 0..3 {
            sleep(secs(29)).await;
            client.read_exact(&mut [0; 10]).await.unwrap();
        }
    };
    let ((), sent) = tokio::join!(receive, gate.write_all(&[0; 100]));
    assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), secs(3 * 29 + 30));
    assert_eq!(handle.fault(), Some(Fault::WriteStall));
}

#[tokio::test(start_paused = true)]
async fn idling_begins_when_a_slow_client_took_the_last_bytes() {
    let (mut client, server) = duplex(64);
    let (mut gate, handle) = Gate::new(server, Limits::default());
    client.write_all(GET).await.unwrap();
    read(&mut gate).await.unwrap();
    drop(handle.next().unwrap());
    let began = Instant::now();
    let receive = async {
        sleep(secs(20)).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
    };
    let answer = async {
        gate.write_all(&[0; 100]).await.unwrap();
        read(&mut gate).await.unwrap()
    };
    assert_eq!(tokio::join!(receive, answer).1, b"");
    assert_eq!(began.elapsed(), secs(95));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_may_be_silent_but_must_be_read() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(UPGRADE).await.unwrap();
    read(&mut gate).await.unwrap();
    assert!(read_or_stall(&mut gate, 8_192, true).await.is_none());
    handle.next().unwrap().tunnel();
    let send = async {
        sleep(secs(3_600)).await;
        client.write_all(b"late").await.unwrap();
    };
    assert_eq!(tokio::join!(send, read(&mut gate)).1.unwrap(), b"late");
    let stalled = gate.write_all(&vec![0; 100_000]).await;
    assert_eq!(stalled.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(handle.fault(), Some(Fault::WriteStall));
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
