//! The gate, seen from the server behind it.

mod server;
mod streams;
mod time;

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::super::turn::Turn;
use super::*;

/// What a server behind the gate saw of a whole stream.
#[derive(Debug, PartialEq)]
struct Seen {
    bytes: Vec<u8>,
    verdicts: Vec<Result<HeadFacts, Refusal>>,
    fault: Option<Fault>,
}

/// Sends `pieces`, one at a time, and the end of the stream; the server reads
/// with a buffer of `read_bytes` and answers each request as soon as nothing
/// more of it comes.
async fn pass(pieces: &[&[u8]], read_bytes: usize) -> Seen {
    pass_after(b"", pieces, read_bytes).await
}

/// As `pass`, where `early` was read before there was a gate.
async fn pass_after(early: &[u8], pieces: &[&[u8]], read_bytes: usize) -> Seen {
    let (mut client, gate, handle) = gate();
    let mut gate = if early.is_empty() { gate } else { gate.after(early) };
    let send = async move {
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        client
    };
    let serve = async {
        let mut seen = Seen { bytes: Vec::new(), verdicts: Vec::new(), fault: None };
        let mut turn: Option<Turn> = None;
        loop {
            let Some(read) = read_or_stall(&mut gate, read_bytes, turn.is_some()).await else {
                turn = None;
                continue;
            };
            match read {
                Ok(bytes) if bytes.is_empty() => return seen,
                Ok(bytes) => seen.bytes.extend(bytes),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    seen.fault = handle.fault();
                    return seen;
                }
            }
            if let Some(next) = handle.next() {
                assert!(turn.is_none(), "one request at a time");
                seen.verdicts.push(next.verdict);
                turn = Some(next);
            }
        }
    };
    tokio::join!(send, serve).1
}

/// One read; none if it would have to wait and `may_stall`.
async fn read_or_stall(
    gate: &mut Gate<DuplexStream>,
    read_bytes: usize,
    may_stall: bool,
) -> Option<io::Result<Vec<u8>>> {
    let mut buffer = vec![0; read_bytes];
    poll_fn(|cx| {
        let mut out = ReadBuf::new(&mut buffer);
        match Pin::new(&mut *gate).poll_read(cx, &mut out) {
            Poll::Ready(result) => Poll::Ready(Some(result.map(|()| out.filled().to_vec()))),
            Poll::Pending if may_stall => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// One read, however long it takes, but not for ever.
async fn read(gate: &mut Gate<DuplexStream>) -> io::Result<Vec<u8>> {
    let read = read_or_stall(gate, 8_192, false);
    timeout(Duration::from_secs(86_400), read).await.expect("the reader was never woken").unwrap()
}

fn gate() -> (DuplexStream, Gate<DuplexStream>, GateHandle) {
    let (client, server) = duplex(64 * 1024);
    let (gate, handle) = Gate::new(server, Limits::default());
    (client, gate, handle)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
