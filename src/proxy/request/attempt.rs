//! Trying endpoints until one answers, or the rules forbid another try.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::domain::http::hop_by_hop;
use crate::domain::pool::{Draw, Endpoint, Timeouts, Tried};
use crate::proxy::error::ProxyError;
use crate::proxy::request::body::{Lease, ResponseBody};
use crate::proxy::request::downstream::Downstream;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::hold::Hold;
use crate::proxy::request::prepare::Prepared;
use crate::proxy::request::route::route;
use crate::proxy::request::tunnel::{self, Tunnel};
use crate::proxy::resources::Resources;
use crate::proxy::upstream::{Connection, Failure};

/// A replica's answer.
pub(super) enum Answered {
    Plain {
        response: Response<Incoming>,
        lease: Lease,
        idle: Duration,
    },
    /// The connection becomes a tunnel, which the connection's task runs.
    Switched {
        response: Response<Incoming>,
        tunnel: Tunnel,
    },
}

/// Serves a request: chooses an endpoint, sends to it, and on a failure that
/// permits it goes on to the next. With no endpoint ready it is held.
pub(super) async fn serve(
    resources: &Rc<Resources>,
    mut prepared: Prepared,
    exchange: &mut Box<Exchange>,
) -> Result<Answered, ProxyError> {
    let now = exchange.began.into_std();
    let draw = Draw { random: fastrand::u64(..), client: prepared.client, now };
    let mut tried = Tried::default();
    let mut last_failure = None;
    let mut hold = Hold::default();
    loop {
        let table = resources.table();
        let route = match route(&table, &prepared) {
            Err(ProxyError::NoRoute) if !table.is_complete() => {
                // It may only not have one yet: we have just started.
                let (settings, state) = resources.unrouted();
                if hold.wait(resources, settings, state, &table, exchange).await? {
                    continue;
                }
                return Err(ProxyError::HoldTimeout(settings.hold));
            }
            route => route?,
        };
        let pool = route.pool;
        exchange.routed_to(pool);
        if route.closed {
            return Err(ProxyError::Closed);
        }
        if hold.is_news(pool) {
            // What failed before may serve now.
            tried = Tried::default();
        }
        let picked = pool
            .pick(draw, &tried)
            .or_else(|| hold.is_long().then(|| pool.pick_starting(draw, &tried)).flatten());
        let Some(endpoint) = picked else {
            if hold.wait(resources, &pool.settings, &pool.state, &table, exchange).await? {
                hold.watch(pool);
                continue;
            }
            return Err(last_failure.unwrap_or(ProxyError::HoldTimeout(pool.settings.hold)));
        };
        tried.add(endpoint);
        let attempt = Attempt { resources, endpoint, timeouts: &pool.settings.timeouts };
        match attempt.make(&mut prepared, exchange).await {
            Ok(answered) => return Ok(answered),
            Err(Outcome::TryAnother(error)) => last_failure = Some(error),
            Err(Outcome::Final(error)) => return Err(error),
        }
    }
}

/// One try at one endpoint, on an idle connection and then on a fresh one.
struct Attempt<'a> {
    resources: &'a Rc<Resources>,
    endpoint: &'a Endpoint,
    timeouts: &'a Timeouts,
}

/// How an attempt failed.
enum Outcome {
    /// The replica cannot have acted on the request.
    TryAnother(ProxyError),
    Final(ProxyError),
}

