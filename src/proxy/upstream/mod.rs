//! Connections to replicas. They belong to one worker and never cross to
//! another.

mod answer;
mod body;
mod connect;
mod http2;
mod idle;
mod meter;
mod switch;

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

pub(super) use answer::{AnswerBody, AnswerBroke};
pub(super) use body::{RequestBody, Upload};
pub(super) use connect::Unconnected;
pub(super) use idle::Reuse;
pub(super) use switch::Switching;

use crate::domain::pool::{Endpoint, Timeouts, Vitals};
use crate::domain::retry::{Cause, is_hopeless};
use crate::domain::upstream::{Scheme, Tls};
use crate::proxy::bell::Watch;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::connect::{Line, Opened, Way};
use crate::proxy::upstream::http2::{Place, Shared, Stream, Turn, Unanswered, Use};
use crate::proxy::upstream::idle::Idle;
use crate::tls::{Clients, Offer, shares_no_protocol};

/// What one worker connects to replicas with.
#[derive(Debug)]
pub(super) struct Carriers {
    idle: Idle,
    shared: Shared,
    clients: Rc<Clients>,
    /// When it was last told of a replica that it does not speak as it should.
    told: RefCell<HashMap<u64, Instant>>,
}

/// What carries one request.
#[derive(Debug)]
pub(super) struct Connection {
    carrier: Carrier,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// It may carry another.
    reusable: bool,
}

#[derive(Debug)]
enum Carrier {
    /// A connection of its own.
    Line(Line),
    /// A stream of one that is shared.
    Stream(Stream),
}

/// How an attempt connects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approach<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Of https.
    pub(super) tls: Option<&'a Arc<Tls>>,
    pub(super) reuse: Reuse,
    /// A connection that begins with one is its client's alone: it is always
    /// fresh, and not used again.
    pub(super) greeting: Option<&'a [u8]>,
    /// The other protocol that the request asks for.
    pub(super) upgrade: Option<Change>,
    pub(super) timeouts: &'a Timeouts,
}

/// Another protocol that a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// A WebSocket, which a stream of HTTP/2 can become too (RFC 8441).
    WebSocket,
    /// What only a connection of its own can become.
    Other,
}

/// Why no answer came.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) error: ProxyError,
    /// The replica may have ended the connection for its age.
    pub(super) aged: bool,
    /// Another request has met the same end, and it counts once.
    pub(super) counted: bool,
}

/// What a request is sent by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) endpoint: SocketAddr,
    /// Since when it waits for its answer.
    pub(super) began: Instant,
    pub(super) timeouts: &'a Timeouts,
    /// Tells when the endpoint leaves.
    pub(super) watch: &'a Watch,
    /// Of the request's body.
    pub(super) upload: &'a Upload,
    pub(super) idempotent: bool,
}

impl Carriers {
    pub(super) fn new(clients: Rc<Clients>) -> Self {
        let (idle, shared, told) = (Idle::default(), Shared::default(), RefCell::default());
        Self { idle, shared, clients, told }
    }

    /// An idle connection to the endpoint that may be used, else a fresh one.
    pub(super) async fn connect(&self, way: Approach<'_>) -> Result<Connection, Unconnected> {
        let Approach { endpoint, greeting, timeouts, .. } = way;
        if endpoint.id.scheme != Scheme::Http {
            return Box::pin(self.connect_otherwise(way)).await;
        }
        if let Some(line) = self.idle_line(endpoint, None, way.reuse, greeting).await {
            return Ok(Connection::line(line, true, true));
        }
        let until = Instant::now() + timeouts.connect;
        let line = connect::line(endpoint.id.address, greeting, until).await;
        let line = line.map_err(Unconnected::Unreached)?;
        Ok(Connection::line(line, false, greeting.is_none()))
    }

