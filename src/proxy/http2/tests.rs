//! How long a client may take, in virtual time.

use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::domain::http::forwarded::{self, Scheme};
use crate::domain::http::http2::frames::{Frame, flag, kind};
use crate::domain::http::http2::ledger::Abuse;
use crate::domain::proxy_protocol::Ends;
use crate::domain::routing::RoutingTable;
use crate::live::{self, Alarm};
use crate::proxy::http2::{Limits, serve};
use crate::proxy::listener::EntryPoint;
use crate::proxy::passwords::Verifier;
use crate::proxy::request::Visitor;
use crate::proxy::resources::{Parts, Resources};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Counters;
use crate::tls::acme::Challenges;

#[test]
fn who_does_not_begin_in_time_is_cut_off() {
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n", PREFACE] {
        run(async {
            let (mut client, served) = connect(ROOM);
            client.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(served.began.elapsed(), limits().preface, "{said:?}");
            assert_eq!(served.end().await, Some(Abuse::Preface));
        });
    }
}

/// However late it is noticed.
#[test]
fn who_has_not_begun_when_we_stop_is_not_to_blame() {
    run(async {
        let (_client, served) = connect(ROOM);
        served.resources.bell().stop();
        advance(limits().preface).await;
        assert_eq!(served.end().await, None);
    });
}

#[test]
fn a_head_has_its_time_from_its_first_frame() {
    run(async {
        let (mut client, served) = begun(ROOM).await;
        sleep(Duration::from_secs(3)).await;
        client.write_all(&frame(kind::HEADERS, 1, &[0x82])).await.unwrap();
        sleep(Duration::from_secs(7)).await;
        client.write_all(&frame(kind::CONTINUATION, 1, &[0x87])).await.unwrap();
        assert_eq!(goodbye(&mut client).await, Reason::ENHANCE_YOUR_CALM);
        assert_eq!(served.began.elapsed(), Duration::from_secs(3) + limits().head);
        assert_eq!(served.end().await, Some(Abuse::HeadTimeout));
    });
}

#[test]
fn a_connection_without_streams_rests_for_so_long() {
    run(async {
        let (mut client, served) = begun(ROOM).await;
        assert_eq!(goodbye(&mut client).await, Reason::NO_ERROR);
        assert_eq!(served.began.elapsed(), limits().idle);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(served.began.elapsed(), limits().idle + limits().farewell, "it does not answer");
        assert_eq!(served.end().await, None);
    });
}