impl Attempt<'_> {
    async fn make(
        &self,
        prepared: &mut Prepared,
        exchange: &mut Exchange,
    ) -> Result<Answered, Outcome> {
        exchange.attempt(self.endpoint);
        let in_flight = self.endpoint.vitals.begin();
        let address = self.endpoint.id.address;
        prepared.name_host(address);
        let mut may_reuse = true;
        loop {
            let connected = self.connect(may_reuse, exchange).await;
            let mut connection = connected.map_err(|error| {
                self.suspect();
                Outcome::TryAnother(error)
            })?;
            let spare = connection.reused.then(|| prepared.spare()).flatten();
            let request = prepared.take_request();
            match connection.send(request, &exchange.upload, address, self.timeouts).await {
                Ok(response) => {
                    exchange.answered(response.status(), connection.reused);
                    let resources = Rc::clone(self.resources);
                    let upload = Rc::clone(&exchange.upload);
                    let lease = Lease { resources, connection, upload, in_flight };
                    return self.answered(prepared, response, lease).map_err(Outcome::Final);
                }
                Err(Failure::NeverSent { request, error }) => {
                    prepared.put_back(*request);
                    if !connection.reused {
                        self.suspect();
                        return Err(Outcome::TryAnother(error));
                    }
                }
                Err(Failure::ReusedClosed(error)) => {
                    // The replica may just have ended an idle connection: once
                    // more, if nothing can have been done twice.
                    prepared.put_back(spare.ok_or(Outcome::Final(error))?);
                }
                Err(Failure::Broken(error)) => {
                    self.suspect();
                    return Err(Outcome::Final(error));
                }
                Err(Failure::Other(error)) => return Err(Outcome::Final(error)),
            }
            may_reuse = false;
        }
    }

    async fn connect(
        &self,
        may_reuse: bool,
        exchange: &mut Exchange,
    ) -> Result<Connection, ProxyError> {
        let began = Instant::now();
        let idle = self.resources.idle();
        let connected = Connection::to(self.endpoint, idle, may_reuse, self.timeouts).await;
        if !connected.as_ref().is_ok_and(|connection| connection.reused) {
            *exchange.connecting.get_or_insert_default() += began.elapsed();
        }
        let endpoint = self.endpoint.id.address;
        connected.map_err(|source| ProxyError::Connect { endpoint, source })
    }

    /// A socket to the endpoint failed: others are preferred until it has been
    /// checked, which begins at once.
    fn suspect(&self) {
        if self.endpoint.vitals.suspect() {
            self.resources.parts.alarm.raise();
        }
    }

    /// Makes the replica's answer ours: hop-by-hop fields end here, and a switch
    /// of protocols is believed only if it was asked for.
    fn answered(
        &self,
        prepared: &Prepared,
        mut response: Response<Incoming>,
        lease: Lease,
    ) -> Result<Answered, ProxyError> {
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        if headers.contains_key(TRANSFER_ENCODING) {
            // The length is that of something else then (RFC 9112, section 6.3).
            headers.remove(CONTENT_LENGTH);
        }
        let protocol = hop_by_hop::strip_response(headers);
        if response.status() == StatusCode::UPGRADE_REQUIRED
            && let Some(protocol) = &protocol
        {
            // What the client would have to change to (RFC 9110, section 15.5.22).
            tunnel::mark_switched(response.headers_mut(), protocol.clone());
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answered::Plain { response, lease, idle: self.timeouts.idle });
        }
        let asked = prepared.upgrade.as_ref();
        match protocol {
            Some(protocol) if asked.is_some_and(|asked| asked.is_answered_by(Some(&protocol))) => {
                tunnel::mark_switched(response.headers_mut(), protocol);
                let tunnel = Tunnel::new(&mut response, lease.in_flight, self.timeouts.tunnel);
                Ok(Answered::Switched { response, tunnel })
            }
            Some(_) | None => Err(ProxyError::BadSwitch { endpoint: self.endpoint.id.address }),
        }
    }
}

impl Answered {
    /// The answer as the client gets it. The exchange lives as long as its body,
    /// or as the tunnel.
    pub(super) fn into_response(
        self,
        downstream: &Downstream,
        mut exchange: Box<Exchange>,
    ) -> Response<ResponseBody> {
        match self {
            Self::Plain { response, lease, idle } => {
                response.map(|incoming| ResponseBody::streamed(incoming, lease, idle, exchange))
            }
            Self::Switched { response, tunnel } => {
                if let Some(turn) = exchange.turn.take() {
                    turn.tunnel();
                }
                downstream.switch_to(tunnel.carrying(exchange));
                response.map(|_| ResponseBody::none())
            }
        }
    }
}
