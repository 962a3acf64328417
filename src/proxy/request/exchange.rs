//! What is known of one request from its head to its last byte.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use crate::domain::http::framing::HeadFacts;
use crate::domain::http::refusal::Refusal;
use crate::domain::http::trace_context::TraceId;
use crate::domain::pool::{Endpoint, Pool, Retry, Tally};
use crate::proxy::http1::turn::Turn;
use crate::proxy::request::downstream::{Arrived, Visitor};
use crate::proxy::request::timers::Timers;
use crate::proxy::resources::Resources;
use crate::proxy::upstream::Upload;
use crate::telemetry::access_log::{Entry, Tls};

/// One request and its answer. When it is dropped it is over, however it
/// ended: it is counted and logged then, once.
#[derive(Debug)]
pub(in crate::proxy) struct Exchange {
    resources: Rc<Resources>,
    pub(super) timers: Timers,
    pub(super) client: IpAddr,
    pool: Option<Arc<Pool>>,
    /// Where it is counted beside its pool.
    route: Option<Arc<Tally>>,
    /// Why another attempt follows, if one does.
    pub(super) again: Option<Retry>,
    /// None until an answer has begun.
    status: Option<StatusCode>,
    /// What the client was sent, where that is not what became of the request.
    sent: Option<StatusCode>,
    /// Why it ended, if not well.
    end: Option<&'static str>,
    /// None until the request has been read.
    pub(super) upload: Option<Rc<Upload>>,
    tunnelled_bytes: u64,
    response_bytes: u64,
    pub(super) attempts: u32,
    /// A stale connection has cost it a try already.
    pub(super) refreshed: bool,
    reused: bool,
    pub(super) request_id: Option<HeaderValue>,
    /// Which trace it belongs to.
    pub(super) trace: Option<TraceId>,
    facts: Result<HeadFacts, Refusal>,
    /// Lets the next request of the connection through when it is dropped.
    pub(super) turn: Option<Turn>,
    line: Option<Box<Line>>,
}

/// Which answer it was, and whose.
#[derive(Debug)]
pub(super) struct Told {
    status: Option<StatusCode>,
    reused: bool,
    first_byte: Option<Duration>,
    replica: Option<Replica>,
}

/// What only the access log wants.
#[derive(Debug)]
struct Line {
    began_at: SystemTime,
    /// None, as `target`, of a request that could not be read.
    method: Option<Method>,
    target: Option<Uri>,
    version: Version,
    /// The version of TLS and the name that was asked for.
    tls: Option<(&'static str, Option<Arc<str>>)>,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    user: Option<Box<str>>,
    /// Of the last attempt.
    replica: Option<Replica>,
}

/// What the access log tells of an endpoint. Less is cloned than all of it, since
/// workers share what counts the clones.
#[derive(Clone, Debug)]
struct Replica {
    name: Arc<str>,
    service: Option<Arc<str>>,
    container: Arc<str>,
    address: SocketAddr,
}

impl Exchange {
    pub(super) fn begin<B>(
        resources: &Rc<Resources>,
        visitor: &Visitor,
        arrived: Arrived,
        request: &Request<B>,
    ) -> Self {
        let logged = resources.parts.access_log.is_on();
        let Arrived { facts, turn } = arrived;
        let readable = facts.is_ok();
        Self {
            resources: Rc::clone(resources),
            timers: Timers::start(),
            client: visitor.from.peer(),
            pool: None,
            route: None,
            again: None,
            status: None,
            sent: None,
            end: None,
            upload: None,
            tunnelled_bytes: 0,
            response_bytes: 0,
            attempts: 0,
            refreshed: false,
            reused: false,
            request_id: None,
            trace: None,
            facts,
            turn,
            line: logged.then(|| Box::new(Line::of(visitor, request, readable))),
        }
    }

    /// What was made of the request's head.
    pub(super) fn facts(&self) -> Result<HeadFacts, Refusal> {
        self.facts
    }

    /// Whether it has just become known which pool is asked.
    pub(super) fn routed_to(&mut self, pool: &Arc<Pool>, route: Option<&Arc<Tally>>) -> bool {
        let is_news = self.pool.is_none();
        if is_news {
            self.pool = Some(Arc::clone(pool));
            self.route = route.cloned();
        }
        is_news
    }

    /// This user has given the right password.
    pub(super) fn identified(&mut self, user: &str) {
        if let Some(line) = &mut self.line {
            line.user = Some(user.into());
        }
    }

    /// A try at `endpoint` begins.
    pub(super) fn attempt(&mut self, endpoint: &Endpoint) {
        self.attempts += 1;
        endpoint.tally.attempt();
        if let (Some(why), Some(pool)) = (self.again.take(), &self.pool) {
            pool.state.efforts.retry(why);
        }
        if let Some(line) = &mut self.line {
            line.replica = Some(Replica::of(endpoint));
        }
    }

    /// The head of the replica's answer is there. When that is.
    pub(super) fn answered(&mut self, status: StatusCode, reused: bool) -> Instant {
        self.status = Some(status);
        self.reused = reused;
        self.timers.answered()
    }

