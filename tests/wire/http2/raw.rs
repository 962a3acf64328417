//! A client that writes its frames by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::secured;
use crate::support::client::tls;
use crate::wire::Balancer;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ENDS_STREAM: u8 = 1;
pub(super) const ENDS_HEADERS: u8 = 4;

pub(super) const CALM: u32 = 11;

/// `GET https /` in HPACK's static table, and `:authority: a`.
pub(super) const ASK: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'a'];

/// A connection whose frames a test writes.
pub(super) struct Raw(TlsStream<TcpStream>);

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Raw {
    /// With its preface and these settings sent.
    pub(super) async fn open(balancer: &Balancer, settings: &[(u16, u32)]) -> Self {
        Self::begin(secured(balancer).await, settings).await
    }

    /// The same from this address, without settings of its own.
    pub(super) async fn open_from(address: [u8; 4], balancer: &Balancer) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let stream = socket.connect(balancer.https()).await.unwrap();
        let stream = tls::shake_hands(&tls::connector(b"h2"), stream).await.unwrap();
        Self::begin(stream, &[]).await
    }

    async fn begin(stream: TlsStream<TcpStream>, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self(stream);
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        assert!(raw.send(&frame(SETTINGS, 0, 0, &payload)).await);
        raw
    }

    /// Whether it could be sent: who goes too far is cut off.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// The next frame; none once the connection is over.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload })
    }

    /// The error code with which we are sent away; none if we are cut off
    /// without one.
    pub(super) async fn farewell(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
