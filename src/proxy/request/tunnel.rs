//! Connections that have changed their protocol: WebSockets and the like.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::domain::lifecycle::State;
use crate::domain::pool::Vitals;
use crate::proxy::bell::{Ongoing, Watch};
use crate::proxy::request::GONE_SILENCE;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::upstream::{AnswerBody, Connection};

/// A tunnel that the client's connection is to become.
pub(in crate::proxy) struct Tunnel {
    upstream: OnUpgrade,
    /// How long both ends may be silent.
    silence: Duration,
    /// Must not be dropped before it has been handed over.
    connection: Connection,
    ongoing: Ongoing,
    exchange: Option<Box<Exchange>>,
}

impl Tunnel {
    pub(super) fn new(
        response: &mut Response<AnswerBody>,
        connection: Connection,
        ongoing: Ongoing,
        silence: Duration,
    ) -> Self {
        let upstream = hyper::upgrade::on(response);
        Self { upstream, silence, connection, ongoing, exchange: None }
    }

    /// The exchange ends with the tunnel.
    pub(super) fn carrying(self, exchange: Box<Exchange>) -> Self {
        Self { exchange: Some(exchange), ..self }
    }

    /// Carries bytes both ways until the replica is done or gone, one end fails,
    /// or both are silent for too long. A client that is done may still be
    /// answered. `early` is what was read of the client already.
    pub(in crate::proxy) async fn run(mut self, client: impl AsyncRead + AsyncWrite, early: Bytes) {
        let upstream = match self.upstream.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                debug!(%error, "A replica's tunnel broke before it began");
                return;
            }
        };
        drop(self.connection);
        let (up, down) = (Cell::new(0), Cell::new(0));
        let last = Cell::new(Instant::now());
        let (client_reads, client_writes) = split(client);
        let (upstream_reads, mut upstream_writes) = split(upstream);
        let ask = async {
            upstream_writes.write_all(&early).await?;
            carry(client_reads, upstream_writes, &up, &last).await?;
            pending::<io::Result<()>>().await
        };
        let answer = carry(upstream_reads, client_writes, &down, &last);
        let end = tokio::select! {
            Err(_) = ask => "tunnel_reset",
            answered = answer => if answered.is_ok() { "ok" } else { "tunnel_reset" },
            () = silent(&last, self.silence) => "tunnel_silent",
            () = gone(&self.ongoing.watch, &last) => "upstream_gone",
            () = self.ongoing.watch.until(Vitals::is_cut) => "drain_over",
        };
        if let Some(mut exchange) = self.exchange.take() {
            exchange.tunnel_ended(up.get(), down.get(), end);
        }
    }
}

/// The headers of an answer that switches protocols, or asks for that (RFC 9110,
/// section 7.8).
pub(super) fn mark_switched(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    carried: &Cell<u64>,
    last: &Cell<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
            // One end is done; the other may still have things to say.
            return to.shutdown().await;
        };
        to.write_all(piece).await?;
        carried.set(carried.get() + piece.len() as u64);
        last.set(Instant::now());
    }
}

/// Waits until nothing has been carried for `limit`.
async fn silent(last: &Cell<Instant>, limit: Duration) {
    loop {
        let until = last.get() + limit;
        sleep_until(until).await;
        if last.get() + limit <= until {
            return;
        }
    }
}

/// Waits until the endpoint is gone and all that it sent before has come.
async fn gone(watch: &Watch, last: &Cell<Instant>) {
    watch.until(|vitals| vitals.state() == State::Gone).await;
    silent(last, GONE_SILENCE).await;
}

/// WebSocket messages are mostly small; large ones are cut into pieces.
const BUFFER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_the_last_byte_either_way() {
        let last = Cell::new(Instant::now());
        let began = Instant::now();
        let watch = silent(&last, Duration::from_secs(10));
        let speak = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            last.set(Instant::now());
            pending::<()>().await;
        };
        tokio::select! { () = watch => {}, () = speak => {} }
        assert_eq!(began.elapsed(), Duration::from_secs(17));
    }

    #[tokio::test]
    async fn an_end_that_is_done_leaves_the_other_free_to_speak() {
        let (mut client, inner) = duplex(64);
        let (mut server, outer) = duplex(64);
        let (carried, last) = (Cell::new(0), Cell::new(Instant::now()));
        let (reads, _) = split(inner);
        let (_, writes) = split(outer);
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        carry(reads, writes, &carried, &last).await.unwrap();
        let mut heard = [0; 3];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!((&heard, carried.get()), (b"bye", 3));
    }
}
