//! From a request as it came to the request that goes to a replica.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use http::header::{EXPECT, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::time::Instant;

use crate::domain::http::forwarded::Scheme;
use crate::domain::http::framing::Body;
use crate::domain::http::refusal::Refusal;
use crate::domain::http::upgrade::Upgrade;
use crate::domain::http::{forwarded, grpc, hop_by_hop, host, target, trace_context, websocket};
use crate::domain::names::host_key;
use crate::domain::pool::{Pool, Timeouts, Wanted};
use crate::domain::proxy_protocol::Ends;
use crate::domain::routing::Asked;
use crate::proxy::client_body::ClientBody;
use crate::proxy::request::answer;
use crate::proxy::request::downstream::Downstream;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::resources::Resources;
use crate::proxy::secure::Session;
use crate::proxy::upstream::{Change, RequestBody, Upload};

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
    /// It asks for a WebSocket by an extended CONNECT (RFC 8441), to which any
    /// success is a switch; the key for the replica is ours.
    pub(super) extended: bool,
    ends: Ends,
    downstream: Rc<Downstream>,
    upload: Rc<Upload>,
    /// What a gRPC call's client allows it in all.
    timeout: Option<grpc::Timeout>,
    began: Instant,
    /// In normal form.
    target: PathAndQuery,
    method: Method,
    headers: HeaderMap,
}

/// Checks a request and brings it into the form in which it is forwarded.
pub(super) fn prepare(
    resources: &Resources,
    downstream: &Rc<Downstream>,
    request: Request<ClientBody>,
    exchange: &mut Exchange,
) -> Result<Prepared, Refusal> {
    let (mut parts, incoming) = request.into_parts();
    let client = downstream.visitor.from.client(&parts.headers, |it| resources.trusts(it));
    exchange.client = client;
    // Growing once costs less than growing field by field.
    parts.headers.reserve(FIELDS_ADDED);
    downstream.visitor.from.apply(&mut parts.headers, client);
    tell_of_client(downstream, &mut parts.headers);
    exchange.request_id = Some(identify(&mut parts.headers));
    let facts = exchange.facts()?;
    // Where a body follows the head, no other protocol can.
    let upgrade = hop_by_hop::strip_request(&mut parts.headers)?.filter(|_| facts.upgrade);
    if let Some(upgrade) = &upgrade {
        upgrade.restore(&mut parts.headers);
    }
    exchange.trace = trace_context::pass_on(&mut parts.headers).map(|it| it.trace);
    let extended = upgrade.is_some() && parts.version == Version::HTTP_2;
    // We answer it, once a replica begins to take the body: an answer of the
    // replica's own could not be told from the beginning of the real one.
    parts.headers.remove(EXPECT);
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
    let upload = Upload::new(incoming);
    exchange.upload = Some(Rc::clone(&upload));
    let (method, headers) = (parts.method, parts.headers);
    let (ends, timeout, began) =
        (ends(downstream, client), timeout(&headers), exchange.timers.began);
    Ok(Prepared {
        host,
        lenient_path,
        client,
        upgrade,
        extended,
        ends,
        downstream: Rc::clone(downstream),
        upload,
        timeout,
        began,
        target,
        method,
        headers,
    })
}

impl Prepared {
    /// In normal form, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    /// What its route depends on, by one of the readings of its path.
    pub(super) fn asked<'a>(&'a self, path: &'a str) -> Asked<'a> {
        let Self { host, target, method, headers, client, downstream, .. } = self;
        let entry_point = &*downstream.visitor.entry.name;
        Asked { host, path, query: target.query(), method, headers, client: *client, entry_point }
    }

    /// The other protocol that it asks for, by what may carry that.
    pub(super) fn change(&self) -> Option<Change> {
        // Only a GET can be one (RFC 6455, section 4.1).
        let is_websocket = |it: &Upgrade| {
            it.is_websocket()
                && self.method == Method::GET
                && self.headers.contains_key(SEC_WEBSOCKET_KEY)
        };
        self.upgrade
            .as_ref()
            .map(|it| if is_websocket(it) { Change::WebSocket } else { Change::Other })
    }

