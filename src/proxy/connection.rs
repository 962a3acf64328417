//! One client connection: who is on the line, and what serves it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::domain::http::forwarded::{self, Scheme};
use crate::proxy::http1::Limits;
use crate::proxy::http1::gate::Gate;
use crate::proxy::introduction::{Introduced, NotIntroduced};
use crate::proxy::request::{self, Downstream};
use crate::proxy::resources::Resources;

/// Serves a connection until either side ends it, or we stop.
pub(super) async fn serve(resources: Rc<Resources>, mut stream: TcpStream, peer: SocketAddr) {
    let limits = Limits::default();
    let introduced = match introduce(&resources, &mut stream, peer, limits.head_timeout).await {
        Ok(introduced) => introduced,
        Err(error) => {
            debug!(%peer, %error, "A connection is not served");
            if error.is_trouble() {
                refused(&resources, peer, &error);
            }
            return;
        }
    };
    let (mut gate, handle) = Gate::new(stream, limits);
    if !introduced.rest.is_empty() {
        gate = gate.after(&introduced.rest);
    }
    let ends = introduced.ends;
    let trusted = introduced.is_known && resources.trusts(ends.source.ip());
    let from = forwarded::Downstream::new(ends.source.ip(), trusted, Scheme::Http);
    let downstream = Rc::new(Downstream::new(from, ends, handle));
    let service = service_fn(|request| {
        let turn = downstream.next_turn();
        // Boxed, since hyper hands back a connection that has switched
        // protocols only for futures that may be moved.
        Box::pin(request::handle(Rc::clone(&resources), Rc::clone(&downstream), turn, request))
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
    match downstream.take_tunnel() {
        Some(tunnel) => tunnel.run(gate, parts.read_buf).await,
        None => gate.close().await,
    }
}

/// Who is on the line: whoever connected, unless it must say so itself.
async fn introduce(
    resources: &Resources,
    stream: &mut TcpStream,
    peer: SocketAddr,
    limit: Duration,
) -> Result<Introduced, NotIntroduced> {
    // Answers are written whole; waiting for more would only delay them.
    stream.set_nodelay(true)?;
    if !resources.is_introduced(peer.ip()) {
        return Ok(Introduced::directly(stream, peer));
    }
    let stops = (resources.bell().listen(), FIRST_HEAD);
    // Boxed, since most connections have no use for its room.
    Box::pin(Introduced::by_header(stream, peer, limit, stops)).await
}

/// A connection without its PROXY header cannot be served, and its client sees
/// nothing but its end: whoever runs us must see more, but not of each one.
fn refused(resources: &Resources, peer: SocketAddr, error: &NotIntroduced) {
    resources.parts.counters.introduction_refused();
    if resources.may_warn(Instant::now()) {
        warn!(
            %peer,
            "Connection refused: {error}. Addresses in --proxy-protocol must send a PROXY header. \
             This is told once a minute at the most"
        );
    }
}

/// While stopping, for the first request of a connection that came just before.
const FIRST_HEAD: Duration = Duration::from_secs(1);
