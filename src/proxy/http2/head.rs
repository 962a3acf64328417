//! From a stream's head to a request as every protocol brings it, and back.

use h2::RecvStream;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, DATE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use crate::domain::http::framing::{self, Body, HeadFacts};
use crate::domain::http::hop_by_hop;
use crate::domain::http::http2::{self, Head, websocket};
use crate::domain::http::own::own;
use crate::domain::http::refusal::Refusal;
use crate::proxy::http2::date;
use crate::proxy::request::ResponseBody;

/// Reads a head. The request comes back as HTTP/1 would have it.
pub(super) fn read(request: &mut Request<RecvStream>) -> Result<HeadFacts, Refusal> {
    let protocol = request.extensions_mut().remove::<Protocol>();
    let facts = http2::judge(&Head {
        method: request.method(),
        uri: request.uri(),
        headers: request.headers(),
        protocol: protocol.as_ref().map(Protocol::as_str),
        ended: request.body().is_end_stream(),
    });
    let authority = request
        .uri()
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let target = request.uri().path_and_query().cloned().map(Uri::from).unwrap_or_default();
    *request.uri_mut() = target;
    let facts = facts?;
    if let Some(authority) = authority {
        request.headers_mut().insert(HOST, authority);
    }
    framing::fold_lengths(request.headers_mut());
    if let Some(cookie) = http2::cookie(request.headers()) {
        request.headers_mut().insert(COOKIE, cookie);
    }
    if facts.upgrade {
        *request.method_mut() = Method::GET;
        websocket::ask(request.headers_mut(), fastrand::u128(..).to_ne_bytes());
    }
    Ok(facts)
}

/// The head of an answer as a stream may carry it (RFC 9113 §8.2.2), and whether
/// nothing follows it.
pub(super) fn answer(
    asked: &Method,
    response: Response<ResponseBody>,
) -> (Response<()>, ResponseBody, bool) {
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_2;
    hop_by_hop::strip_response(&mut parts.headers);
    own(&mut parts.headers);
    parts.headers.entry(DATE).or_insert_with(date::now);
    let status = parts.status;
    if status == StatusCode::NO_CONTENT {
        parts.headers.remove(CONTENT_LENGTH);
    }
    // Neither has a body, whatever its length says (RFC 9110 §6.4.1).
    let bare = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = body.size_hint().exact().filter(|_| !bare);
    let ends = bare || asked == Method::HEAD || body.is_end_stream();
    if let Some(length) = length.filter(|&length| length > 0 || asked != Method::HEAD) {
        parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    (Response::from_parts(parts, ()), body, ends)
}

/// The head of an answer that has become a tunnel.
pub(super) fn switched(response: Response<ResponseBody>) -> Response<()> {
    let (mut parts, _) = response.into_parts();
    parts.version = Version::HTTP_2;
    parts.status = StatusCode::OK;
    hop_by_hop::strip_response(&mut parts.headers);
    own(&mut parts.headers);
    websocket::settle(&mut parts.headers);
    parts.headers.entry(DATE).or_insert_with(date::now);
    Response::from_parts(parts, ())
}

/// The length of a body, if it is known.
pub(super) fn length(facts: &HeadFacts) -> Option<u64> {
    match facts.body {
        Body::None => Some(0),
        Body::Length(length) => Some(length),
        Body::Chunked => None,
    }
}
