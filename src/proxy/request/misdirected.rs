//! Whether a request may come by the connection that brought it.

use std::time::SystemTime;

use crate::domain::http::forwarded::Scheme;
use crate::domain::middleware::Middleware;
use crate::domain::pool::Pool;
use crate::domain::routing::RoutingTable;
use crate::domain::tls::ClientAuth;
use crate::proxy::error::ProxyError;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::resources::Resources;

/// Refuses a request for a host that has another certificate, or other wishes
/// about certificates of clients, than the handshake was made for: its client
/// must come by a connection of its own (RFC 9110, section 15.5.20). Browsers
/// send requests for several hosts by one connection (RFC 9113, section 9.1.1).
/// The same goes for one whose handshake is outdated.
pub(super) fn check(
    resources: &Resources,
    table: &RoutingTable,
    prepared: &Prepared,
) -> Result<(), ProxyError> {
    let Some(session) = prepared.session() else { return Ok(()) };
    let authorities = resources.parts.tls.as_ref().map(|store| store.authorities());
    if authorities.is_some_and(|authorities| session.is_outdated(now(), &authorities)) {
        return Err(ProxyError::Misdirected);
    }
    let host = &*prepared.host;
    let auth = table.client_auth(host);
    if session.name.as_deref() == Some(host) {
        // What it wants may have changed since.
        return if auth > session.auth { Err(ProxyError::Misdirected) } else { Ok(()) };
    }
    let has_other_certificate = || {
        let identity = resources.parts.tls.as_ref().and_then(|store| store.identity(host));
        identity.as_ref() != Some(&session.identity)
    };
    // Who says no name must be content with the default certificate.
    let may_differ = session.name.is_none() || host.is_empty();
    if auth != session.auth || (!may_differ && has_other_certificate()) {
        return Err(ProxyError::Misdirected);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "certificates end by the time of day")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Whether `pool` wants a certificate of its clients that this one has not
/// shown; a proxy's word does not count.
pub(super) fn lacks_certificate(pool: &Pool, prepared: &Prepared) -> bool {
    pool.settings.client_auth == ClientAuth::Required
        && prepared.session().is_none_or(|session| session.client.is_none())
}

/// Whether all that `pool` does for this request is to send its client to https,
/// where it can show a certificate.
pub(super) fn is_sent_to_https(pool: &Pool, prepared: &Prepared) -> bool {
    prepared.scheme() == Scheme::Http
        && pool.settings.middlewares.iter().any(|it| matches!(it, Middleware::RedirectHttps))
}
