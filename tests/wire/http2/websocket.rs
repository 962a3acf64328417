//! WebSockets by extended CONNECT (RFC 8441).

use std::future::poll_fn;
use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64ct::{Base64, Encoding};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};

use super::{before, client, run, whole};
use crate::wire::backend::Seen;
use crate::wire::http2_backend::{Http2Backend, Speech};
use crate::wire::{Backend, before_pools, configured, ok};

/// What a replica says that takes the handshake.
fn switched(seen: &Seen) -> Vec<u8> {
    let key = seen.field("sec-websocket-key").unwrap();
    let whole = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, whole.as_bytes());
    switched_by(&Base64::encode_string(hash.as_ref()))
}

/// The same with this proof of it.
fn switched_by(proof: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_websocket_is_asked_for_as_http1_does_it_and_carries_bytes_both_ways() {
    let backend = Backend::scripted(|seen, stream| {
        stream.write_all(&switched(seen)).unwrap();
        let mut all = Vec::new();
        // Half closed, it can still be answered.
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        false
    });
    let balancer = before(&backend);
    let content: Vec<u8> = (0..500_000u32).map(|number| (number % 251) as u8).collect();
    run(async {
        let client = client(&balancer).await;
        let (response, mut stream) = connect(&client, "websocket").await;
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
            assert!(!fields.contains_key(name), "{name}");
        }
        stream.send_data(Bytes::from(content.clone()), true).unwrap();
        assert!(whole(response).await.0 == content);
    });
    let seen = &backend.seen()[0];
    assert!(seen.head.starts_with("GET /ws HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.field("upgrade").as_deref(), Some("websocket"));
    assert_eq!(seen.field("connection").as_deref(), Some("upgrade"));
    assert_eq!(seen.field("sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(seen.field("sec-websocket-key").map(|key| key.len()), Some(24));
    assert_eq!(seen.field("transfer-encoding"), None);
    let line = balancer.access_logged("/ws");
    assert!(line.contains("\"request_bytes\":500000"), "{line}");
    assert!(line.contains("\"response_bytes\":500000"), "{line}");
}

#[test]
fn a_replica_that_speaks_http2_too_is_asked_as_the_client_asks() {
    let mut speech = Speech::default();
    speech.http2.enable_connect_protocol();
    let backend = Http2Backend::start(speech, |mut call| async move {
        let response = Response::builder().header("sec-websocket-protocol", "chat");
        let response = response.body(()).unwrap();
        let mut stream = call.respond.send_response(response, false).unwrap();
        let (all, _) = call.read().await;
        stream.send_data(all.into(), true).unwrap();
    });
    let settings = format!("[pools.web]\nservers = [\"{}\"]\nscheme = \"h2c\"", backend.address);
    let flags = ["--https", "127.0.0.1:0", "--access-log", "json"];
    let balancer = configured(&settings, &flags, []);
    balancer.logged("Replica ready");
    run(async {
        let client = client(&balancer).await;
        let (response, mut stream) = connect(&client, "websocket").await;
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in ["connection", "upgrade", "sec-websocket-accept"] {
            assert!(!fields.contains_key(name), "{name}");
        }
        stream.send_data(Bytes::from_static(b"to and fro"), true).unwrap();
        assert_eq!(whole(response).await.0, b"to and fro");
    });
    let (head, _) = &backend.heads()[0];
    assert_eq!((head.method().as_str(), head.uri().path()), ("CONNECT", "/ws"));
    assert!(!head.headers().contains_key("sec-websocket-key"));
    let line = balancer.access_logged("/ws");
    assert!(line.contains("\"end\":\"ok\""), "{line}");
}

#[test]
fn no_byte_is_passed_on_before_the_replica_has_switched() {
    let (told, heard) = mpsc::channel();
    let backend = Backend::scripted(move |seen, stream| {
        stream.set_nonblocking(true).unwrap();
        told.send(stream.read(&mut [0; 5]).is_err()).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(&switched(seen)).unwrap();
        let mut early = [0; 5];
        stream.read_exact(&mut early).unwrap();
        stream.write_all(&early).unwrap();
        false
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, mut stream) =
            client.clone().send_request(request("websocket"), false).unwrap();
        stream.send_data(Bytes::from_static(b"early"), false).unwrap();
        assert_eq!(whole(response.await.unwrap()).await.0, b"early");
    });
    assert!(heard.recv().unwrap());
}

#[test]
fn a_reset_of_either_end_ends_the_other() {
    let (told, ended) = mpsc::channel();
    let backend = Backend::scripted(move |seen, stream| {
        stream.write_all(&switched(seen)).unwrap();
        stream.write_all(b"hello").unwrap();
        told.send(stream.read(&mut [0]).map_or(true, |count| count == 0)).unwrap();
        false
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, mut stream) = connect(&client, "websocket").await;
        let mut body = response.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "hello");
        stream.send_reset(Reason::CANCEL);
        drop(body);
        let ended = tokio::task::spawn_blocking(move || ended.recv().unwrap()).await.unwrap();
        assert!(ended);
    });
    balancer.access_logged("\"end\":\"tunnel_reset\"");
}

#[test]
fn a_tunnel_that_ends_with_its_connection_is_logged_as_it_was() {
    let backend = Backend::scripted(|seen, stream| {
        stream.write_all(&switched(seen)).unwrap();
        stream.write_all(b"hello").unwrap();
        let _ = stream.read(&mut [0]);
        false
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, _stream) = connect(&client, "websocket").await;
        assert_eq!(response.into_body().data().await.unwrap().unwrap(), "hello");
    });
    let line = balancer.access_logged("/ws");
    assert!(line.contains("\"end\":\"tunnel_reset\""), "{line}");
    assert!(line.contains("\"response_bytes\":5"), "{line}");
}

