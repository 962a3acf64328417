//! WebSockets to replicas that speak HTTP/2 (RFC 8441).

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use http::{Method, Response};

use super::http2_backend::{Call, Http2Backend, Speech, by_tls};
use super::leaving::GOING_AWAY;
use super::{Balancer, Client, before_servers, configured, get};
use crate::support::certificates::Authority;

const H2C: &str = "scheme = \"h2c\"\nmax_fails = 0\n";

/// The sample of RFC 6455, section 1.3.
const ASK: &str = "GET /ws?a=b HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Protocol: chat\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn speech() -> Speech {
    let mut speech = Speech::default();
    speech.http2.enable_connect_protocol();
    speech
}

/// What came by a WebSocket, and whether it broke off.
type Heard = (Vec<u8>, Option<Reason>);

/// Accepts a WebSocket and sends back what comes, and when that ends `last`; tells
/// what has come. Any other request is answered by "hi".
fn echoing(speech: Speech, last: &'static str) -> (Http2Backend, Receiver<Heard>) {
    let (tell, told) = channel();
    let backend = Http2Backend::start(speech, move |mut call| {
        let tell = tell.clone();
        async move {
            if call.request.method() == Method::CONNECT {
                let _ = tell.send(echo(&mut call, last).await);
            } else {
                call.say(200, "hi");
            }
        }
    });
    (backend, told)
}

async fn echo(call: &mut Call, last: &'static str) -> Heard {
    let asked = call.request.extensions().get::<Protocol>().map(Protocol::as_str);
    let status = if asked == Some("websocket") { 200 } else { 400 };
    let response = Response::builder().status(status).header("sec-websocket-protocol", "chat");
    let mut stream = call.respond.send_response(response.body(()).unwrap(), false).unwrap();
    let (mut all, body) = (Vec::new(), call.request.body_mut());
    while let Some(data) = body.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return (all, error.reason()),
        };
        let _ = body.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
        let _ = stream.send_data(data, false);
    }
    let _ = stream.send_data(Bytes::from_static(last.as_bytes()), true);
    (all, None)
}

fn switched(balancer: &Balancer) -> Client {
    let mut tunnel = Client::connect(balancer.http);
    let answer = tunnel.send(ASK).answer();
    assert_eq!(answer.status, 101, "{}", answer.head);
    tunnel
}

#[test]
fn a_websocket_becomes_an_extended_connect_and_carries_bytes_both_ways() {
    let (backend, told) = echoing(speech(), ", and that is all");
    let balancer = before_servers(&[backend.address], H2C);
    let mut tunnel = Client::connect(balancer.http);
    let answer = tunnel.send(ASK).answer();
    assert_eq!(answer.status, 101, "{}", answer.head);
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", PROOF),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(answer.field(name).as_deref(), Some(value), "{name}");
    }
    // More than any window.
    let content = vec![7; 300_000];
    for piece in content.chunks(30_000) {
        assert!(tunnel.send(piece).exactly(piece.len()) == piece);
    }
    // Half closed, it can still be answered.
    tunnel.shut(Shutdown::Write);
    assert_eq!(tunnel.rest(), b", and that is all");
    assert!(told.recv().unwrap() == (content, None));
    assert!(balancer.access_logged("/ws").contains("\" 101 "));

    let (head, _) = &backend.heads()[0];
    assert_eq!(
        (head.method(), head.uri().to_string().as_str()),
        (&Method::CONNECT, "http://shop.example/ws?a=b")
    );
    let field = |name: &str| head.headers().get(name).map(|it| it.to_str().unwrap());
    assert_eq!(field("sec-websocket-version"), Some("13"));
    assert_eq!(field("sec-websocket-protocol"), Some("chat"));
    for name in ["sec-websocket-key", "connection", "upgrade", "host"] {
        assert_eq!(field(name), None, "{name}");
    }
}

#[test]
fn a_tunnel_shares_its_connection_with_requests() {
    let (backend, _told) = echoing(speech(), "");
    let balancer = before_servers(&[backend.address], H2C);
    let mut tunnels: Vec<_> = (0..8).map(|_| switched(&balancer)).collect();
    for _ in 0..8 {
        assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 200);
    }
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.send("still").exactly(5), b"still");
    }
    assert!(backend.connections() <= 2, "one for each worker");
}

