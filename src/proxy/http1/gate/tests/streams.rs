//! Which bytes pass, and with which verdicts.

use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn requests_pass_as_they_came_one_at_a_time() {
    let stream = [GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", GET].concat();
    let seen = pass(&[&stream], 8_192).await;
    assert_eq!(seen.bytes, stream);
    let bodies: Vec<_> = seen.verdicts.iter().map(|verdict| verdict.unwrap().body).collect();
    assert_eq!(bodies, [Body::None, Body::Length(3), Body::None]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_is_no_different_from_what_comes() {
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let refused = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let stream = [&post[..], GET, b"\r\n", GET, refused].concat();
    let whole = pass(&[&stream], 8_192).await;
    assert_eq!(whole.verdicts.len(), 4);
    for read in 1..=stream.len() {
        let (early, rest) = stream.split_at(read);
        assert_eq!(pass_after(early, &[rest], 8_192).await, whole, "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_lines_before_a_request_line_are_skipped() {
    let stream = [b"\r\n\r\n", GET, b"\r\n", GET, b"\r\n"].concat();
    for size in [1, 2, 3, stream.len()] {
        let pieces: Vec<_> = stream.chunks(size).collect();
        let seen = pass(&pieces, 8_192).await;
        assert_eq!(seen.bytes, [GET, GET].concat());
        assert_eq!(seen.verdicts.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_replaced_and_nothing_after_it_passes() {
    for (head, refusal) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refusal::LengthWithEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
            Refusal::LengthWithEncoding,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Refusal::EncodingUnknown,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
            Refusal::EncodingRepeated,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            Refusal::ControlCharacter,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
            Refusal::SpaceBeforeColon,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", Refusal::ObsFold),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
            Refusal::LengthRepeated,
        ),
        ("GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n", Refusal::BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareLf),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Refusal::ControlCharacter),
        ("GET / HTTP/1.1\r\n\r\n", Refusal::HostMissing),
        ("PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Connect),
    ] {
        let stream = [head.as_bytes(), b"0\r\n\r\n", GET].concat();
        for size in [1, 7, stream.len()] {
            let pieces: Vec<_> = stream.chunks(size).collect();
            let seen = pass(&pieces, 8_192).await;
            assert_eq!(seen.bytes, HARMLESS_HEAD, "{head:?}");
            assert_eq!(seen.verdicts, [Err(refusal)], "{head:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_before_a_refused_one_is_served() {
    let seen = pass(&[GET, b"GET / HTTP/1.1\r\n\r\n"], 8_192).await;
    assert_eq!(seen.bytes, [GET, HARMLESS_HEAD].concat());
    assert!(seen.verdicts[0].is_ok());
    assert_eq!(seen.verdicts[1], Err(Refusal::HostMissing));
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused_at_its_limit() {
    let filler = vec![b'a'; Limits::default().head_bytes_max];
    let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", filler.as_slice()].concat();
    for size in [1_000, head.len()] {
        let pieces: Vec<_> = head.chunks(size).collect();
        let seen = pass(&pieces, 4_096).await;
        assert_eq!(seen.verdicts, [Err(Refusal::HeadTooLarge)]);
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_that_break_their_framing_end_the_read() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, refusal) in [
        ("5 \r\nhello\r\n0\r\n\r\n", Refusal::ChunkSize),
        ("5\nhello\r\n0\r\n\r\n", Refusal::ChunkSize),
        ("0x5\r\nhello\r\n0\r\n\r\n", Refusal::ChunkSize),
        ("ffffffffffffffff0\r\n", Refusal::ChunkSize),
        ("5;\n\r\nhello\r\n0\r\n\r\n", Refusal::ChunkSize),
        ("5\r\nhello!\r\n0\r\n\r\n", Refusal::ChunkEnd),
        ("0\r\n\nGET / HTTP/1.1\r\n", Refusal::Trailer),
        ("0\r\nGET / HTTP/1.1\r\n\r\n", Refusal::Trailer),
    ] {
        let stream = [&head[..], body.as_bytes(), GET].concat();
        for size in [1, 5, stream.len()] {
            let pieces: Vec<_> = stream.chunks(size).collect();
            let seen = pass(&pieces, 8_192).await;
            assert!(seen.bytes.starts_with(head), "the head had passed");
            assert_eq!(seen.verdicts.len(), 1, "{body:?}");
            assert_eq!(seen.fault, Some(Fault::Body(refusal)), "{body:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_head_waits_for_the_end_of_the_turn() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(&[GET, GET].concat()).await.unwrap();
    assert_eq!(read(&mut gate).await.unwrap(), GET);
    let turn = handle.next().unwrap();
    assert!(handle.next().is_none(), "one turn a request");
    assert!(read_or_stall(&mut gate, 8_192, true).await.is_none());
    let reader = async { read(&mut gate).await.unwrap() };
    let answer = async {
        tokio::task::yield_now().await;
        drop(turn);
    };
    assert_eq!(tokio::join!(reader, answer).0, GET, "the end of the turn woke the reader");
}

#[tokio::test(start_paused = true)]
async fn the_client_leaving_is_seen_while_its_answer_is_made() {
    let (mut client, mut gate, handle) = gate();
    client.write_all(GET).await.unwrap();
    read(&mut gate).await.unwrap();
    let _turn = handle.next().unwrap();
    assert!(read_or_stall(&mut gate, 8_192, true).await.is_none());
    client.shutdown().await.unwrap();
    assert_eq!(read(&mut gate).await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_early_passes_an_upgrade_only_after_it_was_granted() {
    for granted in [true, false] {
        let (mut client, mut gate, handle) = gate();
        client.write_all(&[UPGRADE, b"\x81\x05hello\n"].concat()).await.unwrap();
        assert_eq!(read(&mut gate).await.unwrap(), UPGRADE);
        let turn = handle.next().unwrap();
        assert!(turn.verdict.unwrap().upgrade);
        assert!(read_or_stall(&mut gate, 8_192, true).await.is_none());
        if granted {
            turn.tunnel();
            assert_eq!(read(&mut gate).await.unwrap(), b"\x81\x05hello\n");
            client.write_all(b"\0\r\n\n").await.unwrap();
            assert_eq!(read(&mut gate).await.unwrap(), b"\0\r\n\n");
        } else {
            drop(turn);
            assert_eq!(read(&mut gate).await.unwrap(), HARMLESS_HEAD);
            assert_eq!(handle.next().unwrap().verdict, Err(Refusal::BareLf));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_gate_keeps_no_buffer() {
    let (mut client, mut gate, handle) = gate();
    for piece in [&GET[..5], &GET[5..]] {
        client.write_all(piece).await.unwrap();
        if read_or_stall(&mut gate, 8_192, true).await.is_none() {
            assert_eq!(gate.held, GET[..5]);
        }
    }
    drop(handle.next().unwrap());
    for stray in [&b""[..], b"\r\n"] {
        client.write_all(stray).await.unwrap();
        assert!(read_or_stall(&mut gate, 8_192, true).await.is_none());
        assert_eq!(gate.held.capacity(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_of_a_stream_passes_the_same_bytes_with_the_same_verdicts(
        requests in proptest::collection::vec(0_usize..REQUESTS.len(), 1..5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        read_bytes in 1_usize..300,
    ) {
        let stream = requests.iter().map(|&request| REQUESTS[request]).collect::<String>();
        let stream = stream.as_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();

        let split = run(pass(&pieces, read_bytes));
        prop_assert_eq!(&split.bytes, stream);
        prop_assert_eq!(split.verdicts.len(), requests.len());
        prop_assert_eq!(split, run(pass(&[stream], 8_192)));
    }

    #[test]
    fn any_bytes_pass_or_are_refused(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':')], 0..200),
    ) {
        let seen = run(pass(&[&bytes], 64));
        prop_assert!(seen.bytes.is_empty() || seen.verdicts.len() == 1);
    }
}

#[test]
fn every_single_cut_of_a_stream_passes_the_same_bytes() {
    let stream = REQUESTS.concat();
    let stream = stream.as_bytes();
    let whole = run(pass(&[stream], 8_192));
    assert_eq!(whole.bytes, stream);
    for cut in 0..stream.len() {
        assert_eq!(run(pass(&[&stream[..cut], &stream[cut..]], 8_192)), whole, "cut at {cut}");
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

const REQUESTS: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET /evil HTTP/1.1\r\nX: y\r\n\r",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
     5;x=y\r\nhello\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
    "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
];
