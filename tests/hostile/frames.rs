//! HTTP/2 as bytes, for who breaks its rules.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The preface and empty settings (RFC 9113, section 3.4).
pub(super) fn greeting(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(&mut bytes, SETTINGS, 0, 0, &payload);
    bytes
}

/// A GET without a body for `path`, of at most 126 bytes.
pub(super) fn get(to: &mut Vec<u8>, stream: u32, path: &str) {
    // By RFC 7541: `:method GET`, `:scheme https`, `:authority`, `:path`, each of
    // the static table, the last two with their values as they are.
    let mut block = vec![0x82, 0x87];
    for (name, value) in [(0x01, "localhost"), (0x04, path)] {
        block.extend_from_slice(&[name, u8::try_from(value.len()).unwrap()]);
        block.extend_from_slice(value.as_bytes());
    }
    frame(to, HEADERS, END_STREAM | END_HEADERS, stream, &block);
}

/// Takes a stream back.
pub(super) fn reset(to: &mut Vec<u8>, stream: u32) {
    frame(to, RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
}

/// Reads frames until one ends its stream.
pub(super) async fn until_end_of_stream(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
            return Ok(());
        }
    }
}

fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    to.extend_from_slice(&length.to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const CANCEL: u32 = 0x8;
