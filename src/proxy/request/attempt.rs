//! One try at one endpoint.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::domain::balance::Policy;
use crate::domain::http::{framing, hop_by_hop};
use crate::domain::lifecycle::Trouble;
use crate::domain::pool::{Ejected, Endpoint, InFlight, Pool, Timeouts};
use crate::domain::proxy_protocol::Header;
use crate::domain::retry::{Again, Cause, Failed, is_hopeless};
use crate::proxy::bell::Ongoing;
use crate::proxy::error::ProxyError;
use crate::proxy::request::SIGN_OF_LEAVING;
use crate::proxy::request::body::{self, Lease, ResponseBody};
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::middleware::{Admission, Reply};
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::stopwatch::Stopwatch;
use crate::proxy::request::timers::Stage;
use crate::proxy::request::tunnel::{self, Tunnel};
use crate::proxy::resources::Resources;
use crate::proxy::shortage::is_shortage;
use crate::proxy::upstream::{
    AnswerBody, Approach, Change, Connection, Failure, Reuse, Terms, Unconnected, Upload,
};

/// The answer to a request that did not fail.
pub(super) enum Answered {
    /// A middleware has answered.
    Ours(Reply),
    Plain {
        response: Response<AnswerBody>,
        lease: Lease,
        idle: Duration,
    },
    /// The connection becomes a tunnel, which the connection's task runs.
    Switched {
        response: Response<AnswerBody>,
        tunnel: Tunnel,
    },
}

/// One try at one endpoint, on an idle connection and then on a fresh one.
pub(super) struct Attempt<'a> {
    pub(super) resources: &'a Rc<Resources>,
    pub(super) pool: &'a Pool,
    pub(super) endpoint: &'a Endpoint,
    pub(super) admission: &'a Admission,
}

