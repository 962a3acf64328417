//! A connection that speaks HTTP/2.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use h2::{Reason, server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::debug;

use crate::domain::http::http2::ledger::Abuse;
use crate::proxy::bell::Listener;
use crate::proxy::complaints::{Kind, complain};
use crate::proxy::connection::FIRST_HEAD;
use crate::proxy::http1::clock::Clock;
use crate::proxy::http2::Limits;
use crate::proxy::http2::account::{Account, Piece};
use crate::proxy::http2::gate::{Gate, Wire};
use crate::proxy::http2::stream::{self, Shared};
use crate::proxy::request::{Downstream, Visitor};
use crate::proxy::resources::Resources;

/// Serves `stream`, of which `before` has been read already.
pub(in crate::proxy) async fn serve<S>(
    resources: Rc<Resources>,
    stream: S,
    before: &[u8],
    visitor: Visitor,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let peer = visitor.ends.source;
    let limits = Limits { idle: resources.parts.keep_alive, ..Limits::default() };
    let wire = Rc::<Wire>::default();
    let gate = Gate::new(stream, Bytes::copy_from_slice(before), &wire);
    let shared = Rc::new(Shared {
        resources: Rc::clone(&resources),
        downstream: Rc::new(Downstream::new(visitor, None)),
        account: Account::new(limits.connection_buffer),
        limits,
        wire: Rc::clone(&wire),
        stalled_since: Cell::new(None),
    });
    let started = Instant::now();
    let mut watch = Watch { clock: Clock::default(), bell: resources.bell().listen() };
    // Boxed, since it is large and soon over.
    let begun = Box::pin(watch.begin(gate, &shared, started)).await;
    let ended = match begun {
        Ok(Some(connection)) => watch.drive(connection, &shared, started).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        if error.is_library() {
            wire.abuse.set(wire.abuse.get().or(Some(Abuse::Protocol)));
        }
        debug!(%peer, %error, "A client's connection ended");
    }
    if let Some(abuse) = wire.abuse.get() {
        resources.parts.counters.http2_refused(abuse);
        let why = format_args!("{abuse} ({})", abuse.reason());
        complain(&resources, Kind::Http2, peer.ip(), &why);
    }
}

/// Boxed, since it is large and handed on.
type Connection<S> = Box<server::Connection<Gate<S>, Piece>>;

/// What ends a connection, other than itself.
struct Watch {
    clock: Clock,
    bell: Listener,
}

/// How a connection is about to end.
#[derive(Clone, Copy, Debug)]
enum Farewell {
    /// It takes no more requests from then on.
    Leaving(Instant),
    /// It carries nothing any more but our word why.
    Closing(Instant),
}

impl Farewell {
    /// Whether a client has had its time to hear of it.
    fn is_over(self, limits: &Limits) -> bool {
        match self {
            Self::Leaving(since) => since.elapsed() >= limits.farewell,
            Self::Closing(_) => true,
        }
    }
}

/// The reason for which time is up.
#[derive(Clone, Copy, Debug)]
enum Due {
    Abuse(Abuse),
    /// Nobody reads what we would say.
    Cut,
    Idle,
}

