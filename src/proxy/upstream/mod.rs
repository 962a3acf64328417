//! Connections to replicas. They belong to one worker and never cross to
//! another.

mod body;
mod connect;
mod idle;
mod meter;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout};

pub(super) use body::{RequestBody, Upload};
pub(super) use idle::{Idle, Reuse};

use crate::domain::pool::{Endpoint, Timeouts, Vitals};
use crate::domain::retry::{Cause, is_hopeless};
use crate::proxy::bell::Watch;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::connect::Line;

/// A connection that carries one request.
#[derive(Debug)]
pub(super) struct Connection {
    line: Line,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// It may carry another.
    reusable: bool,
}

/// Why no answer came.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) error: ProxyError,
}

/// What a request is sent by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) endpoint: SocketAddr,
    pub(super) timeouts: &'a Timeouts,
    /// Tells when the endpoint leaves.
    pub(super) watch: &'a Watch,
    /// Of the request's body.
    pub(super) upload: &'a Upload,
    pub(super) idempotent: bool,
}

impl Connection {
    /// An idle connection to `endpoint` that `reuse` allows, else a fresh one.
    /// One that begins with a `greeting` is its client's alone: it is always
    /// fresh, and not used again.
    pub(super) async fn to(
        endpoint: &Endpoint,
        idle: &Idle,
        reuse: Reuse,
        greeting: Option<&[u8]>,
        timeouts: &Timeouts,
    ) -> io::Result<Self> {
        let reuse = if greeting.is_some() { Reuse::Never } else { reuse };
        while let Some(mut line) = idle.take(endpoint.vitals.serial(), reuse) {
            // It is ready as soon as its task has seen the end of the last
            // answer, and fails if the replica has closed it.
            let sender = &mut line.sender;
            let ready =
                sender.is_ready() || matches!(timeout(READY_MAX, sender.ready()).await, Ok(Ok(())));
            if ready {
                return Ok(Self { line, reused: true, reusable: true });
            }
        }
        let line = connect::open(endpoint.id.address, greeting, timeouts.connect).await?;
        Ok(Self { line, reused: false, reusable: greeting.is_none() })
    }

    /// Sends `request` and waits for the head of the answer, but no longer than
    /// the endpoint can be hoped to give one.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        terms: Terms<'_>,
    ) -> Result<Response<Incoming>, Failure> {
        let Terms { endpoint, timeouts, watch, upload, idempotent } = terms;
        let before = self.line.traffic.reading();
        let began = Instant::now();
        let mut sending = pin!(self.line.sender.try_send_request(request));
        let left = || Failure { cause: Cause::Left, error: ProxyError::Left { endpoint } };
        let outcome = loop {
            let deadline = upload.deadline(began, timeouts);
            let repeatable = || idempotent && upload.is_whole();
            let hopeless =
                |vitals: &Vitals| vitals.is_cut() || is_hopeless(vitals.state(), repeatable());
            tokio::select! {
                biased;
                outcome = &mut sending => break outcome,
                () = watch.until(hopeless) => {
                    if repeatable() {
                        return Err(left());
                    }
                    // Its last words may still be on their way.
                    break timeout(LAST_WORDS, sending).await.map_err(|_| left())?;
                }
                () = upload.moved() => {}
                () = until(deadline) => if deadline == upload.deadline(began, timeouts) {
                    let limit = began.elapsed();
                    let error = ProxyError::ResponseTimeout { endpoint, limit };
                    return Err(Failure { cause: Cause::Other, error });
                }
            }
        };
        let mut failed = match outcome {
            Ok(response) => {
                // hyper would speak 1.0 to such a replica from now on, which
                // knows no chunked bodies.
                self.reusable &= response.version() == Version::HTTP_11;
                return Ok(response);
            }
            Err(failed) => failed,
        };
        if upload.is_broken() {
            return Err(Failure { cause: Cause::Other, error: upload.fault() });
        }
        let after = self.line.traffic.reading();
        // A replica may say goodbye to an idle connection, so what was not
        // written counts before what was read.
        let cause = if failed.take_message().is_some() || after.written == before.written {
            Cause::Unsent
        } else if after.read > before.read {
            Cause::AnswerBroken
        } else {
            Cause::Unanswered
        };
        Err(Failure { cause, error: ProxyError::Reset { endpoint, source: failed.into_error() } })
    }

    /// Gives the connection back, its answer having been read to the end. Where
    /// the request is still being sent it is closed instead.
    pub(super) fn release(self, upload: &Upload, vitals: &Arc<Vitals>, idle: &Idle) {
        if self.reusable && upload.has_ended() && !self.line.sender.is_closed() {
            idle.put(self.line, vitals, Instant::now());
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// For the task of a connection to see the end of an answer that has been read.
const READY_MAX: Duration = Duration::from_millis(100);

/// How long an answer may take that an endpoint gave before it left: the
/// engine's word that it has died may outrun its bytes, but not by long.
const LAST_WORDS: Duration = Duration::from_millis(100);
