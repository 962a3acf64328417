//! What the fields of a request say, read as strictly as an HTTP/1 head.

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::domain::http::framing::{self, Body, FIELDS_MAX, HEAD_BYTES_MAX, HeadFacts};
use crate::domain::http::host;
use crate::domain::http::refusal::Refusal;
use crate::domain::http::token::trim;

/// A request's fields as they were decoded: names in lower case, without those
/// of a connection (RFC 9113 §8.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub method: &'a Method,
    /// Of `:scheme`, `:authority` and `:path`.
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// `:protocol`, of an extended CONNECT (RFC 8441 §4).
    pub protocol: Option<&'a str>,
    /// The stream ends with it.
    pub ended: bool,
}

/// Reads one head.
pub fn judge(head: &Head<'_>) -> Result<HeadFacts, Refusal> {
    let Head { method, uri, headers, protocol, ended } = *head;
    // Each crumb of a cookie counts: a few bytes of the wire make one.
    if headers.len() > FIELDS_MAX {
        return Err(Refusal::FieldsTooMany);
    }
    if bytes(head) > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    let tunnel = method == Method::CONNECT;
    if tunnel && !protocol.is_some_and(|it| it.eq_ignore_ascii_case("websocket")) {
        return Err(Refusal::Connect);
    }
    if headers.values().any(|value| trim(value.as_bytes()).len() != value.len()) {
        return Err(Refusal::FieldValue);
    }
    check_target(method, uri)?;
    check_host(uri, headers)?;
    let length = length(headers)?;
    let body = match length {
        _ if tunnel || ended => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Chunked,
    };
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    Ok(HeadFacts {
        body,
        version10: false,
        upgrade: tunnel,
        expect_continue: !body.is_empty() && headers.get(EXPECT).is_some_and(expects),
    })
}

/// What fields take decoded, as `SETTINGS_MAX_HEADER_LIST_SIZE` counts them (RFC
/// 9113 §6.5.2).
pub fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| field_bytes(name.as_str().len(), value.len())).sum()
}

/// As [`fields_bytes`], with the pseudo-fields.
fn bytes(head: &Head<'_>) -> usize {
    let path = head.uri.path_and_query().map_or(0, |it| it.as_str().len());
    [
        (":method", head.method.as_str().len()),
        (":scheme", head.uri.scheme_str().map_or(0, str::len)),
        (":authority", head.uri.authority().map_or(0, |it| it.as_str().len())),
        (":path", path),
    ]
    .into_iter()
    .map(|(name, length)| field_bytes(name.len(), length))
    .sum::<usize>()
        + fields_bytes(head.headers)
}

fn field_bytes(name: usize, value: usize) -> usize {
    name + value + FIELD_OVERHEAD_BYTES
}

/// The crumbs of a cookie in one field, as HTTP/1 wants it; none if they are in
/// one already (RFC 9113 §8.2.3).
pub fn cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut whole = crumbs.next()?.to_vec();
    let mut joined = false;
    for crumb in crumbs {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb);
        joined = true;
    }
    if joined { HeaderValue::from_maybe_shared(bytes::Bytes::from(whole)).ok() } else { None }
}

/// A path from the root, or `*` of a server's `OPTIONS`, by a scheme of ours
/// (RFC 9113 §8.3.1).
fn check_target(method: &Method, uri: &Uri) -> Result<(), Refusal> {
    let path = uri.path_and_query().map_or("", |it| it.as_str());
    let rooted = path.starts_with('/') || (path == "*" && method == Method::OPTIONS);
    let known = uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    if rooted && known { Ok(()) } else { Err(Refusal::Target) }
}

/// `:authority` and `Host` may both be there, if they name the same.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let named = hosts.next().map(|value| host::split(value.as_bytes())).transpose()?;
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    let Some(authority) = uri.authority() else {
        return if named.is_some() { Ok(()) } else { Err(Refusal::HostMissing) };
    };
    let authority = host::split(authority.as_str().as_bytes())?;
    let port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    match named {
        Some(named) if !authority.is_same(&named, port) => Err(Refusal::HostMismatch),
        Some(_) | None => Ok(()),
    }
}

/// What all fields for it agree on.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut agreed = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let length = framing::decimal(value.as_bytes()).ok_or(Refusal::LengthMalformed)?;
        match agreed.replace(length) {
            Some(earlier) if earlier != length => return Err(Refusal::LengthRepeated),
            Some(_) | None => {}
        }
    }
    Ok(agreed)
}

/// That a field is counted with, beside its name and value.
const FIELD_OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests;
