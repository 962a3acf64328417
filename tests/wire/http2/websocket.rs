//! WebSockets by extended CONNECT (RFC 8441).

use std::future::poll_fn;
use std::io::{Read, Write};
use std::sync::mpsc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};

use super::{before, client, run, whole};
use crate::wire::http2_backend::{Http2Backend, Speech};
use crate::wire::{Backend, configured, ok};

const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                          Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\
                          Sec-WebSocket-Protocol: chat\r\n\r\n";

#[test]
fn a_websocket_is_asked_for_as_http1_does_it_and_carries_bytes_both_ways() {
    let backend = Backend::scripted(|_, stream| {
        stream.write_all(SWITCHED).unwrap();
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
    let backend = Backend::scripted(move |_, stream| {
        stream.set_nonblocking(true).unwrap();
        told.send(stream.read(&mut [0; 5]).is_err()).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.write_all(SWITCHED).unwrap();
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
    let backend = Backend::scripted(move |_, stream| {
        stream.write_all(SWITCHED).unwrap();
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
    let backend = Backend::scripted(|_, stream| {
        stream.write_all(SWITCHED).unwrap();
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
    for (answer, status) in [
        (ok("welcome"), 502),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec(), 403),
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
    }
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
