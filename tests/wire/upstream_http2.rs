//! HTTP/2 to replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::sync::Notify;

use super::http2_backend::{
    Call, FAILED, GOAWAY, HTTP_1_1_REQUIRED, Http2Backend, REFUSED, Speech, rude,
};
use super::{Balancer, Client, before_servers, get, wait_for};

const H2C: &str = "scheme = \"h2c\"\nmax_fails = 0\n";

/// One that speaks HTTP/2 only by what it is asked, so that it may hold calls up.
fn held(speech: Speech) -> (Http2Backend, Arc<AtomicUsize>, Arc<Notify>) {
    let (waiting, go) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let (counted, until) = (Arc::clone(&waiting), Arc::clone(&go));
    let backend = Http2Backend::start(speech, move |mut call| {
        let (counted, until) = (Arc::clone(&counted), Arc::clone(&until));
        async move {
            let let_go = until.notified();
            counted.fetch_add(1, Ordering::SeqCst);
            let_go.await;
            call.say(200, "late");
        }
    });
    (backend, waiting, go)
}

fn asking(balancer: &Balancer, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(balancer.http);
        client.send(get("/"));
        client
    };
    (0..count).map(ask).collect()
}

#[test]
fn one_connection_of_a_worker_carries_many_requests() {
    let (backend, waiting, go) = held(Speech::default());
    let balancer = before_servers(&[backend.address], H2C);
    let mut clients = asking(&balancer, 60);
    wait_for(|| (waiting.load(Ordering::SeqCst) == 60).then_some(()));
    // There are two workers.
    assert!(backend.connections() <= 2, "{} connections", backend.connections());
    go.notify_waiters();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("transfer-encoding").is_some()), (200, true));
    }
}

#[test]
fn a_connection_has_as_many_streams_as_the_replica_allows() {
    let mut speech = Speech::default();
    speech.http2.max_concurrent_streams(2);
    let (backend, waiting, go) = held(speech);
    let balancer = before_servers(&[backend.address], H2C);
    let mut clients = asking(&balancer, 9);
    wait_for(|| (waiting.load(Ordering::SeqCst) == 9).then_some(()));
    let mut streams = [0; 9];
    for (_, connection) in backend.heads() {
        streams[connection] += 1;
    }
    assert!(streams.iter().all(|count| *count <= 2), "{streams:?}");
    go.notify_waiters();
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    // Others use those places again.
    let before = backend.connections();
    let mut clients = asking(&balancer, 4);
    wait_for(|| (waiting.load(Ordering::SeqCst) == 13).then_some(()));
    go.notify_waiters();
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    assert!(backend.connections() <= before + 2, "{} connections", backend.connections());
}

#[test]
fn the_request_is_as_http_2_has_it() {
    let backend = Http2Backend::saying(Speech::default(), "hi");
    let balancer = before_servers(&[backend.address], H2C);
    let request = "GET /a%20b?c=d HTTP/1.1\r\nHost: shop.example:8080\r\nTE: trailers\r\n\
                   Connection: TE, keep-alive, X-Gone\r\nX-Gone: 1\r\nCookie: a=1; b=2\r\n\
                   Keep-Alive: timeout=5\r\n\r\n";
    let answer = Client::connect(balancer.http).send(request).answer();
    assert_eq!(answer.status, 200, "{}", answer.head);
    let (head, _) = &backend.heads()[0];
    assert_eq!(head.uri(), "http://shop.example:8080/a%20b?c=d");
    let field = |name: &str| head.headers().get(name).map(|it| it.to_str().unwrap());
    assert_eq!((field("te"), field("cookie")), (Some("trailers"), Some("a=1; b=2")));
    assert_eq!(field("x-forwarded-for"), Some("127.0.0.1"));
    for name in ["host", "connection", "keep-alive", "x-gone", "transfer-encoding", "upgrade"] {
        assert_eq!(field(name), None, "{name}");
    }
}