    /// What is known of the answer that has come, which may not be given.
    pub(super) fn told(&mut self) -> Told {
        let replica = self.line.as_ref().and_then(|line| line.replica.clone());
        let (status, first_byte) = (self.status.take(), self.timers.first_byte.take());
        Told { status, reused: std::mem::take(&mut self.reused), first_byte, replica }
    }

    /// That answer is given after all.
    pub(super) fn tell(&mut self, told: Told) {
        let Told { status, reused, first_byte, replica } = told;
        (self.status, self.reused, self.timers.first_byte) = (status, reused, first_byte);
        if let Some(line) = &mut self.line {
            line.replica = replica;
        }
    }

    /// We answer ourselves.
    pub(super) fn replied(&mut self, status: StatusCode, reason: &'static str) {
        self.status = Some(status);
        self.end = Some(reason);
    }

    /// We answer so that HTTP sees this status: the failure is told otherwise.
    pub(super) fn sent_as(&mut self, status: StatusCode) {
        self.sent = Some(status);
    }

    /// The body of the answer is over: `whole` if all of it was read; else why
    /// it `failed`, unless the client left.
    pub(in crate::proxy) fn body_ended(
        &mut self,
        bytes: u64,
        whole: bool,
        failed: Option<&'static str>,
    ) {
        self.response_bytes = bytes;
        // An answer of our own has said why already.
        if self.end.is_none() && !whole {
            self.end = Some(failed.unwrap_or("client_closed"));
        }
    }

    /// The tunnel that the answer became is over.
    pub(super) fn tunnel_ended(&mut self, up: u64, down: u64, reason: &'static str) {
        self.tunnelled_bytes = up;
        self.response_bytes = down;
        self.end = Some(reason);
    }
}

impl Replica {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            name: Arc::clone(&endpoint.name),
            service: endpoint.service.clone(),
            container: Arc::clone(&endpoint.id.workload.id),
            address: endpoint.id.address,
        }
    }
}

impl Line {
    fn of<B>(visitor: &Visitor, request: &Request<B>, readable: bool) -> Self {
        let session = visitor.session.as_ref();
        let field = |name| readable.then(|| request.headers().get(name).cloned()).flatten();
        Self {
            began_at: wall_clock(),
            method: readable.then(|| request.method().clone()),
            target: readable.then(|| request.uri().clone()),
            version: request.version(),
            tls: session.map(|session| (session.version, session.name.clone())),
            host: field(HOST),
            referer: field(REFERER),
            user_agent: field(USER_AGENT),
            user: None,
            replica: None,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let times = self.timers.stop();
        let status = self.status.map_or(CLIENT_CLOSED, |status| status.as_u16());
        let of_pool = self.pool.as_ref().map(|pool| &pool.state.tally);
        for tally in of_pool.into_iter().chain(self.route.as_deref()) {
            // How long a tunnel was open says nothing of how well it was served.
            if status == StatusCode::SWITCHING_PROTOCOLS.as_u16() {
                tally.count(status);
            } else {
                tally.record(status, times.total);
            }
        }
        let log = &self.resources.parts.access_log;
        let Some(line) = self.line.take().filter(|_| log.wants(status, times.total)) else {
            return;
        };
        let replica = line.replica.as_ref();
        let pool = self.pool.as_deref();
        let target = line.target.as_ref().map_or(Cow::Borrowed(""), written);
        let end = self.end.or(self.status.is_none().then_some("client_closed"));
        log.log(&Entry {
            time: line.began_at,
            client: self.client,
            user: line.user.as_deref(),
            method: line.method.as_ref().map_or("", Method::as_str),
            target: target.as_bytes(),
            version: line.version,
            tls: line.tls.as_ref().map(|(version, sni)| Tls { version, sni: sni.as_deref() }),
            status: self.sent.map_or(status, |sent| sent.as_u16()),
            request_bytes: self.tunnelled_bytes + self.upload.as_ref().map_or(0, |it| it.bytes()),
            response_bytes: self.response_bytes,
            referer: line.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: line.user_agent.as_ref().map(HeaderValue::as_bytes),
            host: line.host.as_ref().map(HeaderValue::as_bytes),
            trace: self.trace,
            request_id: self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            pool: pool.map(|pool| &*pool.label),
            project: pool.and_then(|pool| pool.name.project.as_deref()),
            service: replica.and_then(|it| it.service.as_deref()),
            replica: replica.map(|it| &*it.name),
            container: replica.map(|it| &*it.container),
            upstream: replica.map(|it| it.address),
            attempts: self.attempts,
            reused: self.reused,
            wait_us: micros(times.waited),
            connect_us: times.connecting.map(micros),
            first_byte_us: times.first_byte.map(micros),
            overhead_us: micros(times.ours),
            total_us: micros(times.total),
            end: end.unwrap_or("ok"),
        });
    }
}

/// A target as it was sent.
fn written(target: &Uri) -> Cow<'_, str> {
    match target.path_and_query() {
        Some(origin) if target.authority().is_none() => Cow::Borrowed(origin.as_str()),
        Some(_) | None => Cow::Owned(target.to_string()),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "a log line tells the time of day")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// nginx's number for a client that left before it was answered.
const CLIENT_CLOSED: u16 = 499;
