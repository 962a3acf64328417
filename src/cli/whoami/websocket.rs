//! An echo over WebSockets (RFC 6455), by HTTP/1.1 and HTTP/2 (RFC 8441).

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::domain::http::http2;

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    let named = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
    if request.method() == Method::CONNECT {
        let protocol = request.extensions().get::<Protocol>();
        return protocol.is_some_and(|protocol| named(protocol.as_ref()));
    }
    request.headers().get(UPGRADE).is_some_and(|protocol| named(protocol.as_bytes()))
}

/// Accepts it, and echoes what comes until either side has enough.
pub(super) fn accept(mut request: Request<Body>) -> Response {
    let mut response = Response::new(Body::empty());
    if request.method() != Method::CONNECT {
        let Some(accepted) = accepted(request.headers()) else {
            let version = [(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))];
            return (StatusCode::BAD_REQUEST, version, "no WebSocket handshake\n").into_response();
        };
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend([
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accepted),
        ]);
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            // How the client ends it is its own affair.
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    response
}

/// Proof that the handshake was understood (section 4.2.2).
fn accepted(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    headers.get(SEC_WEBSOCKET_VERSION).filter(|version| *version == "13")?;
    http2::websocket::accepted(key)
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let frame = timeout(SILENCE_MAX, Frame::read(&mut stream)).await?;
        let (first, payload) = match frame {
            Ok(Frame { first, payload }) => match first & OPCODE {
                PING => (FIN | PONG, payload),
                PONG => continue,
                _ => (first, payload),
            },
            Err(Bad::Unread(error)) => return Err(error),
            Err(Bad::Protocol) => (FIN | CLOSE, PROTOCOL_ERROR.to_vec()),
            Err(Bad::TooLarge) => (FIN | CLOSE, TOO_LARGE.to_vec()),
        };
        stream.write_all(&framed(first, &payload)).await?;
        stream.flush().await?;
        if first & OPCODE == CLOSE {
            return stream.shutdown().await;
        }
    }
}

/// A frame of the client's: its first byte, and what it carries, unmasked.
struct Frame {
    first: u8,
    payload: Vec<u8>,
}

/// Why there is no frame.
enum Bad {
    Unread(io::Error),
    Protocol,
    TooLarge,
}

impl Frame {
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, Bad> {
        let [first, second] = stream.read_u16().await?.to_be_bytes();
        let length = match second & !MASKED {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            length => length.into(),
        };
        if second & MASKED == 0 || first & RESERVED != 0 {
            return Err(Bad::Protocol);
        }
        if length > PAYLOAD_BYTES_MAX {
            return Err(Bad::TooLarge);
        }
        let mask = stream.read_u32().await?.to_be_bytes();
        let mut payload = vec![0; usize::try_from(length).map_err(|_| Bad::TooLarge)?];
        stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Self { first, payload })
    }
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// A frame as a server sends it (section 5.2).
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const MASKED: u8 = 0x80;

/// Close codes 1002 and 1009 (section 7.4.1).
const PROTOCOL_ERROR: [u8; 2] = 1002_u16.to_be_bytes();
const TOO_LARGE: [u8; 2] = 1009_u16.to_be_bytes();

/// More than anybody wants echoed.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

const SILENCE_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// The example of section 1.3.
    #[test]
    fn a_handshake_is_answered_by_its_key() {
        let headers = HeaderMap::from_iter([
            (SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        ]);
        assert_eq!(accepted(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted(&HeaderMap::new()), None);
    }

    /// The examples of section 5.7, each with what comes back.
    #[tokio::test]
    async fn what_comes_goes_back_unmasked() {
        let hello = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let ping = *b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let close = *b"\x88\x82\x00\x00\x00\x00\x03\xe8";
        for (sent, back) in [
            ([&hello[..], &close].concat(), &b"\x81\x05Hello\x88\x02\x03\xe8"[..]),
            ([&ping[..], &close].concat(), b"\x8a\x05Hello\x88\x02\x03\xe8"),
            (b"\x81\x05Hello".to_vec(), b"\x88\x02\x03\xea"),
            (b"\x82\xff\0\0\0\0\0\x10\0\x01".to_vec(), b"\x88\x02\x03\xf1"),
        ] {
            let (mut client, server) = duplex(1024);
            client.write_all(&sent).await.unwrap();
            echo(server).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, back);
        }
    }

    #[test]
    fn a_length_takes_as_many_bytes_as_it_needs() {
        for (length, head) in [
            (125, &b"\x82\x7d"[..]),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let frame = framed(0x82, &vec![7; length]);
            assert_eq!((&frame[..head.len()], frame.len()), (head, head.len() + length));
        }
    }
}