    /// As [`Self::connect`], by TLS or HTTP/2.
    async fn connect_otherwise(&self, approach: Approach<'_>) -> Result<Connection, Unconnected> {
        let Approach { endpoint, tls, reuse, greeting, upgrade, timeouts } = approach;
        let id = &endpoint.id;
        if upgrade == Some(Change::Other) && id.scheme == Scheme::H2c {
            return Err(Unconnected::NoUpgrade);
        }
        let until = Instant::now() + timeouts.connect;
        let list = self.shared.list(&endpoint.vitals, tls);
        let (address, scheme) = (id.address, id.scheme);
        let by_line = match upgrade {
            None => false,
            Some(Change::Other) => true,
            // By TLS a connection of its own will do as well.
            Some(Change::WebSocket) => {
                scheme == Scheme::Https && (list.takes_no_websockets() || list.has_enough_tunnels())
            }
        };
        let way = || {
            let http1 = by_line || list.takes_http1_alone();
            let offer = if http1 { Offer::Http1 } else { Offer::Http2OrHttp1 };
            Way { address, scheme, tls, offer, greeting, until }
        };
        let turn = match upgrade {
            _ if by_line || greeting.is_some() => Turn::Http1,
            None => list.turn(reuse, Use::Request, until).await?,
            Some(_) => list.turn(reuse, Use::Tunnel, until).await?,
        };
        let opened = match turn {
            Turn::Place(place) => return self.on(place, true, approach, way()).await,
            Turn::Http1 => {
                if let Some(line) = self.idle_line(endpoint, tls, reuse, greeting).await {
                    return Ok(Connection::line(line, true, true));
                }
                self.open(way(), upgrade).await?
            }
            Turn::Open(opening) => match connect::open(way(), &self.clients).await {
                Ok(opened) => opened,
                Err(error) => {
                    opening.failed(&error);
                    return Err(error);
                }
            },
        };
        match opened {
            Opened::Http1(line) => {
                if way().offer == Offer::Http2OrHttp1 {
                    list.chooses_http1();
                }
                Ok(Connection::line(line, false, greeting.is_none()))
            }
            Opened::Http2(session) => {
                if greeting.is_none() {
                    list.add(&session);
                } else {
                    list.adopt(&session);
                }
                self.on(session.place(), false, approach, way()).await
            }
        }
    }

    /// A place on a shared connection, unless the request is for a WebSocket and
    /// the replica takes none there: then a connection of its own, by HTTP/1.1.
    async fn on(
        &self,
        place: Place,
        reused: bool,
        approach: Approach<'_>,
        way: Way<'_>,
    ) -> Result<Connection, Unconnected> {
        let Approach { endpoint, tls, reuse, greeting, upgrade, .. } = approach;
        let carries = match upgrade {
            None => true,
            Some(Change::WebSocket) => place.session().takes_websockets(),
            Some(Change::Other) => false,
        };
        if carries {
            let stream = Stream::new(place, way.scheme, upgrade.is_some());
            let (carrier, reusable) = (Carrier::Stream(stream), greeting.is_none());
            return Ok(Connection { carrier, reused, reusable });
        }
        drop(place);
        if way.scheme == Scheme::H2c {
            return Err(Unconnected::NoUpgrade);
        }
        if let Some(line) = self.idle_line(endpoint, tls, reuse, greeting).await {
            return Ok(Connection::line(line, true, true));
        }
        match self.open(Way { offer: Offer::Http1, ..way }, upgrade).await? {
            Opened::Http1(line) => Ok(Connection::line(line, false, greeting.is_none())),
            // It was not offered.
            Opened::Http2(_) => Err(Unconnected::NoUpgrade),
        }
    }

    /// One that HTTP/1.1 alone is offered to, and that has none, takes no upgrade.
    async fn open(&self, way: Way<'_>, upgrade: Option<Change>) -> Result<Opened, Unconnected> {
        match connect::open(way, &self.clients).await {
            Err(Unconnected::Untrusted(error))
                if upgrade.is_some() && shares_no_protocol(&error) =>
            {
                Err(Unconnected::NoUpgrade)
            }
            opened => opened,
        }
    }

    async fn idle_line(
        &self,
        endpoint: &Endpoint,
        tls: Option<&Arc<Tls>>,
        reuse: Reuse,
        greeting: Option<&[u8]>,
    ) -> Option<Line> {
        let reuse = if greeting.is_some() { Reuse::Never } else { reuse };
        while let Some(mut line) = self.idle.take(endpoint.vitals.serial(), tls, reuse) {
            // It is ready as soon as its task has seen the end of the last
            // answer, and fails if the replica has closed it.
            let sender = &mut line.sender;
            let ready =
                sender.is_ready() || matches!(timeout(READY_MAX, sender.ready()).await, Ok(Ok(())));
            if ready {
                return Some(line);
            }
        }
        None
    }

    /// Tells of a replica that does not speak as it should, once a minute.
    pub(super) fn tell(&self, endpoint: &Endpoint, what: &str, error: &io::Error) {
        let Endpoint { name, id, vitals, .. } = endpoint;
        let now = Instant::now();
        let mut told = self.told.borrow_mut();
        let since = told.entry(vitals.serial());
        let recent = |at: Instant| now.duration_since(at) < TELL_EVERY;
        if matches!(&since, Entry::Occupied(at) if recent(*at.get())) {
            debug!(replica = %name, address = %id.address, %error, "{what}");
        } else {
            since.insert_entry(now);
            warn!(replica = %name, address = %id.address, %error, "{what}");
        }
    }

    /// Closes connections to endpoints that leave, and those idle for too long.
    /// How many idle ones are left, without those that are shared.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        let idle = self.idle.sweep(now);
        self.shared.sweep(now);
        self.told.borrow_mut().retain(|_, at| now.duration_since(*at) < TELL_EVERY);
        idle
    }
}

