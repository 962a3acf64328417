//! What the demo backend speaks beside plain HTTP/1.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, response};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::cli::support::{PATIENCE, Whoami};
use crate::support::believing::believing_anyone;

#[test]
fn it_speaks_http2_on_the_same_port() {
    let whoami = Whoami::start(&[]);
    let (head, body) = call(&whoami, get("http://shop.example/a?b=c"), &[]);
    assert_eq!(head.status, 200);
    let text = String::from_utf8(body.data).unwrap();
    for line in ["Hostname: me", "GET /a?b=c HTTP/2.0", "host: shop.example"] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    assert!(whoami.get("/").contains("HTTP/1.1\n"));
}

#[test]
fn a_grpc_call_gets_its_messages_back() {
    let whoami = Whoami::start(&[]);
    let messages: [&'static [u8]; 2] = [b"\0\0\0\0\x02hi", b"\0\0\0\0\x05there"];
    let (head, body) = call(&whoami, post("http://x/any.Service/Method"), &messages);
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["hostname"], "me");
    assert_eq!(body.data, messages.concat());
    assert_eq!(body.trailers.unwrap()["grpc-status"], "0");
}

#[test]
fn the_health_protocol_of_grpc_is_answered() {
    let health = "http://x/grpc.health.v1.Health/Check";
    for (options, expected) in [
        (&[][..], 1),
        (&["--grpc-health", "not_serving"], 2),
        (&["--health-path", "/up", "--unhealthy-after", "0"], 2),
    ] {
        let whoami = Whoami::start(options);
        let (head, body) = call(&whoami, post(health), &[b"\0\0\0\0\0"]);
        assert_eq!(head.status, 200, "{options:?}");
        assert_eq!(body.data, [0, 0, 0, 0, 2, 8, expected], "{options:?}");
        assert_eq!(body.trailers.unwrap()["grpc-status"], "0", "{options:?}");
        let (head, _) = call(&whoami, post("http://x/grpc.health.v1.Health/Watch"), &[]);
        assert_eq!(head.headers["grpc-status"], "12");
    }
}

#[test]
fn a_websocket_echoes() {
    let whoami = Whoami::start(&[]);
    let mut stream = whoami.send(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    // "Hello" and a close, under masks of RFC 6455, section 5.7, and of nothing.
    stream.write_all(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
    stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{told}");
    assert!(told.contains("\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{told}");
    assert!(told.contains("\x05Hello"), "{told}");
    let told = whoami.get("/ws");
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
}

#[test]
fn it_may_speak_tls() {
    let whoami = Whoami::start(&["--tls"]);
    // Whoever says nothing holds nobody up.
    let _silent = whoami.send("");
    for alpn in ["h2", "http/1.1"] {
        let mut stream = secured(&whoami, alpn);
        assert_eq!(stream.conn.alpn_protocol(), Some(alpn.as_bytes()));
        if alpn == "http/1.1" {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut told = String::new();
            stream.read_to_string(&mut told).unwrap();
            assert!(told.contains("Hostname: me\n"), "{told}");
        }
    }
}

fn get(target: &str) -> Request<()> {
    Request::get(target).body(()).unwrap()
}

fn post(target: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST).uri(target);
    request.header("content-type", "application/grpc+proto").body(()).unwrap()
}

/// What comes after a head.
struct Rest {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// One request by HTTP/2 with prior knowledge, with these pieces of a body.
fn call(
    whoami: &Whoami,
    request: Request<()>,
    pieces: &[&'static [u8]],
) -> (response::Parts, Rest) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answered = async {
        let stream = tokio::net::TcpStream::connect(whoami.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let whole = request.method() == Method::GET;
        let (response, mut body) = sender.send_request(request, whole).unwrap();
        if !whole {
            for piece in pieces {
                body.send_data(Bytes::from_static(piece), false).unwrap();
            }
            body.send_data(Bytes::new(), true).unwrap();
        }
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut data = Vec::new();
        while let Some(piece) = body.data().await {
            data.extend(piece.unwrap());
        }
        let trailers = body.trailers().await.unwrap();
        driver.abort();
        (head, Rest { data, trailers })
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, answered).await.unwrap() })
}

/// A connection by TLS that offers this protocol only and believes anybody.
fn secured(whoami: &Whoami, alpn: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = believing_anyone().with_no_client_auth();
    config.alpn_protocols = vec![alpn.into()];
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = whoami.send("");
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    StreamOwned::new(client, stream)
}
