//! HTTP/1 and HTTP/2 on one clear port.

use std::time::{Duration, Instant};

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Backend, Client, before, get, ok};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn http_1_is_served_wherever_its_first_bytes_end() {
    let balancer = before(&Backend::answering(|_| ok("")));
    for head in ["GET / HTTP/1.1", "POST / HTTP/1.1", "PROPFIND / HTTP/1.1"] {
        let request = format!("{head}\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n");
        let mut client = Client::connect(balancer.http);
        for byte in request.bytes() {
            client.send([byte]);
        }
        assert_eq!(client.answer().status, 200, "{head}");
        assert_eq!(client.send(get("/again")).answer().status, 200);
    }
}

#[test]
fn a_client_with_prior_knowledge_is_served_by_http_2() {
    let backend = Backend::answering(|_| ok("hi"));
    let balancer = before(&backend);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(balancer.http).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for path in ["/first", "/second"] {
            let request = Request::get(format!("http://shop.example{path}")).body(()).unwrap();
            let (answer, _) =
                client.clone().ready().await.unwrap().send_request(request, true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "hi");
        }
    });
    let seen = backend.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].field("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn http_2_is_known_wherever_its_first_bytes_end() {
    let balancer = before(&Backend::answering(|_| ok("")));
    // `GET http /` in HPACK's static table, and `:authority: a`, as one frame
    // after empty settings.
    let asked = b"\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    let all = [PREFACE, asked].concat();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for at in 1..all.len() {
            let mut client = TcpStream::connect(balancer.http).await.unwrap();
            client.set_nodelay(true).unwrap();
            client.write_all(&all[..at]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
            client.write_all(&all[at..]).await.unwrap();
            let status = tokio::time::timeout(Duration::from_secs(10), status(&mut client)).await;
            // `:status: 200` of the static table.
            assert_eq!(status.unwrap(), 0x88, "{at}");
        }
    });
}

/// The first byte of the first head that comes.
async fn status(client: &mut TcpStream) -> u8 {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            return payload[0];
        }
    }
}

#[test]
fn a_preface_that_breaks_off_is_a_request_that_is_refused() {
    let balancer = before(&Backend::answering(|_| ok("")));
    // Once its line is whole, it is a version that HTTP/1 does not have.
    for (end, status) in [(4, 400), (10, 400), (18, 505), (23, 505)] {
        let mut client = Client::connect(balancer.http);
        client.send(&PREFACE[..end]);
        assert_eq!(client.send("X\r\n\r\n").answer().status, status, "{end}");
    }
}

#[test]
fn silent_connections_do_not_keep_us_from_stopping() {
    let mut balancer = before(&Backend::answering(|_| ok("")));
    let _silent = Client::connect(balancer.http);
    let mut partial = Client::connect(balancer.http);
    partial.send(&PREFACE[..10]);
    let began = Instant::now();
    balancer.terminate();
    assert_eq!(balancer.exit_code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