#[test]
fn a_reset_of_either_end_ends_the_other() {
    let (backend, told) = echoing(speech(), "");
    let balancer = before_servers(&[backend.address], H2C);
    let mut tunnel = TcpStream::connect(balancer.http).unwrap();
    tunnel.write_all(ASK.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tunnel.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    // What it does not read makes its end a reset.
    tunnel.write_all(b"unread").unwrap();
    tunnel.peek(&mut [0]).unwrap();
    drop(tunnel);
    let (heard, broke) = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!((&*heard, broke), (&b"unread"[..], Some(Reason::CANCEL)));

    let backend = Http2Backend::start(speech(), |mut call| async move {
        let mut stream = call.respond.send_response(Response::new(()), false).unwrap();
        let _ = stream.send_data(Bytes::from_static(b"begun"), false);
        let _ = call.request.body_mut().data().await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let balancer = before_servers(&[backend.address], H2C);
    let mut tunnel = switched(&balancer);
    assert_eq!(tunnel.exactly(5), b"begun");
    tunnel.send("enough");
    assert_eq!(tunnel.rest(), b"");
    balancer.access_logged("tunnel_reset");
}

#[test]
fn an_answer_that_is_no_switch_is_given_as_it_is() {
    let backend = Http2Backend::start(speech(), |mut call| async move { call.say(403, "no") });
    let balancer = before_servers(&[backend.address], H2C);
    let mut client = Client::connect(balancer.http);
    for _ in 0..3 {
        let answer = client.send(ASK).answer();
        assert_eq!((answer.status, answer.field("upgrade")), (403, None));
        assert!(answer.text().contains("no"), "{}", answer.text());
    }
}

#[test]
fn one_that_takes_no_websockets_in_the_clear_is_asked_for_none() {
    let (backend, _told) = echoing(Speech::default(), "");
    let balancer = before_servers(&[backend.address], H2C);
    assert_eq!(Client::connect(balancer.http).send(ASK).answer().status, 502);
    assert!(balancer.access_logged("/ws").contains("upgrade_unsupported"));
    assert_eq!(Client::connect(balancer.http).send(get("/")).answer().status, 200);
    assert!(backend.heads().iter().all(|(head, _)| head.method() == Method::GET));
}

#[test]
fn only_a_get_becomes_a_websocket_and_its_length_of_zero_is_not_passed_on() {
    let (backend, _told) = echoing(speech(), "");
    let balancer = before_servers(&[backend.address], H2C);
    let post = ASK.replacen("GET", "POST", 1);
    assert_eq!(Client::connect(balancer.http).send(post).answer().status, 502);
    assert!(balancer.access_logged("POST").contains("upgrade_unsupported"));
    let empty = ASK.replacen("Host", "Content-Length: 0\r\nHost", 1);
    let mut tunnel = Client::connect(balancer.http);
    assert_eq!(tunnel.send(empty).answer().status, 101);
    assert_eq!(tunnel.send("to and fro").exactly(10), b"to and fro");
    let heads = backend.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(!heads[0].0.headers().contains_key("content-length"), "{heads:?}");
}

#[test]
fn by_tls_a_websocket_goes_by_http_2_where_it_may_and_else_by_http_1_1() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let made = authority.issue(&["shop.example"]);
    let protocols = |it: &'static [&'static str]| by_tls(&made, it);
    for (mut speech, allows, status, protocol) in [
        (protocols(&["h2", "http/1.1"]), true, 101, "h2"),
        (protocols(&["h2", "http/1.1"]), false, 101, "http/1.1"),
        (protocols(&["http/1.1"]), false, 101, "http/1.1"),
        (protocols(&["h2"]), true, 101, "h2"),
        (protocols(&["h2"]), false, 502, "h2"),
    ] {
        if allows {
            speech.http2.enable_connect_protocol();
        }
        let (backend, _told) = echoing(speech, "");
        let settings = format!(
            "[pools.web]\nservers = [\"{}\"]\nscheme = \"https\"\nhost = \"shop.example\"\n\
             upstream.tls.ca = \"file:ca.pem\"\n",
            backend.address
        );
        let flags = ["--label-files", folder.path().to_str().unwrap()];
        let balancer = configured(&settings, &flags, []);
        balancer.logged(&format!("address={}", backend.address));
        let mut tunnel = Client::connect(balancer.http);
        let case = format!("{protocol}, {allows}, {status}");
        assert_eq!(tunnel.send(ASK).answer().status, status, "{case}");
        if status == 101 {
            assert_eq!(tunnel.send("to and fro").exactly(10), b"to and fro", "{case}");
        } else {
            assert!(balancer.access_logged("/ws").contains("upgrade_unsupported"));
        }
        let shaken = backend.shaken();
        assert_eq!(shaken.last().unwrap().protocol.as_deref(), Some(protocol), "{case}");
    }
}

#[test]
fn when_the_balancer_stops_both_ends_are_told() {
    let (backend, told) = echoing(speech(), "");
    let mut balancer = before_servers(&[backend.address], H2C);
    let mut tunnel = switched(&balancer);
    balancer.terminate();
    assert_eq!(tunnel.exactly(4), GOING_AWAY);
    // A client's frame, whose mask changes nothing.
    assert_eq!(tunnel.send(b"\x88\x82\0\0\0\0\x03\xe9").rest(), b"");
    assert_eq!(balancer.exit_code(), Some(0));
    balancer.access_logged("balancer_stopping");
    let (heard, _) = told.recv_timeout(Duration::from_secs(5)).unwrap();
    let [0x88, 0x82, a, b, _, _, high, low] = heard[..] else { panic!("{heard:?}") };
    assert_eq!(u16::from_be_bytes([high ^ a, low ^ b]), 1001, "the replica hears of it too");
}
