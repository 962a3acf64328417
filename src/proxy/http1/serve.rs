//! A connection that speaks HTTP/1.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::Request;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};
use tracing::debug;

use crate::proxy::bell::Listener;
use crate::proxy::client_body::ClientBody;
use crate::proxy::connection::FIRST_HEAD;
use crate::proxy::http1::Limits;
use crate::proxy::http1::gate::Gate;
use crate::proxy::request::{self, Arrived, Downstream, Visitor};
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
    let limits = Limits { idle_timeout: resources.parts.keep_alive, ..Limits::default() };
    let (mut gate, handle) = Gate::new(stream, limits);
    if !before.is_empty() {
        gate = gate.after(before);
    }
    let rests = handle.clone();
    let downstream = Rc::new(Downstream::new(visitor, Some(handle)));
    let tunnel = Rc::new(Cell::new(None));
    let service = || {
        service_fn(|request| {
            let (resources, downstream) = (Rc::clone(&resources), Rc::clone(&downstream));
            let arrived = Arrived::by_turn(downstream.next_turn());
            let becomes = Rc::clone(&tunnel);
            // Boxed, since hyper hands back a connection that has switched
            // protocols only for futures that may be moved.
            Box::pin(async move {
                let request = Request::map(request, ClientBody::Http1);
                let mut response = request::handle(resources, downstream, arrived, request).await;
                if let Some(tunnel) = response.body_mut().take_tunnel() {
                    becomes.set(Some(tunnel));
                }
                Ok::<_, Infallible>(response)
            })
        })
    };
    let mut stopping = Stopping::new(&resources);
    loop {
        if !poll_fn(|context| stopping.poll_rest(context, &mut gate, &downstream)).await {
            return Box::pin(gate.close()).await;
        }
        let mut connection = Builder::new().serve_connection(TokioIo::new(gate), service());
        let outcome = poll_fn(|context| {
            let mut ended = Pin::new(&mut connection).poll(context);
            if ended.is_pending() && stopping.is_due(context, &downstream) {
                // Closes it, unless a request is being served.
                Pin::new(&mut connection).graceful_shutdown();
                ended = Pin::new(&mut connection).poll(context);
            }
            if ended.is_pending() && stopping.patience_ends(context) {
                ended = Poll::Ready(Ok(()));
            }
            // hyper would keep 16 KiB for as long as the client says nothing.
            if ended.is_pending() && rests.rests() { Poll::Ready(None) } else { ended.map(Some) }
        })
        .await;
        let parts = connection.into_parts();
        gate = parts.io.into_inner();
        match outcome {
            None if parts.read_buf.is_empty() => continue,
            Some(Err(error)) => debug!(%peer, %error, "A client's connection ended"),
            None | Some(Ok(())) => {}
        }
        return match tunnel.take() {
            Some(tunnel) => Box::pin(tunnel.run(gate, parts.read_buf)).await,
            None => Box::pin(gate.close()).await,
        };
    }
}

/// What a stop asks of a connection.
struct Stopping {
    listener: Listener,
    told: bool,
    /// For a first request that may have been sent before we stopped, which
    /// hyper would close unread.
    patience: Option<Pin<Box<Sleep>>>,
    /// The same while memory is short, which may pass again.
    short: Option<Pin<Box<Sleep>>>,
}

impl Stopping {
    fn new(resources: &Resources) -> Self {
        Self { listener: resources.bell().listen(), told: false, patience: None, short: None }
    }

    /// True once, when a connection that was used has to end.
    fn is_due(&mut self, context: &Context<'_>, downstream: &Downstream) -> bool {
        if self.told || !self.listener.hears_stop(context) {
            return false;
        }
        if downstream.was_used() {
            self.told = true;
        } else {
            self.patience.get_or_insert_with(|| Box::pin(sleep(FIRST_HEAD)));
        }
        self.told
    }

    /// Whether a connection that was not used has waited long enough.
    fn patience_ends(&mut self, context: &mut Context<'_>) -> bool {
        let patience = self.patience.as_mut().filter(|_| !self.told);
        patience.is_some_and(|patience| patience.as_mut().poll(context).is_ready())
    }

    /// Ready when a connection that rests has something to serve; false if it
    /// has to end instead.
    fn poll_rest<S: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        gate: &mut Gate<S>,
        downstream: &Downstream,
    ) -> Poll<bool> {
        if gate.poll_rest(context).is_ready() {
            self.short = None;
            return Poll::Ready(true);
        }
        let ends = self.is_due(context, downstream)
            || self.patience_ends(context)
            || self.is_in_the_way(context, downstream);
        if ends { Poll::Ready(false) } else { Poll::Pending }
    }

    /// Whether memory is too short to keep a connection that rests.
    fn is_in_the_way(&mut self, context: &mut Context<'_>, downstream: &Downstream) -> bool {
        if !self.listener.hears_press(context) {
            self.short = None;
            return false;
        }
        let short = self.short.get_or_insert_with(|| Box::pin(sleep(FIRST_HEAD)));
        downstream.was_used() || short.as_mut().poll(context).is_ready()
    }
}
