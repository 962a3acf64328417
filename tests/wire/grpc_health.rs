//! The gRPC health protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};

use super::http2_backend::{Call, Http2Backend, Speech, by_tls};
use super::{Balancer, admin, configured, wait_for};
use crate::support::certificates::Authority;

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

/// A server that says this of itself, to questions about `shop.Cart` alone.
fn server(speech: Speech, says: &Arc<AtomicU8>) -> Http2Backend {
    let says = Arc::clone(says);
    Http2Backend::start(speech, move |mut call| {
        let says = Arc::clone(&says);
        async move {
            let (question, _) = call.read().await;
            let status = if question == b"\0\0\0\0\x0b\x0a\x09shop.Cart" { "0" } else { "5" };
            let message = [0, 0, 0, 0, 2, 8, says.load(Ordering::SeqCst)];
            answer(&mut call, &message, status);
        }
    })
}

fn answer(call: &mut Call, message: &[u8], status: &'static str) {
    let status = HeaderValue::from_static(status);
    let mut body = call.respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::copy_from_slice(message), false).unwrap();
    body.send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), status)])).unwrap();
}

fn before(server: &Http2Backend, labels: &str) -> Balancer {
    let settings = format!(
        "[pools.web]\nservers = [\"{}\"]\nhealth.interval = \"100ms\"\nhealth.fall = 2\n{labels}",
        server.address
    );
    configured(&settings, &[], [])
}

fn until_told(balancer: &Balancer, text: &str) {
    wait_for(|| admin(balancer, "/api/v1/status").text().contains(text).then_some(()));
}

#[test]
fn a_replica_serves_for_as_long_as_it_says_so() {
    let made = Authority::new("unknown").issue(&["a.example"]);
    for (speech, labels) in [
        (Speech::default(), "scheme = \"h2c\""),
        (by_tls(&made, &["h2"]), "scheme = \"https\"\nupstream.tls.insecure = true"),
    ] {
        let says = Arc::new(AtomicU8::new(NOT_SERVING));
        let server = server(speech, &says);
        let labels = format!("health.path = \"grpc:shop.Cart\"\n{labels}");
        let balancer = before(&server, &labels);
        until_told(&balancer, "says that it does not serve");
        until_told(&balancer, r#""state":"starting""#);
        says.store(SERVING, Ordering::SeqCst);
        until_told(&balancer, r#""state":"ready""#);
        says.store(NOT_SERVING, Ordering::SeqCst);
        until_told(&balancer, r#""state":"unhealthy""#);

        let (head, _) = &server.heads()[0];
        assert_eq!(head.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(head.headers()["te"], "trailers");
        assert_eq!(head.headers()["content-type"], "application/grpc");
    }
}

#[test]
fn why_a_check_failed_is_told() {
    let says = Arc::new(AtomicU8::new(SERVING));
    let server = server(Speech::default(), &says);
    let labels = "scheme = \"h2c\"\nhealth.path = \"grpc\"";
    until_told(&before(&server, labels), "does not know the service to check");

    let plain = Http2Backend::start(Speech::default(), |mut call| async move {
        let mut response = Response::new(());
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
        call.respond.send_response(response, true).unwrap();
    });
    until_told(&before(&plain, labels), "does not speak the gRPC health protocol");

    let lost = Http2Backend::start(Speech::default(), |mut call| async move {
        call.say(404, "not here");
    });
    until_told(&before(&lost, labels), "answered 404");
}

#[test]
fn plain_http_cannot_carry_it_which_is_told() {
    let says = Arc::new(AtomicU8::new(SERVING));
    let server = server(Speech::default(), &says);
    let balancer = before(&server, "health.path = \"grpc\"");
    until_told(&balancer, "which needs HTTP/2");
    assert!(server.heads().is_empty());
}
