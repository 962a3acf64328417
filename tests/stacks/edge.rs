//! compose/edge: an API behind https, with a certificate that is made at start.

#![expect(clippy::panic, reason = "a test stops where it fails")]

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::{connect, tls};
use crate::support::curl::curl;
use crate::support::engine::Engine;
use crate::support::http::Answer;
use crate::support::stack::Stack;

#[test]
fn the_five_replicas_take_turns_over_http1_and_http2() {
    let Some(engine) = Engine::find() else { return };
    let stack = start(&engine);

    for (flag, protocol) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let mut shares = BTreeMap::new();
        for _ in 0..10 {
            let answer = ask(&stack, &[flag, "https://localhost/healthcheck"]);
            assert!(answer.head.starts_with(protocol), "{answer:?}");
            *shares.entry(answer.host_name().unwrap().to_owned()).or_insert(0) += 1;
        }
        assert_eq!(shares.values().copied().collect::<Vec<_>>(), [2; 5], "{shares:?}");
        assert!(shares.into_keys().eq(stack.host_names("api")));
    }
    let refused = curl(stack.address("443").port(), &["https://localhost/"]).unwrap_err();
    assert!(refused.contains("self-signed"), "nobody vouches for it: {refused}");
}

#[test]
fn every_answer_carries_the_fields_that_browsers_want_and_text_is_compressed() {
    let Some(engine) = Engine::find() else { return };
    let stack = start(&engine);

    for flag in ["--http1.1", "--http2"] {
        let answer = ask(&stack, &[flag, "https://localhost/"]);
        for (name, value) in [
            ("strict-transport-security", "max-age=6000; includeSubdomains; preload"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-content-type-options", "nosniff"),
            ("x-xss-protection", "1; mode=block"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{name} of {answer:?}");
        }
        let seen = answer.body.to_ascii_lowercase();
        assert!(seen.contains("x-forwarded-proto: https"), "{seen}");

        let accepts = ["-H", "Accept-Encoding: gzip", flag, "https://localhost/?size=10KiB"];
        assert_eq!(ask(&stack, &accepts).field("content-encoding"), Some("gzip"));
        let accepts = [flag, "https://localhost/?size=10KiB"];
        assert_eq!(ask(&stack, &accepts).field("content-encoding"), None);

        let refused = ask(&stack, &[flag, "https://localhost/%00"]);
        assert_eq!(refused.status, 400);
        for answer in [answer, refused] {
            let told = format!("{}{}", answer.head, answer.body).to_ascii_lowercase();
            assert_eq!(answer.field("server"), None, "{told}");
            assert!(!told.contains(env!("CARGO_PKG_VERSION")), "{told}");
        }
    }
    let status = stack.admin("/api/v1/status").unwrap().body;
    assert!(status.contains(r#""problems":[]"#), "{status}");
}

#[tokio::test]
async fn a_websocket_echoes() {
    let Some(engine) = Engine::find() else { return };
    let stack = start(&engine);
    let line = connect(stack.address("443")).await.unwrap();
    let mut line = tls::shake_hands(&tls::connector(b"http/1.1"), line).await.unwrap();

    line.write_all(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(line.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The answer to that key, by RFC 6455, section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");

    // A text, masked with zeros.
    line.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut echo = [0; 4];
    line.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x02hi");
}

fn start(engine: &Engine) -> Stack {
    let stack = Stack::start(engine, "edge/docker-compose.yml", &[("api", 5)], Vec::new());
    stack.wait_until_ready(5);
    stack
}

fn ask(stack: &Stack, arguments: &[&str]) -> Answer {
    let port = stack.address("443").port();
    curl(port, &[&["-k"], arguments].concat()).unwrap_or_else(|why| panic!("{why}"))
}
