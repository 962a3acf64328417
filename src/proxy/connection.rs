//! One client connection: who is on the line, and what serves it.

use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::domain::http::forwarded::{self, Scheme};
use crate::proxy::http1::Limits;
use crate::proxy::http1::gate::Gate;
use crate::proxy::request::{self, Downstream};
use crate::proxy::resources::Resources;

/// Serves a connection until either side ends it.
pub(super) async fn serve(
    resources: Rc<Resources>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "A connection was gone before it was served");
        return;
    }
    let (gate, handle) = Gate::new(stream, Limits::default());
    let trusted = resources.trusts(peer.ip());
    let from = forwarded::Downstream::new(peer.ip(), trusted, Scheme::Http);
    let downstream = Rc::new(Downstream::new(from, handle));
    let service = service_fn(|request| {
        let turn = downstream.next_turn();
        // Boxed, since hyper hands back a connection that has switched
        // protocols only for futures that may be moved.
        Box::pin(request::handle(Rc::clone(&resources), Rc::clone(&downstream), turn, request))
    });
    let mut connection = Builder::new().serve_connection(TokioIo::new(gate), service);
    let mut told_at = None;
    let outcome = loop {
        let unused = async {
            match told_at {
                Some(told_at) if !downstream.was_used() => sleep_until(told_at + FIRST_HEAD).await,
                Some(_) | None => pending().await,
            }
        };
        tokio::select! {
            outcome = &mut connection => break outcome,
            _ = stopping.wait_for(|&stopping| stopping), if told_at.is_none() => {
                told_at = Some(Instant::now());
                // Closes it if it is idle, but not if it has not been used yet.
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = unused => if !downstream.was_used() {
                break Ok(());
            }
        }
    };
    if let Err(error) = outcome {
        debug!(%peer, %error, "A client's connection ended");
    }
    let parts = connection.into_parts();
    let gate = parts.io.into_inner();
    match downstream.take_tunnel() {
        Some(tunnel) => tunnel.run(gate, parts.read_buf).await,
        None => gate.close().await,
    }
}

/// While stopping, for the first request of a connection that came just before.
const FIRST_HEAD: Duration = Duration::from_secs(1);
