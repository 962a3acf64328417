//! A connection that speaks HTTP/1.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use hyper::Request;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tracing::debug;

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
    let downstream = Rc::new(Downstream::new(visitor, Some(handle)));
    let tunnel = Rc::new(Cell::new(None));
    let service = service_fn(|request| {
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
    });
    let mut connection = Builder::new().serve_connection(TokioIo::new(gate), service);
    let listener = resources.bell().listen();
    let (mut told, mut patience) = (false, None);
    let outcome = poll_fn(|context| {
        let mut ended = Pin::new(&mut connection).poll(context);
        if ended.is_pending() && !told && listener.hears_stop(context) {
            if downstream.was_used() {
                told = true;
                // Closes it, unless a request is being served.
                Pin::new(&mut connection).graceful_shutdown();
                ended = Pin::new(&mut connection).poll(context);
            } else {
                // Its first request may have been sent before we stopped, and
                // hyper would close it unread.
                let patience = patience.get_or_insert_with(|| Box::pin(sleep(FIRST_HEAD)));
                ended = patience.as_mut().poll(context).map(Ok);
            }
        }
        ended
    })
    .await;
    if let Err(error) = outcome {
        debug!(%peer, %error, "A client's connection ended");
    }
    let parts = connection.into_parts();
    let gate = parts.io.into_inner();
    match tunnel.take() {
        Some(tunnel) => tunnel.run(gate, parts.read_buf).await,
        None => gate.close().await,
    }
}
