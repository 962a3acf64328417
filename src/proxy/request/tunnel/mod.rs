//! Connections that have changed their protocol: WebSockets and the like.

mod flow;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::domain::http::websocket;
use crate::domain::lifecycle::State;
use crate::domain::pool::Vitals;
use crate::proxy::bell::{Ongoing, Watch};
use crate::proxy::request::GONE_SILENCE;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::tunnel::flow::Flow;
use crate::proxy::upstream::{AnswerBody, Connection, Switching};

/// A tunnel that the client's connection is to become.
pub(in crate::proxy) struct Tunnel {
    upstream: Switching,
    is_websocket: bool,
    /// How long both ends may be silent.
    silence: Duration,
    /// Must not be dropped before it has been handed over.
    connection: Connection,
    ongoing: Ongoing,
    exchange: Option<Box<Exchange>>,
}

/// Both ends, and what is between them.
struct Carrying<'a, C, U> {
    client: Pin<&'a mut C>,
    upstream: Pin<&'a mut U>,
    up: Flow,
    down: Flow,
    /// When something last came from either end.
    last: &'a Cell<Instant>,
    exchange: Option<Box<Exchange>>,
    /// How the tunnel ended: broken, if it is dropped while it carries.
    end: &'static str,
}

impl Tunnel {
    /// What `response` switches to, its `Upgrade` field being there.
    pub(super) fn new(
        response: &mut Response<AnswerBody>,
        connection: Connection,
        ongoing: Ongoing,
        silence: Duration,
    ) -> Self {
        let protocol = response.headers().get(UPGRADE);
        let is_websocket =
            protocol.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let upstream = Switching::of(response);
        Self { upstream, is_websocket, silence, connection, ongoing, exchange: None }
    }

    /// The exchange ends with the tunnel.
    pub(super) fn carrying(self, exchange: Box<Exchange>) -> Self {
        Self { exchange: Some(exchange), ..self }
    }

    pub(super) fn exchange(&mut self) -> Option<&mut Exchange> {
        self.exchange.as_deref_mut()
    }

    /// Carries bytes both ways until the replica is done or gone, one end fails,
    /// or both are silent for too long. A client that is done may still be
    /// answered. `early` is what was read of the client already.
    ///
    /// A WebSocket whose replica leaves, or that we leave, gets a close frame, so
    /// that its client comes back at once.
    pub(in crate::proxy) async fn run(mut self, client: impl AsyncRead + AsyncWrite, early: Bytes) {
        let upstream = match self.upstream.finish().await {
            Ok(upstream) => upstream,
            Err(error) => {
                debug!(%error, "A replica's tunnel broke before it began");
                return;
            }
        };
        let _stream = self.connection.into_stream();
        let (last, watch) = (Cell::new(Instant::now()), &self.ongoing.watch);
        let mut carrying = Carrying {
            client: pin!(client),
            upstream: pin!(upstream),
            up: Flow::new(self.is_websocket, &early),
            down: Flow::new(self.is_websocket, b""),
            last: &last,
            exchange: self.exchange.take(),
            end: "tunnel_reset",
        };
        drop(early);
        let leaves = async {
            let listener = watch.listener();
            tokio::select! {
                () = gone(watch, &last) => "upstream_gone",
                () = watch.until(Vitals::is_cut) => "drain_over",
                () = watch.until(Vitals::says_goodbye), if self.is_websocket => "replica_stopping",
                () = listener.stopped_for(WEBSOCKETS_END), if self.is_websocket => "balancer_stopping",
            }
        };
        carrying.end = tokio::select! {
            end = poll_fn(|context| carrying.poll(context)) => match end {
                Ok(()) => "ok",
                Err(_) => "tunnel_reset",
            },
            () = silent(&last, self.silence) => "tunnel_silent",
            reason = leaves => {
                if self.is_websocket {
                    let goodbye = poll_fn(|context| carrying.poll_goodbye(context));
                    // Whoever does not answer it is cut.
                    let _ = timeout(GOODBYE, goodbye).await;
                }
                reason
            }
        };
    }
}

impl<C, U> Drop for Carrying<'_, C, U> {
    /// A tunnel in a stream is dropped with its connection.
    fn drop(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.tunnel_ended(self.up.carried(), self.down.carried(), self.end);
        }
    }
}

impl<C, U> Carrying<'_, C, U>
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    /// Carries bytes until the replica is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let moved = || self.last.set(Instant::now());
        // A client that is done may still be answered.
        let _ = self.up.poll_carry(client.as_mut(), upstream.as_mut(), context, moved)?;
        self.down.poll_carry(upstream.as_mut(), client.as_mut(), context, moved)
    }

    /// Tells both ends that a WebSocket is over, and waits for the client to say
    /// so too (RFC 6455, section 7.1.1).
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let told = self.down.poll_close(
            upstream.as_mut(),
            client.as_mut(),
            &websocket::GOING_AWAY,
            context,
        )?;
        let mask = fastrand::u32(..).to_ne_bytes();
        let close = websocket::going_away_masked(mask);
        // It may be dead by now, which is no reason not to hear the client.
        let _ = ready!(self.up.poll_close(client.as_mut(), upstream.as_mut(), &close, context));
        let _ = upstream.as_mut().poll_shutdown(context);
        ready!(self.up.poll_hear_close(client.as_mut(), context))?;
        ready!(told);
        client.as_mut().poll_shutdown(context)
    }
}

/// The headers of an answer that switches protocols, or asks for that (RFC 9110,
/// section 7.8).
pub(super) fn mark_switched(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
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

/// For the client's answer to a close frame.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long WebSockets go on while the balancer stops: some end by themselves.
/// What is left of its deadline is enough for a goodbye.
pub const WEBSOCKETS_END: Duration = Duration::from_secs(7);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn silence_is_measured_from_the_last_byte_either_way() {
        let last = Cell::new(Instant::now());
        let began = Instant::now();
        let watch = silent(&last, Duration::from_secs(10));
        let speak = async {
            sleep(Duration::from_secs(7)).await;
            last.set(Instant::now());
            pending::<()>().await;
        };
        tokio::select! { () = watch => {}, () = speak => {} }
        assert_eq!(began.elapsed(), Duration::from_secs(17));
    }
}