impl Attempt<'_> {
    /// The answer; else why there is none, and what may follow.
    pub(super) async fn make(
        &self,
        prepared: &Prepared,
        exchange: &mut Exchange,
        in_flight: InFlight,
    ) -> Result<Answered, (ProxyError, Again)> {
        let timed = self.pool.settings.policy == Policy::PeakEwma;
        let stopwatch = timed.then(|| Stopwatch::start(&self.endpoint.vitals, prepared.upload()));
        let answered = self.send(prepared, exchange, in_flight).await;
        if let Some(stopwatch) = stopwatch {
            stopwatch.stop(answered.as_ref().map(Answered::status).map_err(|(error, _)| error));
        }
        answered
    }

    async fn send(
        &self,
        prepared: &Prepared,
        exchange: &mut Exchange,
        in_flight: InFlight,
    ) -> Result<Answered, (ProxyError, Again)> {
        exchange.attempt(self.endpoint);
        let ongoing = self.resources.bell().attempt(in_flight);
        let address = self.endpoint.id.address;
        let greeting = self
            .pool
            .settings
            .proxy_protocol
            .map(|it| Header::Forwarded(prepared.ends()).to_bytes(it));
        let mut reuse = if prepared.is_idempotent() { Reuse::Any } else { Reuse::Young };
        loop {
            let failed = |cause, reused| {
                let (idempotent, whole) = (prepared.is_idempotent(), prepared.upload().is_whole());
                Failed { cause, reused, idempotent, whole }.again()
            };
            let approach = self.approach(reuse, greeting.as_deref(), prepared.change());
            let connected = self.connect(approach, &ongoing, exchange).await;
            let mut connection = connected.map_err(|error| {
                let again = failed(cause_of(&error), false);
                (error, again)
            })?;
            let terms = Terms {
                endpoint: address,
                began: exchange.timers.enter(Stage::Asking),
                timeouts: &prepared.timeouts(self.timeouts()),
                watch: &ongoing.watch,
                upload: prepared.upload(),
                idempotent: prepared.is_idempotent(),
            };
            let mut request = prepared.request(address);
            self.admission.equip(&mut request);
            let sent = terms.began;
            match connection.send(request, terms).await {
                Ok(mut response) => {
                    let now = exchange.answered(response.status(), connection.reused);
                    // How long a client takes to send is not the replica's.
                    let took = now.duration_since(prepared.upload().moved_since(sent));
                    self.endpoint.tally.answers.record(response.status().as_u16(), took);
                    let switches = self.read(prepared, &mut response);
                    let status = match (&switches, response.status()) {
                        (Err(error), StatusCode::SWITCHING_PROTOCOLS) => error.status(),
                        // Who has nothing to do with WebSockets is not ill.
                        (_, status) => status,
                    };
                    let unwanted = self.weigh(status, &ongoing);
                    if !unwanted {
                        prepared.upload().forget();
                    }
                    let switches = switches.map_err(|error| (error, Again::Never))?;
                    let resources = Rc::clone(self.resources);
                    let upload = Rc::clone(prepared.upload());
                    let lease = Lease { resources, connection, upload, ongoing };
                    return Ok(self.answered(response, lease, switches));
                }
                Err(Failure { cause, error, aged, counted }) => {
                    exchange.timers.enter(Stage::Ours);
                    let fresh = aged && !exchange.refreshed;
                    let upload = prepared.upload();
                    self.note(cause, &error, aged || counted, upload, &ongoing);
                    match failed(cause, fresh) {
                        Again::Fresh if self.leaves() => return Err((error, Again::Another)),
                        Again::Fresh => exchange.refreshed = true,
                        again @ (Again::Never
                        | Again::Another
                        | Again::Any
                        | Again::Elsewhere
                        | Again::Charged) => return Err((error, again)),
                    }
                }
            }
            reuse = Reuse::Never;
        }
    }

    fn approach<'a>(
        &'a self,
        reuse: Reuse,
        greeting: Option<&'a [u8]>,
        upgrade: Option<Change>,
    ) -> Approach<'a> {
        let tls = self.pool.settings.tls_of(self.endpoint);
        let (endpoint, timeouts) = (self.endpoint, self.timeouts());
        Approach { endpoint, tls, reuse, greeting, upgrade, timeouts }
    }

    /// A connection, unless the endpoint leaves before there is one.
    async fn connect(
        &self,
        approach: Approach<'_>,
        ongoing: &Ongoing,
        exchange: &mut Exchange,
    ) -> Result<Connection, ProxyError> {
        exchange.timers.enter(Stage::Connecting);
        let endpoint = self.endpoint.id.address;
        let served = !self.leaves();
        let carriers = self.resources.carriers();
        let connection = carriers.connect(approach);
        let connected = tokio::select! {
            biased;
            connected = connection => connected.map_err(|why| self.unconnected(why, ongoing)),
            () = ongoing.watch.until(|vitals| is_hopeless(vitals.state(), true)) => {
                Err(ProxyError::Left { endpoint })
            }
        };
        if let Ok(connection) = &connected {
            self.pool.state.efforts.connected(connection.reused);
        }
        // Connecting took a while, in which it got its stop signal.
        let connected = connected.and_then(|it| {
            if served && self.leaves() { Err(ProxyError::Left { endpoint }) } else { Ok(it) }
        });
        if connected.is_err() {
            exchange.timers.enter(Stage::Ours);
        }
        connected
    }

    /// Why there is no connection. It counts against the replica where it met
    /// that.
    fn unconnected(&self, why: Unconnected, ongoing: &Ongoing) -> ProxyError {
        let (endpoint, carriers) = (self.endpoint.id.address, self.resources.carriers());
        match why {
            Unconnected::Unreached(source) if is_shortage(&source) => {
                ProxyError::Connect { endpoint, source }
            }
            Unconnected::Unreached(source) => {
                if source.kind() == io::ErrorKind::InvalidData {
                    carriers.tell(self.endpoint, NO_HTTP2, &source);
                }
                self.suspect();
                let timed_out = source.kind() == io::ErrorKind::TimedOut;
                self.charge(if timed_out { Trouble::Timeout } else { Trouble::Connect }, ongoing);
                ProxyError::Connect { endpoint, source }
            }
            Unconnected::Untrusted(source) => {
                // A look at its port would find nothing wrong.
                carriers.tell(self.endpoint, "No TLS with a replica", &source);
                self.endpoint.tally.fail();
                self.charge(Trouble::Connect, ongoing);
                ProxyError::Untrusted { endpoint, source }
            }
            Unconnected::Alike { error: source, untrusted: true } => {
                ProxyError::Untrusted { endpoint, source }
            }
            Unconnected::Alike { error: source, untrusted: false } => {
                ProxyError::Connect { endpoint, source }
            }
            Unconnected::Full => {
                let source = io::ErrorKind::QuotaExceeded.into();
                ProxyError::Connect { endpoint, source }
            }
            Unconnected::NoUpgrade => ProxyError::NoUpgrade { endpoint },
        }
    }

    fn leaves(&self) -> bool {
        self.endpoint.vitals.state().leaves()
    }

    fn timeouts(&self) -> &Timeouts {
        &self.pool.settings.timeouts
    }

    /// Whether the answer is one that the pool would rather have from another
    /// replica. It counts for or against the one that gave it.
    fn weigh(&self, status: StatusCode, ongoing: &Ongoing) -> bool {
        let (status, tolerance) = (status.as_u16(), &self.pool.settings.tolerance);
        if tolerance.blames(status) {
            self.charge(Trouble::Status, ongoing);
        } else if ongoing.in_flight.succeeded(|| Instant::now().into_std()) && !self.leaves() {
            let Endpoint { name, id, .. } = self.endpoint;
            info!(replica = %name, address = %id.address, "Replica back in service");
            self.resources.parts.alarm.raise();
        }
        tolerance.retries(status)
    }

    /// A socket that fails under a request speaks before the engine does. It is
    /// excused where the connection may have ended for its age, or where that has
    /// been counted already.
    fn note(
        &self,
        cause: Cause,
        error: &ProxyError,
        excused: bool,
        upload: &Upload,
        ongoing: &Ongoing,
    ) {
        match cause {
            // It may break off one request and still take another.
            _ if self.leaves() => {}
            Cause::Unsent | Cause::Unanswered if excused => {}
            Cause::Unsent | Cause::Unanswered | Cause::Reset | Cause::AnswerBroken => {
                self.suspect();
                // It may have refused the rest of the body, which it need not hear
                // out. On trial it has not passed for all that.
                if upload.has_ended() || ongoing.in_flight.is_on_trial() {
                    self.charge(Trouble::Reset, ongoing);
                }
            }
            Cause::Other if matches!(error, ProxyError::ResponseTimeout { .. }) => {
                self.endpoint.tally.fail();
                self.charge(Trouble::Timeout, ongoing);
            }
            Cause::NoConnection
            | Cause::Untrusted
            | Cause::Refused
            | Cause::OtherVersion
            | Cause::Left
            | Cause::Other => {}
        }
    }

    /// The replica failed the request. One that leaves is not to blame for it.
    fn charge(&self, trouble: Trouble, ongoing: &Ongoing) {
        let limits = self.pool.settings.tolerance.outliers;
        if self.leaves() {
            return;
        }
        let now = Instant::now().into_std();
        let spared = || self.pool.can_spare(self.endpoint);
        let vitals = &self.endpoint.vitals;
        let was_out = vitals.is_ejected();
        let ejected = ongoing.in_flight.failed(trouble, now, limits, spared);
        if let Some(ejected) = ejected {
            self.report(trouble, ejected);
        }
        // Or it is back in spite of its failure, where none ejects any more.
        if ejected.is_some() || was_out && !vitals.is_ejected() {
            self.resources.parts.alarm.raise();
        }
    }

    /// Says that the replica is ejected, unless it turns out that it was about to
    /// leave: then it is not ill.
    fn report(&self, trouble: Trouble, ejected: Ejected) {
        let endpoint = self.endpoint.clone();
        match trouble {
            Trouble::Connect | Trouble::Reset => {
                let watch = self.resources.bell().watch(&endpoint.vitals);
                tokio::task::spawn_local(async move {
                    let leaves = watch.until(|vitals| vitals.state().leaves());
                    if timeout(SIGN_OF_LEAVING, leaves).await.is_err() {
                        report(&endpoint, trouble, ejected);
                    }
                });
            }
            Trouble::Timeout | Trouble::Status => report(&endpoint, trouble, ejected),
        }
    }

    /// Others are preferred until it has been checked, which begins at once.
    fn suspect(&self) {
        if !self.leaves() {
            self.endpoint.tally.fail();
        }
        if self.endpoint.vitals.suspect() {
            self.resources.parts.alarm.raise();
        }
    }

    /// Makes the head of the replica's answer ours: hop-by-hop fields end here, and
    /// a switch of protocols is believed only if it was asked for. Whether it is
    /// one.
    fn read(
        &self,
        prepared: &Prepared,
        response: &mut Response<AnswerBody>,
    ) -> Result<bool, ProxyError> {
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        if headers.contains_key(TRANSFER_ENCODING) {
            // The length is that of something else then (RFC 9112, section 6.3).
            headers.remove(CONTENT_LENGTH);
        }
        framing::fold_lengths(headers);
        let protocol = hop_by_hop::strip_response(headers);
        if response.status() == StatusCode::UPGRADE_REQUIRED
            && let Some(protocol) = &protocol
        {
            // What the client would have to change to (RFC 9110, section 15.5.22).
            tunnel::mark_switched(response.headers_mut(), protocol.clone());
        }
        let bad_switch = ProxyError::BadSwitch { endpoint: self.endpoint.id.address };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // It would tell the client that it has its tunnel (RFC 9110, section 9.3.6).
            let pretends = prepared.extended && response.status().is_success();
            return if pretends { Err(bad_switch) } else { Ok(false) };
        }
        let asked = prepared.upgrade.as_ref();
        let is_asked = asked.is_some_and(|asked| asked.is_answered_by(protocol.as_ref()));
        match protocol.filter(|_| is_asked && prepared.is_proven(response.headers())) {
            Some(protocol) => {
                tunnel::mark_switched(response.headers_mut(), protocol);
                Ok(true)
            }
            None => Err(bad_switch),
        }
    }

    /// The answer, which `switches` to another protocol or has a body.
    fn answered(
        &self,
        mut response: Response<AnswerBody>,
        lease: Lease,
        switches: bool,
    ) -> Answered {
        let timeouts = self.timeouts();
        if !switches {
            return Answered::Plain { response, lease, idle: timeouts.idle };
        }
        let Lease { connection, ongoing, .. } = lease;
        let tunnel = Tunnel::new(&mut response, connection, ongoing, timeouts.tunnel);
        Answered::Switched { response, tunnel }
    }
}