#[test]
fn an_answer_that_nobody_takes_is_reset_and_at_last_the_connection_ends() {
    run(async {
        let mut builder = Builder::new();
        builder.initial_window_size(0);
        let (mut client, served) = speaking(&builder).await;
        for time in 1..=2 {
            let (answer, _) = client.send_request(refused(), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let failed = body.data().await.unwrap().unwrap_err();
            assert_eq!(failed.reason(), Some(Reason::CANCEL), "{time}");
            assert_eq!(served.began.elapsed(), limits().stall * time);
        }
        assert_eq!(served.end().await, Some(Abuse::Stalled));
    });
}

#[test]
fn an_answer_of_which_a_byte_is_taken_now_and_then_is_reset_as_soon() {
    run(async {
        let (mut client, served) = connect(ROOM);
        client.write_all(PREFACE).await.unwrap();
        client.write_all(&frame(kind::SETTINGS, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
        client.write_all(&refused_head(1)).await.unwrap();
        let drip = frame(kind::WINDOW_UPDATE, 1, &1u32.to_be_bytes());
        for _ in 1..limits().stall.as_secs() {
            sleep(Duration::from_secs(1)).await;
            client.write_all(&drip).await.unwrap();
        }
        let mut taken = 0;
        while let Some(frame) = next(&mut client).await {
            match frame.kind {
                kind::DATA => taken += frame.length,
                kind::RST_STREAM => break,
                _ => {}
            }
        }
        assert_eq!(served.began.elapsed(), limits().stall);
        assert_eq!(u64::from(taken), limits().stall.as_secs() - 1, "there was more of it");
    });
}

#[test]
fn a_client_that_does_not_hear_that_we_stop_is_refused_and_let_go() {
    run(async {
        let (mut client, served) = begun(ROOM).await;
        served.resources.bell().stop();
        let farewell = limits().farewell.as_secs();
        let began = served.began;
        // It answers no PING, and goes on as if we had said nothing.
        for second in 1..farewell * 2 - 1 {
            sleep(Duration::from_secs(1)).await;
            let stream = u8::try_from(2 * second - 1).unwrap();
            client.write_all(&refused_head(stream)).await.unwrap();
            let answer = loop {
                let frame = next(&mut client).await.unwrap();
                if matches!(frame.kind, kind::HEADERS | kind::RST_STREAM) {
                    break frame;
                }
            };
            let refused = answer.kind == kind::RST_STREAM;
            assert_eq!(refused, second >= farewell, "{second} s");
            if refused {
                assert_eq!(Reason::from(answer.detail), Reason::REFUSED_STREAM);
            }
        }
        assert_eq!(served.end().await, None);
        assert_eq!(began.elapsed().as_secs(), farewell * 2 - 1, "after its last answer");
    });
}

#[test]
fn a_client_that_reads_no_byte_is_cut_off() {
    run(async {
        let (mut client, served) = begun(128).await;
        // The answers to these fill the line.
        client.write_all(&frame(kind::PING, 0, &[7; 8]).repeat(50)).await.unwrap();
        let began = served.began;
        assert_eq!(served.end().await, Some(Abuse::Stalled));
        assert_eq!(began.elapsed(), limits().stall);
    });
}

#[test]
fn a_connection_takes_so_many_requests_and_answers_them_all() {
    run(async {
        let (mut client, served) = speaking(&Builder::new()).await;
        for number in 1..=limits().requests {
            client = client.ready().await.unwrap_or_else(|_| panic!("request {number}"));
            let (answer, _) = client.send_request(refused(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);
        }
        // It is told so with the last answer.
        assert_eq!(served.end().await, None);
        assert!(client.ready().await.is_err());
    });
}

#[test]
fn a_connection_that_rests_ends_when_we_stop() {
    run(async {
        let (client, served) = speaking(&Builder::new()).await;
        sleep(Duration::from_secs(1)).await;
        served.resources.bell().stop();
        let began = served.began;
        assert_eq!(served.end().await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(1), "the client has heard");
        assert!(client.ready().await.is_err());
    });
}

#[test]
fn short_memory_ends_a_connection_that_rests_and_no_other() {
    run(async {
        let (idle, served) = speaking(&Builder::new()).await;
        let (busy, busy_served) = speaking(&Builder::new()).await;
        // It waits for a table.
        let waiting = Request::get("https://a/").body(()).unwrap();
        let (waiting, _) = busy.clone().send_request(waiting, true).unwrap();
        sleep(Duration::from_millis(100)).await;
        for resources in [&served.resources, &busy_served.resources] {
            resources.bell().press(true);
        }
        let began = Instant::now();
        assert_eq!(served.end().await, None);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(idle.ready().await.is_err());
        sleep(Duration::from_secs(1)).await;
        let mut busy = busy.ready().await.expect("it may send another request");
        let (answer, _) = busy.send_request(refused(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);
        let began = Instant::now();
        drop(waiting);
        assert_eq!(busy_served.end().await, None);
        assert_eq!(began.elapsed(), Duration::ZERO, "it has nothing left to carry");
    });
}

/// Its streams are served as soon as the last of it can be put into a buffer.
#[test]
fn an_answer_is_sent_to_its_end_though_its_client_is_slow_and_we_stop() {
    run(async {
        const STREAMS: u8 = 20;
        let (mut client, served) = begun(64).await;
        for number in 0..STREAMS {
            client.write_all(&refused_head(2 * number + 1)).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        served.resources.bell().stop();
        sleep(limits().farewell * 3).await;
        let mut ended = 0;
        while let Some(frame) = next(&mut client).await {
            ended += u8::from(frame.kind == kind::DATA && frame.flags & flag::END_STREAM != 0);
        }
        assert_eq!(ended, STREAMS);
        assert_eq!(served.end().await, None);
    });
}

#[test]
fn uploads_that_nobody_takes_leave_room_for_another() {
    run(async {
        let window = limits().stream_window as usize;
        let mut taken = uploads(limits().streams, &[Bytes::from(vec![7; window])]).await;
        let (last, _) = taken.last_mut().unwrap();
        assert_eq!(read(last, window).await, window);
    });
}

#[test]
fn small_frames_may_fill_the_windows_of_streams_that_nobody_takes() {
    run(async {
        let window = limits().stream_window as usize;
        let pieces = vec![Bytes::from_static(&[7; 20]); window / 20];
        for (body, _) in &mut uploads(10, &pieces).await {
            assert_eq!(read(body, window / 20 * 20).await, window / 20 * 20);
        }
    });
}

/// So many requests as the server sees them, of which all pieces have been sent
/// and none was taken.
async fn uploads(count: u32, pieces: &[Bytes]) -> Vec<(RecvStream, SendResponse<Bytes>)> {
    let (client, server) = duplex(ROOM);
    let builder = serve::builder(&limits());
    let (opened, accepted) =
        tokio::join!(h2::client::handshake(client), builder.handshake::<_, Bytes>(server));
    let ((mut requests, connection), mut server) = (opened.unwrap(), accepted.unwrap());
    spawn_local(connection);
    let (tell, mut told) = mpsc::channel(1);
    spawn_local(async move {
        while let Some(Ok((request, respond))) = server.accept().await {
            let _ = tell.send((request.into_body(), respond)).await;
        }
    });
    let mut taken = Vec::new();
    for _ in 0..count {
        requests = requests.ready().await.unwrap();
        let request = Request::post("https://a/").body(()).unwrap();
        let (answer, mut body) = requests.send_request(request, false).unwrap();
        for piece in pieces {
            body.send_data(piece.clone(), false).unwrap();
        }
        spawn_local(async move {
            let _ = answer.await;
            drop(body);
        });
        taken.push(told.recv().await.unwrap());
    }
    // Time passes only when nobody has anything to do.
    sleep(Duration::from_secs(1)).await;
    spawn_local(async move {
        pending::<()>().await;
        drop(requests);
    });
    taken
}

/// How much comes of `wanted` bytes.
async fn read(body: &mut RecvStream, wanted: usize) -> usize {
    let mut came = 0;
    while came < wanted {
        let next = timeout(limits().body_idle, body.data()).await;
        let Ok(Some(Ok(data))) = next else { break };
        came += data.len();
    }
    came
}

/// A connection as it is served beside a test.
struct Served {
    resources: Rc<Resources>,
    task: JoinHandle<()>,
    began: Instant,
}

impl Served {
    /// Waits for its end. Why it was ended, if that was for the client's doing.
    async fn end(self) -> Option<Abuse> {
        self.task.await.unwrap();
        let counters = &self.resources.parts.counters;
        Abuse::ALL.into_iter().find(|&abuse| counters.http2_refusals(abuse) > 0)
    }
}

/// A line on which `room` bytes may be under way each way.
fn connect(room: usize) -> (DuplexStream, Served) {
    let (client, server) = duplex(room);
    let resources = Rc::new(Resources::new(parts()));
    let task = spawn_local(serve(Rc::clone(&resources), server, &[], visitor()));
    (client, Served { resources, task, began: Instant::now() })
}

/// One whose client has begun as it should.
async fn begun(room: usize) -> (DuplexStream, Served) {
    let (mut client, served) = connect(room);
    client.write_all(PREFACE).await.unwrap();
    client.write_all(&frame(kind::SETTINGS, 0, &[])).await.unwrap();
    (client, served)
}

/// One whose client does as it should.
async fn speaking(builder: &Builder) -> (SendRequest<Bytes>, Served) {
    let (client, served) = connect(ROOM);
    let (requests, connection) = builder.handshake(client).await.unwrap();
    spawn_local(connection);
    (requests.ready().await.unwrap(), served)
}

/// A request that is answered at once.
fn refused() -> Request<()> {
    Request::get("https://a/").header("host", "b").body(()).unwrap()
}

/// Reads up to the GOAWAY, and tells its reason.
async fn goodbye(client: &mut DuplexStream) -> Reason {
    loop {
        let frame = next(client).await.unwrap();
        if frame.kind == kind::GOAWAY {
            return frame.detail.into();
        }
    }
}

/// The next frame, with the code that ends it if that is what it brings; none
/// once the connection is over.
async fn next(client: &mut DuplexStream) -> Option<Frame> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.ok()?;
    let [_, high, low, kind, flags, .., stream] = head;
    let length = u16::from_be_bytes([high, low]);
    let mut payload = vec![0; length.into()];
    client.read_exact(&mut payload).await.unwrap();
    let code = match kind {
        kind::GOAWAY => &payload[4..8],
        kind::RST_STREAM => &payload,
        _ => &[0; 4],
    };
    let detail = u32::from_be_bytes(code.try_into().unwrap());
    Some(Frame { kind, flags, length: length.into(), stream: stream.into(), detail })
}

/// A head that is refused at once: it names two hosts.
fn refused_head(stream: u8) -> Vec<u8> {
    let block = [0x82, 0x87, 0x84, 0x41, 1, b'a', 0x0f, 0x17, 1, b'b'];
    let mut head = frame(kind::HEADERS, stream, &block);
    head[4] = flag::END_HEADERS | flag::END_STREAM;
    head
}

/// A short frame, without flags.
pub(super) fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
}

fn parts() -> Parts {
    Parts {
        reader: live::channel(RoutingTable::default()).1,
        alarm: Alarm::default(),
        access_log: AccessLog::off(),
        counters: Arc::new(Counters::new(&[], &[])),
        pressure: Arc::default(),
        crowd: None,
        challenges: Challenges::default(),
        trusted_proxies: Arc::default(),
        https_public_port: 443,
        keep_alive: limits().idle,
        tls: None,
        passwords: Verifier::new().unwrap(),
        proxy_protocol: Arc::default(),
        epoch: Instant::now(),
        connections_max: 1,
    }
}

fn visitor() -> Visitor {
    let source: SocketAddr = ([192, 0, 2, 1], 1234).into();
    Visitor {
        from: forwarded::Downstream::new(source.ip(), false, Scheme::Https),
        ends: Ends { source, destination: source },
        entry: Arc::new(EntryPoint { name: "https".into(), tls: true }),
        session: None,
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(LocalSet::new().run_until(test));
}

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Enough for whatever a test says.
const ROOM: usize = 64 * 1024;