impl Connection {
    fn line(line: Line, reused: bool, reusable: bool) -> Self {
        Self { carrier: Carrier::Line(line), reused, reusable }
    }

    /// What is to be kept while a tunnel that began with it lasts: its stream. A
    /// line has handed over all that it was.
    pub(super) fn into_stream(self) -> Option<Stream> {
        match self.carrier {
            Carrier::Line(_) => None,
            Carrier::Stream(stream) => Some(stream),
        }
    }

    /// Sends `request` and waits for the head of the answer, but no longer than
    /// the endpoint can be hoped to give one.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let Terms { endpoint, upload, .. } = terms;
        let line = match &mut self.carrier {
            Carrier::Line(line) => line,
            Carrier::Stream(stream) => {
                let sent = terms.wait(pin!(stream.send(request, endpoint))).await?;
                return match sent {
                    Ok(response) => Ok(response),
                    Err(_) if upload.is_broken() => Err(terms.broken()),
                    Err(Unanswered { cause, error, aged, counted }) => {
                        let error = ProxyError::Reset { endpoint, source: Box::new(error) };
                        Err(Failure { cause, error, aged, counted })
                    }
                };
            }
        };
        let before = line.traffic.reading();
        let outcome = terms.wait(pin!(line.sender.try_send_request(request))).await?;
        let mut failed = match outcome {
            Ok(response) => {
                // hyper would speak 1.0 to such a replica from now on, which
                // knows no chunked bodies.
                self.reusable &= response.version() == Version::HTTP_11;
                return Ok(response.map(AnswerBody::Http1));
            }
            Err(failed) => failed,
        };
        if upload.is_broken() {
            return Err(terms.broken());
        }
        let after = line.traffic.reading();
        // A replica may say goodbye to an idle connection, so what was not
        // written counts before what was read.
        let cause = if failed.take_message().is_some() || after.written == before.written {
            Cause::Unsent
        } else if after.read > before.read {
            Cause::AnswerBroken
        } else {
            Cause::Unanswered
        };
        let error = ProxyError::Reset { endpoint, source: Box::new(failed.into_error()) };
        Err(Failure { cause, error, aged: self.reused, counted: false })
    }

    /// Gives the connection back, its answer having been read to the end. Where
    /// the request is still being sent it is closed instead; of a shared one, the
    /// stream is reset.
    pub(super) fn release(self, upload: &Upload, vitals: &Arc<Vitals>, carriers: &Carriers) {
        match self.carrier {
            Carrier::Line(line) => {
                if self.reusable && upload.has_ended() && !line.sender.is_closed() {
                    carriers.idle.put(line, vitals, Instant::now());
                }
            }
            Carrier::Stream(stream) => drop(stream),
        }
    }
}

impl Failure {
    /// One that says nothing of the connection.
    fn new(cause: Cause, error: ProxyError) -> Self {
        Self { cause, error, aged: false, counted: false }
    }
}

impl Terms<'_> {
    /// Waits for what `sending` comes to.
    async fn wait<T>(self, mut sending: Pin<&mut impl Future<Output = T>>) -> Result<T, Failure> {
        let Terms { endpoint, began, timeouts, watch, upload, idempotent } = self;
        let left = || Failure::new(Cause::Left, ProxyError::Left { endpoint });
        loop {
            let deadline = upload.deadline(began, timeouts);
            let repeatable = || idempotent && upload.is_whole();
            let hopeless =
                |vitals: &Vitals| vitals.is_cut() || is_hopeless(vitals.state(), repeatable());
            tokio::select! {
                biased;
                outcome = &mut sending => return Ok(outcome),
                () = watch.until(hopeless) => {
                    if repeatable() {
                        return Err(left());
                    }
                    // Its last words may still be on their way.
                    return timeout(LAST_WORDS, sending).await.map_err(|_| left());
                }
                () = upload.moved() => {}
                () = until(deadline) => if deadline == upload.deadline(began, timeouts) {
                    let limit = began.elapsed();
                    let error = ProxyError::ResponseTimeout { endpoint, limit };
                    return Err(Failure::new(Cause::Other, error));
                }
            }
        }
    }

    /// The client has broken off its request.
    fn broken(self) -> Failure {
        Failure::new(Cause::Other, self.upload.fault())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Between two warnings of one worker about the same replica.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// For the task of a connection to see the end of an answer that has been read.
const READY_MAX: Duration = Duration::from_millis(100);

/// How long an answer may take that an endpoint gave before it left: the
/// engine's word that it has died may outrun its bytes, but not by long.
const LAST_WORDS: Duration = Duration::from_millis(100);