#[test]
fn a_post_that_was_not_looked_at_goes_to_another_replica() {
    for frames in [GOAWAY, REFUSED] {
        let (address, heads) = rude(frames, false);
        let well = Http2Backend::start(Speech::default(), |mut call| async move {
            let (body, _) = call.read().await;
            call.say(if body == b"sum" { 200 } else { 500 }, "well");
        });
        let balancer = before_servers(&[address, well.address], H2C);
        for _ in 0..4 {
            let answer = Client::connect(balancer.http).send(post("sum")).answer();
            assert_eq!(answer.status, 200, "{frames:?}");
        }
        assert!(heads.load(Ordering::Relaxed) > 0, "it was asked too");
    }
}

#[test]
fn a_lone_replica_that_refuses_a_stream_is_asked_again() {
    let calls = AtomicUsize::new(0);
    let backend = Http2Backend::start(Speech::default(), move |mut call| {
        let number = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            if number < 3 {
                call.respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                call.say(200, "at last");
            }
        }
    });
    let balancer = before_servers(&[backend.address], H2C);
    let began = Instant::now();
    assert_eq!(Client::connect(balancer.http).send(post("sum")).answer().status, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_stream_that_is_reset_goes_on_elsewhere_only_if_that_does_no_harm() {
    for (frames, ends) in [(FAILED, false), (&[][..], true)] {
        let (address, heads) = rude(frames, ends);
        let well = Http2Backend::saying(Speech::default(), "well");
        let balancer = before_servers(&[address, well.address], H2C);
        for _ in 0..4 {
            let answer = Client::connect(balancer.http).send(get("/")).answer();
            assert_eq!(answer.status, 200, "{frames:?}");
        }
        let met = heads.load(Ordering::Relaxed);
        assert!(met > 0, "it was asked too");
        // It is passed over for a moment each time.
        let failed = wait_for(|| {
            let answer = Client::connect(balancer.http).send(post("sum")).answer();
            (answer.status != 200).then_some(answer.status)
        });
        assert_eq!((failed, heads.load(Ordering::Relaxed)), (502, met + 1));
        assert!(balancer.access_logged(" 502 ").contains("upstream_reset"));
    }
}

#[test]
fn a_replica_of_h2c_that_requires_http_1_1_has_failed() {
    let (address, heads) = rude(HTTP_1_1_REQUIRED, false);
    let balancer = before_servers(&[address], H2C);
    let answer = Client::connect(balancer.http).send(post("sum")).answer();
    assert_eq!((answer.status, heads.load(Ordering::Relaxed)), (502, 1));
    assert!(balancer.access_logged(" 502 ").contains("upstream_reset"));
}

#[test]
fn bodies_pass_both_ways_through_small_windows_with_their_trailers() {
    let mut speech = Speech::default();
    speech.http2.initial_window_size(1_000).initial_connection_window_size(70_000);
    let backend = Http2Backend::start(speech, |mut call| async move {
        let (body, trailers) = call.read().await;
        echo(&mut call, body, trailers).await;
    });
    let balancer = before_servers(&[backend.address], H2C);
    let body: String = (0..300_000).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let mut client = Client::connect(balancer.http);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n");
    client.send("Trailer: X-Sum\r\n\r\n");
    client.send(format!("{:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n", body.len()));
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let (data, trailers) = text.rsplit_once("0\r\n").unwrap();
    assert_eq!(trailers.to_lowercase(), "x-sum: 7\r\n\r\n");
    assert_eq!(unchunked(data), body);
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let gone = Arc::<AtomicUsize>::default();
    let (counted, go) = (Arc::clone(&gone), Arc::<Notify>::default());
    let until = Arc::clone(&go);
    let backend = Http2Backend::start(Speech::default(), move |mut call| {
        let (counted, until) = (Arc::clone(&counted), Arc::clone(&until));
        async move {
            let response = Response::new(());
            let mut body = call.respond.send_response(response, false).unwrap();
            body.send_data(Bytes::from_static(b"begun"), false).unwrap();
            tokio::select! {
                _ = std::future::poll_fn(|context| body.poll_reset(context)) => {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                () = until.notified() => body.send_data(Bytes::from_static(b"ended"), true).unwrap(),
            }
        }
    });
    let balancer = before_servers(&[backend.address], H2C);
    let mut clients = asking(&balancer, 8);
    for client in &mut clients {
        client.until("begun");
    }
    clients.truncate(4);
    wait_for(|| (gone.load(Ordering::SeqCst) == 4).then_some(()));
    go.notify_waiters();
    for client in &mut clients {
        client.until("ended");
    }
    assert!(backend.connections() <= 2);
}

#[test]
fn an_answer_that_breaks_off_is_cut_for_the_client() {
    // The second one says that nothing is wrong, and yet does not end its answer.
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        let backend = Http2Backend::start(Speech::default(), move |mut call| async move {
            let mut body = call.respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"begun"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            body.send_reset(reason);
        });
        let balancer = before_servers(&[backend.address], H2C);
        let heard = Client::connect(balancer.http).send(get("/")).rest();
        let heard = String::from_utf8(heard).unwrap();
        assert!(heard.contains("begun") && !heard.ends_with("0\r\n\r\n"), "{heard}");
        assert!(balancer.access_logged("GET /").contains("upstream_broke_off"));
    }
}

#[test]
fn clients_that_take_nothing_hold_up_no_others_of_the_same_connection() {
    let said = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&said);
    let backend = Http2Backend::start(Speech::default(), move |mut call| {
        let counted = Arc::clone(&counted);
        async move {
            if call.request.uri().path() != "/endless" {
                return call.say(200, "small");
            }
            let mut body = call.respond.send_response(Response::new(()), false).unwrap();
            loop {
                body.reserve_capacity(PIECE.len());
                let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                let Some(Ok(room)) = room else { return };
                let piece = Bytes::from_static(&PIECE[..room.min(PIECE.len())]);
                counted.fetch_add(piece.len(), Ordering::SeqCst);
                if body.send_data(piece, false).is_err() {
                    return;
                }
            }
        }
    });
    let balancer = before_servers(&[backend.address], H2C);
    let mut stalled: Vec<_> = (0..16).map(|_| Client::connect(balancer.http)).collect();
    for client in &mut stalled {
        client.send(get("/endless"));
        client.until("200");
    }
    let mut before = (0, Instant::now());
    wait_for(|| {
        let now = said.load(Ordering::SeqCst);
        if now != before.0 {
            before = (now, Instant::now());
        }
        (before.1.elapsed() > Duration::from_millis(500)).then_some(())
    });
    for _ in 0..16 {
        let mut client = Client::connect(balancer.http);
        client.send(get("/"));
        client.until("small");
    }
    assert!(backend.connections() <= 2, "they share it");
}

