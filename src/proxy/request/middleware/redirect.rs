//! Answers that send the client elsewhere.

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::domain::http::forwarded::Scheme;
use crate::domain::http::refusal::Refusal;
use crate::domain::middleware::{Redirect, Url, to_https};
use crate::proxy::error::ProxyError;
use crate::proxy::request::middleware::Reply;
use crate::proxy::request::prepare::Prepared;

/// The answer to a request that came by plain http and should not have.
pub(super) fn https(prepared: &Prepared, port: u16) -> Result<Option<Reply>, ProxyError> {
    let url = url(prepared);
    match url.scheme {
        Scheme::Https => Ok(None),
        Scheme::Http => reply(to_https(url, port), StatusCode::PERMANENT_REDIRECT).map(Some),
    }
}

pub(super) fn elsewhere(prepared: &Prepared, redirect: &Redirect) -> Result<Reply, ProxyError> {
    reply(redirect.target.location(url(prepared)), redirect.status)
}

fn url(prepared: &Prepared) -> Url<'_> {
    let asked = prepared.asked(prepared.path());
    Url { scheme: prepared.scheme(), host: asked.host, path: asked.path, query: asked.query }
}

fn reply(location: Option<HeaderValue>, status: StatusCode) -> Result<Reply, ProxyError> {
    // Only HTTP/1.0 may come without a host.
    let location = location.ok_or(ProxyError::Refused(Refusal::HostMissing))?;
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    Ok(Reply { status, headers, body: Bytes::new(), reason: "redirect" })
}
