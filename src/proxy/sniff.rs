//! Which HTTP a client on a clear port speaks.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::proxy::bell::Listener;
use crate::proxy::http1::Limits;

/// What a connection begins with, and what was read of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Speech {
    /// Anything but HTTP/2 with prior knowledge.
    Http1(Vec<u8>),
    Http2(Vec<u8>),
    /// It ended, or said nothing for too long.
    Nothing,
}

/// Decides by the first bytes, of which `before` have been read already. They
/// are left in the socket where they decide at once, as they do for nearly every
/// client, so that nothing is held for it.
pub(super) async fn sniff(
    stream: &TcpStream,
    mut before: Vec<u8>,
    limits: &Limits,
    (stops, patience): (Listener, Duration),
) -> Speech {
    tokio::select! {
        speech = async {
            if before.is_empty() {
                match peek(stream, limits.idle_timeout).await {
                    Ok(Some(speech)) => return speech,
                    Ok(None) => {}
                    Err(_) => return Speech::Nothing,
                }
            }
            // The rest of a preface has as long as a head.
            let deadline = Instant::now() + limits.head_timeout;
            while is_partial(&before) {
                match timeout_at(deadline, read_more(stream, &mut before)).await {
                    Ok(Ok(count)) if count > 0 => {}
                    // HTTP/1 refuses it.
                    Ok(Ok(_) | Err(_)) | Err(_) => break,
                }
            }
            if before.starts_with(PREFACE) { Speech::Http2(before) } else { Speech::Http1(before) }
        } => speech,
        () = stops.unwanted_for(patience) => Speech::Nothing,
    }
}

/// What the first bytes say; none if they may yet become a preface.
async fn peek(stream: &TcpStream, patience: Duration) -> io::Result<Option<Speech>> {
    let mut first = [0; PREFACE.len()];
    let deadline = Instant::now() + patience;
    let count = timeout_at(deadline, stream.peek(&mut first)).await??;
    let first = first.get(..count).unwrap_or_default();
    Ok(match first {
        [] => Some(Speech::Nothing),
        first if first == PREFACE => Some(Speech::Http2(Vec::new())),
        first if is_partial(first) => None,
        _ => Some(Speech::Http1(Vec::new())),
    })
}

/// Reads no more than a preface lacks.
async fn read_more(stream: &TcpStream, before: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        let mut piece = [0; PREFACE.len()];
        let room = PREFACE.len().saturating_sub(before.len());
        match stream.try_read(piece.get_mut(..room).unwrap_or_default()) {
            Ok(count) => {
                before.extend_from_slice(piece.get(..count).unwrap_or_default());
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether `bytes` are a preface that has not come whole.
fn is_partial(bytes: &[u8]) -> bool {
    bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes)
}

/// What a client with prior knowledge sends first (RFC 9113, section 3.4). No
/// method of HTTP/1 is called `PRI`.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::proxy::bell::Bell;

    #[tokio::test]
    async fn a_preface_is_known_wherever_its_pieces_end() {
        for at in 0..PREFACE.len() {
            let (first, second) = PREFACE.split_at(at);
            assert_eq!(spoken(&[first, second, b"more"]).await, (true, b"more".to_vec()), "{at}");
        }
        let bytes: Vec<_> = PREFACE.chunks(1).collect();
        assert!(spoken(&bytes).await.0);
    }

    #[tokio::test]
    async fn whatever_differs_is_http_1_with_all_of_its_bytes() {
        for said in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\n\r\n",
            b"PRI",
            b"PRI / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
            b"\x16\x03\x01",
        ] {
            assert_eq!(spoken(&[said]).await, (false, said.to_vec()));
            let bytes: Vec<_> = said.chunks(1).collect();
            assert_eq!(spoken(&bytes).await, (false, said.to_vec()));
        }
    }

    #[tokio::test]
    async fn silence_has_its_time_and_less_while_we_stop() {
        let (mut client, server) = connected().await;
        tokio::time::pause();
        let (limits, bell) = (Limits::default(), Rc::new(Bell::default()));
        let patience = Duration::from_secs(1);
        let began = Instant::now();
        let speech = sniff(&server, Vec::new(), &limits, (bell.listen(), patience)).await;
        assert_eq!(speech, Speech::Nothing);
        assert!(about(began.elapsed(), limits.idle_timeout), "{:?}", began.elapsed());
        bell.stop();
        let began = Instant::now();
        let speech = sniff(&server, Vec::new(), &limits, (bell.listen(), patience)).await;
        assert_eq!(speech, Speech::Nothing);
        assert!(about(began.elapsed(), patience), "{:?}", began.elapsed());
        client.shutdown().await.unwrap();
    }

    /// Whether it is HTTP/2, and all that a server would read then.
    async fn spoken(pieces: &[&[u8]]) -> (bool, Vec<u8>) {
        let (mut client, mut server) = connected().await;
        client.set_nodelay(true).unwrap();
        let bell = Rc::new(Bell::default());
        let limits = Limits::default();
        let stops = (bell.listen(), Duration::ZERO);
        let (speech, client) = tokio::join!(sniff(&server, Vec::new(), &limits, stops), async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            client
        });
        let (is_http2, mut all) = match speech {
            Speech::Http1(read) => (false, read),
            Speech::Http2(read) => (true, read),
            Speech::Nothing => panic!("something was said"),
        };
        server.read_to_end(&mut all).await.unwrap();
        drop(client);
        if is_http2 {
            all.drain(..PREFACE.len());
        }
        (is_http2, all)
    }

    /// To the millisecond, which is a timer's.
    fn about(elapsed: Duration, expected: Duration) -> bool {
        elapsed >= expected && elapsed < expected + Duration::from_millis(5)
    }

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }
}