static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

#[test]
fn a_replica_that_resets_requests_is_ejected_for_it() {
    let (ill, heads) = rude(FAILED, false);
    let well = Http2Backend::saying(Speech::default(), "well");
    let balancer = before_servers(&[ill, well.address], "scheme = \"h2c\"\nmax_fails = 3\n");
    let mut client = Client::connect(balancer.http);
    let told = wait_for(|| {
        assert_eq!(client.send(get("/")).answer().status, 200);
        balancer.has_logged("Replica ejected").then(|| balancer.logged("Replica ejected"))
    });
    assert!(told.contains("reason=\"reset\"") && told.contains(&ill.to_string()), "{told}");
    assert_eq!(heads.load(Ordering::Relaxed), 3, "each request went there once");
}

#[test]
fn a_replica_whose_streams_are_all_in_use_is_waited_for() {
    let mut speech = Speech::default();
    speech.http2.max_concurrent_streams(1);
    let (backend, waiting, go) = held(speech);
    let balancer = before_servers(&[backend.address], H2C);
    // More than both workers may have connections to it.
    let mut clients = asking(&balancer, 180);
    wait_for(|| (waiting.load(Ordering::SeqCst) >= 128).then_some(()));
    wait_for(|| {
        go.notify_waiters();
        (waiting.load(Ordering::SeqCst) == 180).then_some(())
    });
    go.notify_waiters();
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

#[test]
fn the_end_of_an_upload_needs_no_window() {
    let mut speech = Speech::default();
    speech.http2.initial_window_size(4);
    let backend = Http2Backend::start(speech, |mut call| async move {
        let body = call.request.body_mut();
        let mut heard = 0;
        // It gives no window back.
        while let Some(Ok(data)) = body.data().await {
            heard += data.len();
        }
        call.say(if heard == 4 { 200 } else { 500 }, "all of it");
    });
    let balancer = before_servers(&[backend.address], H2C);
    let mut client = Client::connect(balancer.http);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsum!\r\n");
    wait_for(|| (!backend.heads().is_empty()).then_some(()));
    assert_eq!(client.send("0\r\n\r\n").answer().status, 200);
}

#[test]
fn an_answer_may_come_before_the_body_that_it_does_not_want() {
    // What it does not read is reset without an error, once it has answered.
    let backend = Http2Backend::saying(Speech::default(), "enough");
    let balancer = before_servers(&[backend.address], H2C);
    let mut client = Client::connect(balancer.http);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    let answer = client.send(head).try_send(vec![b'x'; 100_000]).answer();
    assert_eq!((answer.status, answer.text().contains("enough")), (200, true));
}

#[test]
fn who_does_not_speak_http_2_is_sent_nothing_of_a_request() {
    let backend = super::Backend::answering(|_| super::ok("HTTP/1.1 it is"));
    let well = Http2Backend::saying(Speech::default(), "well");
    let balancer = before_servers(&[backend.address, well.address], H2C);
    for _ in 0..4 {
        let answer = Client::connect(balancer.http).send(post("sum")).answer();
        assert_eq!((answer.status, answer.text().contains("well")), (200, true));
    }
    assert!(backend.seen().iter().all(|seen| !seen.head.contains("POST")));
    let told = balancer.logged("does not begin as HTTP/2 does");
    assert!(told.contains("lb.scheme") && told.contains(&backend.address.to_string()), "{told}");
}

#[test]
fn a_port_for_checks_alone_is_asked_in_http_1_1() {
    let backend = Http2Backend::saying(Speech::default(), "hi");
    let checks = super::Backend::answering(|_| super::ok("up"));
    let labels = "health.path = \"/up\"\nhealth.interval = \"100ms\"\n";
    let labels = format!("{H2C}{labels}health.port = {}\n", checks.address.port());
    let balancer = before_servers(&[backend.address], &labels);
    wait_for(|| {
        (Client::connect(balancer.http).send(get("/")).answer().status == 200).then_some(())
    });
    assert!(checks.seen().iter().any(|seen| seen.head.starts_with("GET /up HTTP/1.1\r\n")));
}

#[test]
fn another_protocol_than_a_websocket_is_refused_where_replicas_speak_http_2_alone() {
    let mut speech = Speech::default();
    speech.http2.enable_connect_protocol();
    let backend = Http2Backend::saying(speech, "hi");
    let balancer = before_servers(&[backend.address], H2C);
    let request = "GET /e HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    assert_eq!(Client::connect(balancer.http).send(request).answer().status, 502);
    assert!(balancer.access_logged("/e").contains("upgrade_unsupported"));
    assert_eq!(backend.heads().len(), 0);
}

#[test]
fn a_proxy_header_stands_before_http_2_and_speaks_of_one_request() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, hears) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let heard = heard.clone();
            thread::spawn(move || {
                let mut begin = [0; 60];
                if stream.read_exact(&mut begin).is_ok() {
                    let _ = stream.write_all(b"nonsense");
                    let _ = heard.send(begin.to_vec());
                }
            });
        }
    });
    let balancer = before_servers(&[address], &format!("{H2C}proxy_protocol = \"v1\"\nhold='0s'"));
    let mut client = Client::connect(balancer.http);
    client.send(get("/"));
    let begin = String::from_utf8(hears.recv_timeout(Duration::from_secs(10)).unwrap()).unwrap();
    let (line, rest) = begin.split_once("\r\n").unwrap();
    assert!(line.starts_with("PROXY TCP4 127.0.0.1 "), "{begin:?}");
    assert!("PRI * HTTP/2.0".starts_with(&rest[..rest.len().min(14)]), "{begin:?}");
}

async fn echo(call: &mut Call, body: Vec<u8>, trailers: Option<HeaderMap>) {
    let mut response = Response::new(());
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    let mut stream = call.respond.send_response(response, false).unwrap();
    stream.send_data(body.into(), false).unwrap();
    stream.send_trailers(trailers.unwrap()).unwrap();
}

fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let (piece, rest) = rest.split_at(usize::from_str_radix(length, 16).unwrap());
        whole += piece;
        text = rest.strip_prefix("\r\n").unwrap();
    }
    whole
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
