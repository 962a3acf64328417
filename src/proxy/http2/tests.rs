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
use tokio::time::{Instant, sleep, timeout};

use crate::domain::http::forwarded::{self, Scheme};
use crate::domain::http::http2::frames::{flag, kind};
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

/// Its streams are served as soon as the last of it can be put into a buffer.
#[test]
fn an_answer_is_sent_to_its_end_though_its_client_is_slow_and_we_stop() {
    run(async {
        const STREAMS: u8 = 20;
        // A head that is refused at once: it names two hosts.
        let block = [0x82, 0x87, 0x84, 0x41, 1, b'a', 0x0f, 0x17, 1, b'b'];
        let (mut client, served) = begun(64).await;
        for number in 0..STREAMS {
            let mut head = frame(kind::HEADERS, 2 * number + 1, &block);
            head[4] = flag::END_HEADERS | flag::END_STREAM;
            client.write_all(&head).await.unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        served.resources.bell().stop();
        sleep(limits().farewell * 3).await;
        let mut ended = 0;
        let mut head = [0; 9];
        while client.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            client.read_exact(&mut payload).await.unwrap();
            ended += u8::from(head[3] == kind::DATA && head[4] & flag::END_STREAM != 0);
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
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        client.read_exact(&mut payload).await.unwrap();
        if head[3] == kind::GOAWAY {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap()).into();
        }
    }
}

/// A short frame, without flags.
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
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

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Enough for whatever a test says.
const ROOM: usize = 64 * 1024;