#[test]
fn what_is_no_switch_is_no_tunnel() {
    for (answer, status, end) in [
        (ok("welcome"), 502, "bad_switch"),
        (switched_by("x"), 502, "bad_switch"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(), 502, "bad_switch"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec(), 403, "ok"),
    ] {
        let backend = Backend::answering(move |_| answer.clone());
        let balancer = before(&backend);
        run(async {
            let client = client(&balancer).await;
            let (response, mut stream) = connect(&client, "websocket").await;
            assert_eq!(response.status(), status);
            let reason = poll_fn(|context| stream.poll_reset(context)).await.unwrap();
            assert_eq!(reason, Reason::NO_ERROR, "nobody reads on");
        });
        let line = balancer.access_logged("/ws");
        for part in [format!("\"status\":{status}"), format!("\"end\":\"{end}\"")] {
            assert!(line.contains(&part), "{part} in {line}");
        }
    }
}

/// By the pool's own rule for a 502; but nobody is ill whose pages a client takes
/// for WebSockets.
#[test]
fn a_switch_that_is_none_counts_against_its_replica() {
    for (answer, is_ejected) in [(switched_by("x"), true), (ok("welcome"), false)] {
        let replicas =
            [Backend::answering(move |_| answer.clone()), Backend::answering(|_| ok(""))];
        let labels = "retry.on = \"502\"\nmax_fails = 1\npolicy = \"round_robin\"";
        let balancer = before_pools(&[("web", &replicas, labels)], &["--https", "127.0.0.1:0"]);
        run(async {
            let client = client(&balancer).await;
            for _ in 0..4 {
                let (response, _stream) = connect(&client, "websocket").await;
                assert_eq!(response.status(), 502);
            }
        });
        if is_ejected {
            balancer.logged("Replica ejected");
        } else {
            // It would have been told before the last answer.
            assert!(!balancer.has_logged("Replica ejected"));
        }
    }
}

#[test]
fn a_reset_ends_a_tunnel_whose_replica_takes_nothing() {
    let (finish, finished) = mpsc::channel::<()>();
    let finished = std::sync::Mutex::new(finished);
    let backend = Backend::scripted(move |seen, stream| {
        stream.write_all(&switched(seen)).unwrap();
        let _ = finished.lock().unwrap().recv();
        false
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, mut stream) = connect(&client, "websocket").await;
        let mut room = async || {
            // h2 ends a connection whose frames are tiny and not taken.
            stream.reserve_capacity(16 * 1024);
            poll_fn(|context| stream.poll_capacity(context)).await.unwrap().unwrap();
            stream.send_data(Bytes::from(vec![7; stream.capacity()]), false).unwrap();
        };
        // Nothing more is taken when all is full on the way to the replica.
        while tokio::time::timeout(Duration::from_millis(300), room()).await.is_ok() {}
        stream.send_reset(Reason::CANCEL);
        drop(response);
        let ended = tokio::task::spawn_blocking(move || {
            let line = balancer.access_logged("/ws");
            assert!(line.contains("\"end\":\"tunnel_reset\""), "{line}");
        });
        ended.await.unwrap();
    });
    drop(finish);
}

#[test]
fn no_other_protocol_is_spoken() {
    let backend = Backend::answering(|_| ok("never"));
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, _stream) = connect(&client, "connect-udp").await;
        assert_eq!(response.status(), 501);
    });
    assert!(backend.seen().is_empty());
}

fn request(protocol: &'static str) -> Request<()> {
    let mut request = Request::builder()
        .method("CONNECT")
        .uri("https://shop.example/ws")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request
}

async fn connect(
    client: &SendRequest<Bytes>,
    protocol: &'static str,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    let (response, stream) = client.clone().send_request(request(protocol), false).unwrap();
    (response.await.unwrap(), stream)
}