/// Why there is no connection, as far as it matters for another attempt.
fn cause_of(error: &ProxyError) -> Cause {
    // Where it is full it is there, and has taken nothing of the request.
    let is_full = |source: &io::Error| source.kind() == io::ErrorKind::QuotaExceeded;
    if matches!(error, ProxyError::Untrusted { .. }) {
        Cause::Untrusted
    } else if matches!(error, ProxyError::NoUpgrade { .. }) {
        Cause::Other
    } else if matches!(error, ProxyError::Connect { source, .. } if is_full(source)) {
        Cause::Refused
    } else {
        Cause::NoConnection
    }
}

fn report(endpoint: &Endpoint, trouble: Trouble, ejected: Ejected) {
    endpoint.tally.eject(trouble);
    warn!(
        replica = %endpoint.name,
        address = %endpoint.id.address,
        reason = trouble.as_str(),
        lasts = ?ejected.lasts,
        "Replica ejected: it {}",
        trouble.what(),
    );
}

impl Answered {
    /// Nobody gets it. Its connection may still carry another request.
    pub(super) fn discard(self) {
        match self {
            Self::Plain { response, lease, idle } => {
                body::discard(response.into_body(), lease, idle);
            }
            Self::Ours(_) | Self::Switched { .. } => {}
        }
    }

    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Ours(reply) => &mut reply.headers,
            Self::Plain { response, .. } | Self::Switched { response, .. } => {
                response.headers_mut()
            }
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Ours(reply) => reply.status,
            Self::Plain { response, .. } | Self::Switched { response, .. } => response.status(),
        }
    }

    /// The answer as the client gets it. The exchange lives as long as its body,
    /// or as the tunnel.
    pub(super) fn into_response(self, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        match self {
            Self::Ours(reply) => {
                exchange.replied(reply.status, reply.reason);
                let mut response = Response::new(ResponseBody::whole(reply.body, exchange));
                *response.status_mut() = reply.status;
                *response.headers_mut() = reply.headers;
                response
            }
            Self::Plain { response, lease, idle } => {
                response.map(|incoming| ResponseBody::streamed(incoming, lease, idle, exchange))
            }
            Self::Switched { response, tunnel } => {
                if let Some(turn) = exchange.turn.take() {
                    turn.tunnel();
                }
                response.map(|_| ResponseBody::tunnel(tunnel.carrying(exchange)))
            }
        }
    }
}

/// What is told of a replica of h2c whose first bytes are of something else.
const NO_HTTP2: &str = "A replica does not begin as HTTP/2 does: set `lb.scheme` to what it speaks";
