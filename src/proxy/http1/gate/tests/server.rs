//! The gate under the server that it was made for.

use std::cell::RefCell;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refusal_is_answered_by_the_service_and_the_connection_closes() {
    let head = b"GET /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (answer, seen) = exchange(&[head, GET].concat(), Service::Answers).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nlength_with_encoding"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    assert_eq!(seen, ["/"], "the service saw the harmless request");
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_answered_with_408() {
    let (mut client, gate, handle) = gate();
    let seen = RefCell::new(Vec::new());
    let serve = serve(gate, handle, Service::Answers, &seen);
    let talk = async {
        client.write_all(&GET[..9]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::join!(serve, talk).1;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let stream = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n0\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nyz\
        GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (answer, seen) = exchange(stream.as_bytes(), Service::Answers).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert_eq!(seen, ["/a x", "/b yz", "/c"]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_closed_when_it_idles() {
    let (mut client, gate, handle) = gate();
    let seen = RefCell::new(Vec::new());
    let serve = serve(gate, handle, Service::Answers, &seen);
    let talk = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.write_all(GET).await.unwrap();
        }
        let answered = Instant::now();
        client.read_to_end(&mut Vec::new()).await.unwrap();
        answered.elapsed()
    };
    assert_eq!(tokio::join!(serve, talk).1, Duration::from_secs(75));
    assert_eq!(seen.into_inner().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_framing_fails_in_the_service() {
    let stream = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n5\nhello\r\n0\r\n\r\n";
    let (answer, seen) = exchange(stream.as_bytes(), Service::Answers).await;
    assert!(answer.ends_with("bad_chunk_size"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(seen, ["/a failed"]);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_becomes_a_tunnel_for_early_and_late_bytes() {
    let (mut client, gate, handle) = gate();
    let seen = RefCell::new(Vec::new());
    let serve = serve(gate, handle, Service::Switches, &seen);
    let talk = async {
        client.write_all(&[UPGRADE, b"early\n"].concat()).await.unwrap();
        let mut answer = vec![0; 1_000];
        let count = client.read(&mut answer).await.unwrap();
        client.write_all(b"late\0").await.unwrap();
        client.shutdown().await.unwrap();
        String::from_utf8(answer[..count].to_vec()).unwrap()
    };
    let ((mut gate, early), answer) = tokio::join!(serve, talk);
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    let mut bytes = early.to_vec();
    gate.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"early\nlate\0");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_stops_its_request() {
    let (mut client, gate, handle) = gate();
    let seen = RefCell::new(Vec::new());
    let talk = async {
        client.write_all(GET).await.unwrap();
        tokio::time::sleep(Duration::from_secs(500)).await;
        client.shutdown().await.unwrap();
    };
    let began = Instant::now();
    tokio::join!(serve(gate, handle, Service::Hangs, &seen), talk);
    assert_eq!(seen.into_inner(), ["/"]);
    assert_eq!(began.elapsed(), Duration::from_secs(500));
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_hears_the_client_out() {
    for (field, status) in [("Content-Length: 30000", "200 OK"), ("X : y", "400 Bad Request")] {
        let (mut client, server) = duplex(1_024);
        let (gate, handle) = Gate::new(server, Limits::default());
        let seen = RefCell::new(Vec::new());
        let serve = async {
            let (gate, _early) = serve(gate, handle, Service::AnswersEarly, &seen).await;
            gate.close().await;
        };
        let talk = async {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&[0; 30_000]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::join!(serve, talk).1;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    }
}

#[derive(Clone, Copy)]
enum Service {
    /// After the whole request, with its verdict.
    Answers,
    AnswersEarly,
    Switches,
    Hangs,
}

/// Sends a whole stream, and returns all that came back and what the service saw.
async fn exchange(stream: &[u8], service: Service) -> (String, Vec<String>) {
    let (mut client, gate, handle) = gate();
    client.write_all(stream).await.unwrap();
    let seen = RefCell::new(Vec::new());
    let serve = async {
        let (gate, _early) = serve(gate, handle, service, &seen).await;
        gate.close().await;
    };
    let mut answer = String::new();
    let (_served, read) = tokio::join!(serve, async { client.read_to_string(&mut answer).await });
    read.unwrap();
    (answer, seen.into_inner())
}

async fn serve(
    gate: Gate<DuplexStream>,
    handle: GateHandle,
    service: Service,
    seen: &RefCell<Vec<String>>,
) -> (Gate<DuplexStream>, Bytes) {
    let service = service_fn(|request: Request<Incoming>| {
        let turn = handle.next().unwrap();
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer(request, turn, &handle, service, seen).await) }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(gate), service);
    // Leaving in the middle of an exchange is an error to hyper.
    let _end = (&mut connection).await;
    let parts = connection.into_parts();
    (parts.io.into_inner(), parts.read_buf)
}

async fn answer(
    request: Request<Incoming>,
    turn: Turn,
    handle: &GateHandle,
    service: Service,
    seen: &RefCell<Vec<String>>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let index = seen.borrow().len();
    seen.borrow_mut().push(path);
    let mut response = Response::new(Full::default());
    match (service, turn.verdict) {
        (Service::Switches, _) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response
                .headers_mut()
                .insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
            turn.tunnel();
        }
        (Service::Hangs, _) => std::future::pending().await,
        (_, Err(refusal)) => {
            *response.status_mut() = StatusCode::from_u16(refusal.status()).unwrap();
            *response.body_mut() = refusal.reason().into();
        }
        (Service::AnswersEarly, Ok(_)) => {}
        (Service::Answers, Ok(_)) => match request.into_body().collect().await {
            Ok(body) => {
                let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                if !text.is_empty() {
                    seen.borrow_mut()[index] += &format!(" {text}");
                }
            }
            Err(_) => {
                seen.borrow_mut()[index] += " failed";
                *response.body_mut() = handle.fault().unwrap().reason().into();
            }
        },
    }
    response
}
