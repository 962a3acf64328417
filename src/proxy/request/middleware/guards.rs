//! Refusing requests: too many of them, from nobody known, or too large.

use http::header::AUTHORIZATION;
use tokio::time::Instant;

use crate::domain::auth::{Credentials, Users};
use crate::domain::http::framing::Body;
use crate::domain::limit::Ruling;
use crate::domain::middleware::RateLimit;
use crate::domain::names::PoolName;
use crate::proxy::error::ProxyError;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::resources::Resources;

/// Takes a token of the pool's limit, as it is now: a request may have been held,
/// or asked for a password, before it came here.
pub(super) fn rate(
    limit: &RateLimit,
    pool: &PoolName,
    resources: &Resources,
    prepared: &Prepared,
) -> Result<(), ProxyError> {
    let table = resources.table();
    let Some(pool) = table.pool(pool) else { return Ok(()) };
    let since = Instant::now().duration_since(resources.parts.epoch);
    let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let key = limit.key(prepared.client, prepared.headers());
    match pool.state.limit.get().take(key, limit.rate, now) {
        Ruling::Pass => Ok(()),
        Ruling::Wait { next, whole } => {
            Err(ProxyError::RateLimited { limit: limit.rate.burst.get(), next, whole })
        }
    }
}

/// Verifies the name and password of a request. They are sent on: an
/// application may want to know who it is. It would not know whom of several, so
/// that a second line of them is refused.
pub(super) async fn basic(
    users: &Users,
    pool: &PoolName,
    resources: &Resources,
    prepared: &Prepared,
    exchange: &mut Exchange,
) -> Result<(), ProxyError> {
    let mut fields = prepared.headers().get_all(AUTHORIZATION).iter();
    let field = fields.next().filter(|_| fields.next().is_none());
    let given = field.and_then(|field| Credentials::read(field.as_bytes()));
    let given = given.ok_or(ProxyError::Unauthorized)?;
    let verifier = &resources.parts.passwords;
    let pool = pool.to_string();
    match verifier.verify(resources.verified(), &pool, users, &given).await {
        Ok(true) => {
            exchange.identified(&given.user);
            Ok(())
        }
        Ok(false) => Err(ProxyError::Unauthorized),
        Err(_busy) => Err(ProxyError::AuthUnavailable("it takes too long to verify passwords")),
    }
}

/// Refuses a body that is said to be too large, and has any other break where it is.
pub(super) fn body_limit(
    limit: u64,
    prepared: &Prepared,
    exchange: &Exchange,
) -> Result<(), ProxyError> {
    let upload = prepared.upload();
    let said = match exchange.facts().map(|facts| facts.body) {
        Ok(Body::Length(bytes)) => bytes,
        Ok(Body::None | Body::Chunked) | Err(_) => 0,
    };
    if said.max(upload.bytes()) > limit {
        return Err(ProxyError::BodyTooLarge { limit });
    }
    upload.set_limit(Some(limit));
    Ok(())
}