impl Watch {
    /// Waits for the preface. None if it is not worth waiting any longer.
    async fn begin<S>(
        &mut self,
        gate: Gate<S>,
        shared: &Shared,
        started: Instant,
    ) -> Result<Option<Connection<S>>, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut handshake = pin!(builder(&shared.limits).handshake::<_, Piece>(gate));
        poll_fn(|context| {
            if let Poll::Ready(connection) = handshake.as_mut().poll(context) {
                return Poll::Ready(connection.map(|connection| Some(Box::new(connection))));
            }
            let hurries = self.bell.hears_stop(context) || self.bell.hears_press(context);
            if hurries && self.clock.has_passed(context, started + FIRST_HEAD) {
                // It is we who do not wait.
                return Poll::Ready(Ok(None));
            }
            if self.clock.has_passed(context, started + shared.limits.preface) {
                shared.wire.abuse.set(Some(Abuse::Preface));
                return Poll::Ready(Ok(None));
            }
            Poll::Pending
        })
        .await
    }

    /// Serves all streams of a connection, until it ends.
    async fn drive<S>(
        &mut self,
        mut connection: Connection<S>,
        shared: &Rc<Shared>,
        started: Instant,
    ) -> Result<(), h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut streams = FuturesUnordered::new();
        let (mut requests, mut idle_since) = (0, started);
        let mut farewell: Option<Farewell> = None;
        poll_fn(|context| {
            loop {
                let served = poll_all(&mut streams, context);
                match connection.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, mut respond)))) => {
                        // Who has answered our goodbye has no more streams than we
                        // know; who does not must not keep us for ever.
                        if farewell.is_some_and(|it| it.is_over(&shared.limits)) {
                            respond.send_reset(Reason::REFUSED_STREAM);
                            continue;
                        }
                        requests += 1;
                        if requests == shared.limits.requests && farewell.is_none() {
                            connection.graceful_shutdown();
                            farewell = Some(Farewell::Leaving(Instant::now()));
                        }
                        streams.push(stream::serve(Rc::clone(shared), request, respond));
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {}
                }
                if served && streams.is_empty() {
                    idle_since = Instant::now();
                }
                let is_unwanted = self.bell.hears_stop(context)
                    || (streams.is_empty() && self.bell.hears_press(context));
                if farewell.is_none() && is_unwanted {
                    connection.graceful_shutdown();
                    farewell = Some(Farewell::Leaving(Instant::now()));
                    continue;
                }
                let idle_since = streams.is_empty().then_some(idle_since);
                match self.due(shared, farewell, started, idle_since, context) {
                    None => return Poll::Pending,
                    Some(Due::Cut) => return Poll::Ready(Ok(())),
                    Some(Due::Idle) => {
                        connection.graceful_shutdown();
                        farewell = Some(Farewell::Leaving(Instant::now()));
                    }
                    Some(Due::Abuse(abuse)) => {
                        shared.wire.abuse.set(Some(abuse));
                        streams.clear();
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        farewell = Some(Farewell::Closing(Instant::now()));
                    }
                }
            }
        })
        .await
    }

    /// Why the connection should end now; if it should not, the task is woken
    /// when it should.
    fn due(
        &mut self,
        shared: &Shared,
        farewell: Option<Farewell>,
        started: Instant,
        idle_since: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Option<Due> {
        let Shared { wire, limits, account, .. } = shared;
        let mut passed = |deadline| self.clock.has_passed(context, deadline);
        if let Some(Farewell::Closing(since)) = farewell {
            return passed(since + limits.last_words).then_some(Due::Cut);
        }
        if let Some(abuse) = wire.abuse.get() {
            return Some(Due::Abuse(abuse));
        }
        if let Some(since) = wire.blocked_since.get()
            && passed(since + limits.stall)
        {
            wire.abuse.set(Some(Abuse::Stalled));
            return Some(Due::Cut);
        }
        let (head_since, has_begun) = {
            let ledger = wire.ledger.borrow();
            (ledger.head_since().map(Instant::from_std), ledger.has_begun())
        };
        if head_since.is_some_and(|since| passed(since + limits.head)) {
            return Some(Due::Abuse(Abuse::HeadTimeout));
        }
        if !has_begun && passed(started + limits.preface) {
            return Some(Due::Abuse(Abuse::Preface));
        }
        if idle_since.is_some() && account.is_held() {
            // The streams are served, but their answers are still on their way.
            if passed(account.moved_at() + limits.stall) {
                wire.abuse.set(Some(Abuse::Stalled));
                return Some(Due::Cut);
            }
            return None;
        }
        // What has been written is not taken yet.
        let idle_since = idle_since
            .filter(|_| wire.blocked_since.get().is_none())
            .map(|since| since.max(account.moved_at()));
        match (idle_since, farewell) {
            (Some(since), Some(Farewell::Leaving(leaving))) => {
                passed(since.max(leaving) + limits.farewell).then_some(Due::Cut)
            }
            (Some(since), _) => passed(since + limits.idle).then_some(Due::Idle),
            (None, _) => None,
        }
    }
}

/// Lets all streams get on. Whether one has ended.
fn poll_all<F: Future<Output = ()>>(
    streams: &mut FuturesUnordered<F>,
    context: &mut Context<'_>,
) -> bool {
    let mut ended = false;
    while let Poll::Ready(Some(())) = streams.poll_next_unpin(context) {
        ended = true;
    }
    ended
}

pub(super) fn builder(limits: &Limits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .data_frame_budget(limits.small_frames)
        .max_send_buffer_size(limits.stream_buffer)
        .max_concurrent_reset_streams(limits.resets_remembered)
        .max_pending_accept_reset_streams(limits.resets_pending)
        .enable_connect_protocol();
    builder
}
