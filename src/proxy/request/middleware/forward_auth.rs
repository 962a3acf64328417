//! Asking a service whether a request may pass.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, COOKIE, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LOCATION, RANGE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use tokio::time::timeout;
use tracing::debug;

use crate::domain::middleware::{AuthUrl, ForwardAuth, HeaderEdits};
use crate::proxy::errand::Service;
use crate::proxy::error::ProxyError;
use crate::proxy::request::middleware::Reply;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::resources::Resources;

/// Asks, and grants the request what the answer gives it. An answer that is not
/// yes becomes that of the client.
pub(super) async fn admit(
    auth: &ForwardAuth,
    resources: &Rc<Resources>,
    prepared: &Prepared,
    granted: &mut HeaderEdits,
) -> Result<Option<Reply>, ProxyError> {
    if prepared.headers().contains_key(MARK) {
        return Err(ProxyError::AuthUnavailable("its service asks us about itself"));
    }
    let question = question(auth, prepared);
    let AuthUrl { host, port, secure, .. } = &auth.url;
    let service = Service { host, port: *port, secure: *secure };
    let asking = resources.errands().ask(service, &question, BYTES_MAX);
    let answer = match timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failed)) => {
            debug!(url = %auth.url, "The service that decides failed: {failed}");
            return Err(ProxyError::AuthUnavailable("its service failed"));
        }
        Err(_) => return Err(ProxyError::AuthUnavailable("its service did not answer in time")),
    };
    if answer.status().is_success() {
        grant(&auth.headers, prepared.headers(), answer.headers(), granted);
        return Ok(None);
    }
    if answer.status().is_server_error() || answer.status().is_informational() {
        return Err(ProxyError::AuthUnavailable("its service answered with an error"));
    }
    Ok(Some(refusal(answer)))
}

/// The request without its body, as a GET, and what it was about.
fn question(auth: &ForwardAuth, prepared: &Prepared) -> Request<()> {
    let mut headers = prepared.headers().clone();
    for name in NOT_ASKED {
        headers.remove(name);
    }
    // What the client says under these names is not believed there either, but
    // for what the service is there to judge.
    for name in auth.headers.iter().filter(|name| ![AUTHORIZATION, COOKIE].contains(name)) {
        for forged in spellings(name, prepared.headers()) {
            headers.remove(forged);
        }
    }
    if let Ok(host) = HeaderValue::try_from(auth.url.authority.as_str()) {
        headers.insert(HOST, host);
    }
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(X_FORWARDED_METHOD, text(prepared.method().as_str()));
    headers.insert(X_FORWARDED_URI, text(prepared.target().as_str()));
    headers.insert(MARK, HeaderValue::from_static("1"));
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from(auth.url.target.clone());
    *request.headers_mut() = headers;
    request
}

/// Has the request carry these fields as the service gave them, and no others
/// that the client has sent under their names.
fn grant(names: &[HeaderName], sent: &HeaderMap, given: &HeaderMap, granted: &mut HeaderEdits) {
    for name in names {
        for other in spellings(name, sent) {
            granted.set(other.clone(), None);
        }
        let mut values = given.get_all(name).iter();
        let value = match (values.next(), values.next()) {
            (Some(only), None) => Some(only.clone()),
            (None, _) => None,
            (Some(_), Some(_)) => joined(given.get_all(name).iter()),
        };
        granted.set(name.clone(), value);
    }
}

/// The names among `sent` that are this one to servers that read `_` as `-`.
fn spellings<'a>(
    name: &'a HeaderName,
    sent: &'a HeaderMap,
) -> impl Iterator<Item = &'a HeaderName> {
    let dashed =
        |name: &'a HeaderName| name.as_str().bytes().map(|it| if it == b'_' { b'-' } else { it });
    sent.keys().filter(move |other| dashed(other).eq(dashed(name)))
}

fn joined<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&values.join(&b", "[..])).ok()
}

fn refusal(answer: Response<Bytes>) -> Reply {
    let (parts, body) = answer.into_parts();
    let mut headers = HeaderMap::new();
    for name in PASSED {
        for value in parts.headers.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    Reply { status: parts.status, headers, body, reason: "auth_refused" }
}

/// What is of the body or of the connection, and what would have an answer that
/// says something of a page, where a yes or no is asked for.
const NOT_ASKED: [HeaderName; 13] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a client gets of an answer that is not yes.
const PASSED: [HeaderName; 6] =
    [CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE];

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// On our questions, so that one that comes back to us ends there.
const MARK: HeaderName = HeaderName::from_static("x-evenkeel-forward-auth");

/// For a question and its answer, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of an answer.
const BYTES_MAX: usize = 64 * 1024;