    /// As it is forwarded.
    pub(super) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// As they are forwarded, but for what a replica is given beside them.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What a replica that wants PROXY headers is told of the client.
    pub(super) fn ends(&self) -> Ends {
        self.ends
    }

    /// Whether `answer` proves that the key was read, where its client could not
    /// tell.
    pub(super) fn is_proven(&self, answer: &HeaderMap) -> bool {
        let proof = || Some(websocket::proof(self.headers.get(SEC_WEBSOCKET_KEY)?.as_bytes()));
        let given = answer.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        !self.extended || given == proof().as_ref().map(String::as_bytes)
    }

    pub(super) fn upload(&self) -> &Rc<Upload> {
        &self.upload
    }

    /// Whether doing it twice does no more than doing it once (RFC 9110,
    /// section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Until when the head of an answer must be there, where the client says so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| self.began + timeout.patience())
    }

    /// What a replica that is asked now is given of `timeouts`: the client's own
    /// deadline counts where it is later.
    pub(super) fn timeouts(&self, timeouts: &Timeouts) -> Timeouts {
        let left = self.deadline().map(|until| until.saturating_duration_since(Instant::now()));
        let response = left.map_or(timeouts.response, |left| left.max(timeouts.response));
        Timeouts { response, ..*timeouts }
    }

    /// How the client reached us, or a proxy that we trust.
    pub(super) fn scheme(&self) -> Scheme {
        forwarded::scheme(&self.headers)
    }

    /// What the handshake of its connection has settled; none of a clear one.
    pub(super) fn session(&self) -> Option<&Session> {
        self.downstream.visitor.session.as_ref()
    }

    /// What it says of where in `pool` it belongs.
    pub(super) fn wanted<'a>(&self, pool: &'a Pool) -> Wanted<'a> {
        pool.wanted(&self.headers, self.target.as_str())
    }

    /// The request as the replica at `endpoint` gets it, from its beginning. The
    /// head is copied, since any attempt may have to be followed by another one.
    pub(super) fn request(&self, endpoint: SocketAddr) -> Request<RequestBody> {
        let mut request = Request::new(self.upload.body());
        self.method.clone_into(request.method_mut());
        *request.uri_mut() = Uri::from(self.target.clone());
        self.headers.clone_into(request.headers_mut());
        if let Some(timeout) = self.timeout
            && let passed = self.began.elapsed()
            && passed >= TIME_WORTH_TELLING
            && let Ok(left) = HeaderValue::try_from(timeout.after(passed).to_string())
        {
            request.headers_mut().insert(GRPC_TIMEOUT, left);
        }
        // Only HTTP/1.0 may leave it out, and HTTP/1.1 needs one.
        if !self.headers.contains_key(HOST)
            && let Ok(address) = HeaderValue::try_from(endpoint.to_string())
        {
            request.headers_mut().insert(HOST, address);
        }
        request
    }
}

/// Passes on the certificate that the client has shown (RFC 9440). That of a
/// trusted proxy is not its client's, of whose it tells itself or not.
fn tell_of_client(downstream: &Downstream, headers: &mut HeaderMap) {
    if let Some(session) = &downstream.visitor.session
        && let Some(client) = &session.client
        && !downstream.visitor.from.is_trusted()
    {
        headers.insert(CLIENT_CERT, client.value.clone());
    }
}

/// Both ends of the client's connection. Of a client that a proxy speaks for,
/// the port is not known.
fn ends(downstream: &Downstream, client: IpAddr) -> Ends {
    if client == downstream.visitor.from.peer() {
        downstream.visitor.ends
    } else {
        Ends { source: SocketAddr::new(client, 0), ..downstream.visitor.ends }
    }
}

fn timeout(headers: &HeaderMap) -> Option<grpc::Timeout> {
    let timeout = headers.get(GRPC_TIMEOUT).filter(|_| answer::is_call(headers))?;
    grpc::Timeout::parse(timeout.as_bytes())
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

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// A call that has not waited is passed on with the timeout that it came with: a
/// replica's own clock is no finer.
const TIME_WORTH_TELLING: Duration = Duration::from_millis(10);

/// At most: forwarding fields, the request's id, `Client-Cert`, `Connection` and
/// `Upgrade`.
const FIELDS_ADDED: usize = 9;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

const HEX: &[u8; 16] = b"0123456789abcdef";

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
