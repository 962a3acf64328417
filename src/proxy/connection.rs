//! One client connection: who is on the line, and what serves it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::domain::http::forwarded::{self, Scheme};
use crate::proxy::complaints::{Kind, complain};
use crate::proxy::crowd::Member;
use crate::proxy::http1::{self, Limits};
use crate::proxy::http2;
use crate::proxy::introduction::{Introduced, NotIntroduced};
use crate::proxy::listener::EntryPoint;
use crate::proxy::request::Visitor;
use crate::proxy::resources::Resources;
use crate::proxy::secure::{self, NotSecured};
use crate::proxy::sniff::{Speech, sniff};
use crate::telemetry::metrics::Refused;

/// Serves a connection until either side ends it, or we stop.
pub(super) async fn serve(
    resources: Rc<Resources>,
    mut stream: TcpStream,
    peer: SocketAddr,
    entry: Arc<EntryPoint>,
) {
    let accepted = Instant::now();
    let limits = Limits { idle_timeout: resources.parts.keep_alive, ..Limits::default() };
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
    let Introduced { ends, is_known, rest } = introduced;
    let trusted = is_known && resources.trusts(ends.source.ip());
    // Whoever speaks for itself was counted when it was accepted.
    let speaks_for_another = is_known && ends.source != peer;
    let _member = if speaks_for_another && !trusted {
        let Ok(member) = join(&resources, ends.source.ip()) else { return };
        member
    } else {
        None
    };
    let from = |scheme| forwarded::Downstream::new(ends.source.ip(), trusted, scheme);
    // Each is boxed, so that a connection holds no more than its own protocol
    // needs.
    if !entry.tls {
        let visitor = Visitor { from: from(Scheme::Http), ends, entry, session: None };
        let stops = (resources.bell().listen(), FIRST_HEAD);
        return match Box::pin(sniff(&stream, rest, &limits, stops)).await {
            Speech::Http1(rest) => {
                Box::pin(http1::serve(resources, stream, &rest, visitor)).await;
            }
            Speech::Http2(rest) => {
                Box::pin(http2::serve(resources, stream, &rest, visitor)).await;
            }
            Speech::Nothing => {}
        };
    }
    let deadline = accepted + HANDSHAKE_TIMEOUT;
    match Box::pin(secure::shake_hands(&resources, ends.source.ip(), stream, rest, deadline)).await
    {
        Ok(Some(secured)) => {
            let is_http2 = secured.is_http2();
            let session = Some(secured.session);
            let visitor = Visitor { from: from(Scheme::Https), ends, entry, session };
            if is_http2 {
                Box::pin(http2::serve(resources, secured.stream, &[], visitor)).await;
            } else {
                Box::pin(http1::serve(resources, secured.stream, &[], visitor)).await;
            }
        }
        Ok(None) => {}
        Err(error) => unsecured(&resources, ends.source, &error),
    }
}

/// Counts a connection among its client's, where they are limited. An error if it
/// has as many as it may.
pub(super) fn join(resources: &Resources, client: IpAddr) -> Result<Option<Member>, Crowded> {
    let Some(crowd) = &resources.parts.crowd else { return Ok(None) };
    let member = crowd.join(client);
    if member.is_none() {
        resources.parts.counters.connection_refused(Refused::Client);
        complain(resources, Kind::Crowd, client, &Crowded);
    }
    member.map(Some).ok_or(Crowded)
}

/// Why a client has no more connections.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this client holds as many as --connections-per-client lets it")]
pub(super) struct Crowded;

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

/// A client without a connection is told why by an alert at the most: whoever
/// runs us must be able to see more.
fn unsecured(resources: &Resources, client: SocketAddr, error: &NotSecured) {
    debug!(%client, %error, "A TLS handshake failed");
    resources.parts.counters.handshake_failed(error.reason());
    complain(resources, Kind::Handshake, client.ip(), error);
}

/// From the connection's begin to the end of its handshake, a PROXY header
/// included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// While stopping, for the first request of a connection that came just before.
pub(super) const FIRST_HEAD: Duration = Duration::from_secs(1);
