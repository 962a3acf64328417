//! From a request as it came to the request that goes to a replica.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version};
use hyper::body::Incoming;

use crate::domain::http::framing::Body;
use crate::domain::http::refusal::Refusal;
use crate::domain::http::upgrade::Upgrade;
use crate::domain::http::{forwarded, hop_by_hop, host, target};
use crate::domain::names::host_key;
use crate::proxy::request::downstream::Downstream;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::{RequestBody, Upload};

/// A request that is ready to be sent, and what its route depends on.
#[derive(Debug)]
pub(super) struct Prepared {
    /// In its lookup form; empty if the request names none.
    pub(super) host: String,
    /// As a lenient server would read the path, if that differs.
    pub(super) lenient_path: Option<String>,
    pub(super) client: IpAddr,
    /// The protocols that the client would change to.
    pub(super) upgrade: Option<Upgrade>,
    upload: Rc<Upload>,
    /// In normal form.
    target: PathAndQuery,
    /// None while it is being sent.
    request: Option<Request<RequestBody>>,
}

/// Checks a request and brings it into the form in which it is forwarded.
pub(super) fn prepare(
    resources: &Resources,
    downstream: &Downstream,
    request: Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Prepared, Refusal> {
    let (mut parts, incoming) = request.into_parts();
    let client =
        forwarded::client(downstream.from.peer(), &parts.headers, |it| resources.trusts(it));
    exchange.client = client;
    // Growing once costs less than growing field by field.
    parts.headers.reserve(FIELDS_ADDED);
    downstream.from.apply(&mut parts.headers, client);
    exchange.request_id = Some(identify(&mut parts.headers));
    let facts = exchange.facts()?;
    // Where a body follows the head, no other protocol can.
    let upgrade = hop_by_hop::strip_request(&mut parts.headers)?.filter(|_| facts.upgrade);
    if let Some(upgrade) = &upgrade {
        upgrade.restore(&mut parts.headers);
    }
    if facts.body == Body::Chunked {
        // hyper would leave the body out of a GET whose length is not known.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(authority) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(HOST, authority);
    }
    let host = match parts.headers.get(HOST) {
        Some(value) => host_key(host::split(value.as_bytes())?.host).into_owned(),
        None => String::new(),
    };
    let (target, lenient_path) = read_target(&parts.uri)?;
    parts.uri = Uri::from(target.clone());
    parts.version = Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    let body = RequestBody::new(incoming, Rc::clone(&exchange.upload));
    let request = Some(Request::from_parts(parts, body));
    let upload = Rc::clone(&exchange.upload);
    Ok(Prepared { host, lenient_path, client, upgrade, upload, target, request })
}

impl Prepared {
    /// In normal form, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    /// The request, to be sent. There is one until it is taken, and again after
    /// it was put back.
    pub(super) fn take_request(&mut self) -> Request<RequestBody> {
        debug_assert!(self.request.is_some(), "a request is taken twice");
        let empty = || Request::new(RequestBody::empty(Rc::clone(&self.upload)));
        self.request.take().unwrap_or_else(empty)
    }

    /// Gives a request without `Host`, which only HTTP/1.0 may send, the one
    /// that HTTP/1.1 needs: the address of its replica.
    pub(super) fn name_host(&mut self, endpoint: SocketAddr) {
        if let Some(request) = &mut self.request
            && !request.headers().contains_key(HOST)
            && let Ok(address) = HeaderValue::try_from(endpoint.to_string())
        {
            request.headers_mut().insert(HOST, address);
        }
    }

    /// A request that was not sent, or another like it, for the next try.
    pub(super) fn put_back(&mut self, request: Request<RequestBody>) {
        self.request = Some(request);
    }

    /// A request like this one, if sending it twice does no harm: its method is
    /// idempotent (RFC 9110, section 9.2.2) and it has no body.
    pub(super) fn spare(&self) -> Option<Request<RequestBody>> {
        let request = self.request.as_ref()?;
        let repeatable =
            request.method().is_idempotent() && http_body::Body::is_end_stream(request.body());
        repeatable.then(|| {
            let mut spare = Request::new(RequestBody::empty(Rc::clone(&self.upload)));
            request.method().clone_into(spare.method_mut());
            request.uri().clone_into(spare.uri_mut());
            request.headers().clone_into(spare.headers_mut());
            spare
        })
    }
}

/// The target in normal form, and the lenient reading of its path if it differs.
fn read_target(uri: &Uri) -> Result<(PathAndQuery, Option<String>), Refusal> {
    let written = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let read = target::read(written)?;
    let target = match (&read.path, uri.path_and_query()) {
        (Cow::Borrowed(path), Some(target)) if *path == target.path() => Ok(target.clone()),
        (path, _) => match read.query {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
            None => PathAndQuery::try_from(path.as_ref()),
        },
    };
    Ok((target.map_err(|_| Refusal::Target)?, read.lenient))
}

/// The id of the request: that of a trusted proxy, else a new one.
fn identify(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(X_REQUEST_ID) {
        return id.clone();
    }
    let mut id = [0; 32];
    let mut bits = fastrand::u128(..);
    for digit in &mut id {
        *digit = HEX.get((bits & 15) as usize).copied().unwrap_or(b'0');
        bits >>= 4;
    }
    let id = HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static(""));
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// At most: forwarding fields, the request's id, `Connection` and `Upgrade`.
const FIELDS_ADDED: usize = 8;

const HEX: &[u8; 16] = b"0123456789abcdef";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
