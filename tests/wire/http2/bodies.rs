//! Bodies and trailers both ways, and how streams end before their time.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request};

use super::{ask, before, client, get, run, whole};
use crate::wire::{Backend, ok};

#[test]
fn a_body_without_a_length_comes_in_chunks_with_its_trailers() {
    let backend = Backend::answering(|_| ok("thanks"));
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut request = post("/up");
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let (response, mut body) = client.clone().send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"first"), false).unwrap();
        body.send_data(Bytes::from_static(b"second"), false).unwrap();
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
        body.send_trailers(trailers).unwrap();
        assert_eq!(whole(response.await.unwrap()).await.0, b"thanks");
    });
    let seen = &backend.seen()[0];
    assert_eq!(seen.field("transfer-encoding").as_deref(), Some("chunked"));
    let body = String::from_utf8_lossy(&seen.body);
    assert!(body.contains("first") && body.contains("second"), "{body}");
    assert!(body.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{body}");
}

#[test]
fn trailers_that_are_too_long_break_off_the_request_and_say_so() {
    for length in [17 * 1024, 40 * 1024] {
        let backend = Backend::answering(|_| ok("taken for whole"));
        let balancer = before(&backend);
        run(async {
            let client = client(&balancer).await;
            let mut request = post("/up");
            request.headers_mut().insert("trailer", "x-sum, x-long".parse().unwrap());
            let (response, mut body) = client.clone().send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"data"), false).unwrap();
            let long = "x".repeat(length);
            let fields = [("x-sum", "7"), ("x-long", &long)];
            let fields =
                fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            body.send_trailers(HeaderMap::from_iter(fields)).unwrap();
            if length < CUT_BY_THE_LEDGER {
                let response = response.await.unwrap();
                assert_eq!(response.status(), 400);
            } else {
                // Its connection ends, and may not get to say why.
                response.await.unwrap_err();
            }
        });
        if length < CUT_BY_THE_LEDGER {
            balancer.access_logged("\"end\":\"trailers_too_long\"");
        } else {
            balancer.logged("HTTP/2 connection closed: it sends trailers that are too long");
        }
        assert!(backend.seen().is_empty(), "no replica took it for whole");
    }
}

#[test]
fn a_large_body_passes_both_ways_whatever_the_windows() {
    let backend = Backend::answering(|seen| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len()).into_bytes();
        answer.extend_from_slice(&seen.body);
        answer
    });
    let balancer = before(&backend);
    let content: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    run(async {
        let client = client(&balancer).await;
        let mut request = post("/echo");
        request.headers_mut().insert("content-length", content.len().into());
        let (response, mut body) = client.clone().send_request(request, false).unwrap();
        body.send_data(Bytes::from(content.clone()), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], content.len().to_string());
        assert!(whole(response).await.0 == content);
    });
}

#[test]
fn trailers_of_a_replica_reach_the_client() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
            .to_vec()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (body, trailers) = whole(ask(&client, get("/")).await.await.unwrap()).await;
        assert_eq!(body, b"ok");
        assert_eq!(trailers.unwrap()["x-sum"], "7");
    });
}

#[test]
fn trailers_come_though_the_answer_has_used_up_the_window() {
    let backend = Backend::answering(|_| {
        let content = "x".repeat(65_535);
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{content}\r\n0\r\n\
             X-Sum: 7\r\nConnection: close\r\n\r\n"
        )
        .into_bytes()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut body = ask(&client, get("/")).await.await.unwrap().into_body();
        let mut came = 0;
        // No window is given back.
        while let Some(data) = body.data().await {
            came += data.unwrap().len();
        }
        assert_eq!(came, 65_535);
        let trailers = tokio::time::timeout(Duration::from_secs(10), body.trailers()).await;
        let trailers = trailers.expect("they need no window").unwrap().unwrap();
        assert_eq!(trailers["x-sum"], "7");
        assert!(!trailers.contains_key("connection"));
    });
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let backend = Backend::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf".to_vec()
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut body = ask(&client, get("/")).await.await.unwrap().into_body();
        let failed = loop {
            match body.data().await.expect("no end") {
                Ok(data) => assert_eq!(&data[..], b"half"),
                Err(failed) => break failed,
            }
        };
        assert_eq!(failed.reason(), Some(Reason::INTERNAL_ERROR));
    });
    balancer.access_logged("\"end\":\"upstream_broke_off\"");
}

#[test]
fn a_reset_ends_what_the_replica_is_doing() {
    let (told, ended) = mpsc::channel();
    let backend = Backend::scripted(move |seen, stream| {
        if seen.head.starts_with("GET /begun") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
        }
        let closed = stream.read(&mut [0]).is_ok_and(|count| count == 0);
        let _ = told.send(closed);
        false
    });
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let (response, mut request) = client.clone().send_request(get("/silent"), true).unwrap();
        while backend.seen().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        request.send_reset(Reason::CANCEL);
        drop(response);
        let response = ask(&client, get("/begun")).await.await.unwrap();
        drop(response);
        assert_eq!([next(&ended).await, next(&ended).await], [true, true]);
    });
    let line = balancer.access_logged("/silent");
    assert!(line.contains("\"end\":\"client_closed\""), "{line}");
    let line = balancer.access_logged("/begun");
    assert!(line.contains("\"end\":\"client_closed\""), "{line}");
}

#[test]
fn an_answer_that_needs_no_more_of_the_body_stops_the_upload() {
    let backend = Backend::answering(|_| ok("never"));
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut request = post("/up");
        request.headers_mut().insert("host", "other.example".parse().unwrap());
        let (response, mut body) = client.clone().send_request(request, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 400);
        assert!(!whole(response).await.0.is_empty(), "it is given whole");
        let reason = std::future::poll_fn(|context| body.poll_reset(context)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
    });
}

#[test]
fn a_client_that_waits_for_100_is_told_when_its_body_is_wanted() {
    let backend = Backend::answering(|seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    let balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let mut request = post("/up");
        request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        request.headers_mut().insert("content-length", 4.into());
        let (mut response, mut body) = client.clone().send_request(request, false).unwrap();
        let told = std::future::poll_fn(|context| response.poll_informational(context)).await;
        assert_eq!(told.unwrap().unwrap().status(), 100);
        body.send_data(Bytes::from_static(b"sent"), true).unwrap();
        assert_eq!(whole(response.await.unwrap()).await.0, b"sent");
    });
    assert_eq!(backend.seen()[0].field("expect"), None);
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://shop.example{path}")).body(()).unwrap()
}

/// What a script tells, once it does.
async fn next(told: &mpsc::Receiver<bool>) -> bool {
    loop {
        match told.try_recv() {
            Ok(closed) => return closed,
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// `x` takes seven bits in Huffman's code.
const CUT_BY_THE_LEDGER: usize = 16 * 1024 * 8 / 7;

const LOOK_EVERY: Duration = Duration::from_millis(5);

#[test]
fn whoever_is_served_when_we_stop_is_served_to_the_end() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::scripted(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"whole").is_ok()
    });
    let mut balancer = before(&backend);
    run(async {
        let client = client(&balancer).await;
        let response = ask(&client, get("/")).await.await.unwrap();
        balancer.terminate();
        // We say that we leave before we have left.
        while client
            .clone()
            .ready()
            .await
            .is_ok_and(|mut it| it.send_request(get("/"), true).is_ok())
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        go.send(()).unwrap();
        assert_eq!(whole(response).await.0, b"halfwhole");
    });
    assert_eq!(balancer.exit_code(), Some(0));
}
