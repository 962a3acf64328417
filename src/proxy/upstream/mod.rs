//! Connections to replicas. They belong to one worker and never cross to
//! another.

mod body;
mod connect;
mod idle;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use body::{RequestBody, Upload};
pub(super) use idle::Idle;

use crate::domain::pool::{Endpoint, Timeouts, Vitals};
use crate::proxy::error::ProxyError;

/// A connection that carries one request.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// It may carry another.
    reusable: bool,
}

/// How an attempt failed, and whether another may be made.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not a byte of the request was written: it can go anywhere else.
    NeverSent { request: Box<Request<RequestBody>>, error: ProxyError },
    /// The connection was kept from an earlier request and closed before any
    /// byte of the answer: the replica may just have ended its idle time.
    ReusedClosed(ProxyError),
    /// The replica closed or spoiled the connection.
    Broken(ProxyError),
    /// The replica is slow, or the client broke off; the replica may be well.
    Other(ProxyError),
}

impl Connection {
    /// An idle connection to `endpoint` if `may_reuse`, else a fresh one.
    pub(super) async fn to(
        endpoint: &Endpoint,
        idle: &Idle,
        may_reuse: bool,
        timeouts: &Timeouts,
    ) -> io::Result<Self> {
        while may_reuse && let Some(mut sender) = idle.take(endpoint.vitals.serial()) {
            // It is ready as soon as its task has seen the end of the last
            // answer, and fails if the replica has closed it.
            let ready =
                sender.is_ready() || matches!(timeout(READY_MAX, sender.ready()).await, Ok(Ok(())));
            if ready {
                return Ok(Self { sender, reused: true, reusable: true });
            }
        }
        let sender = connect::open(endpoint.id.address, timeouts.connect).await?;
        Ok(Self { sender, reused: false, reusable: true })
    }

    /// Sends `request`, whose body tells its progress to `upload`, and waits
    /// for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
        upload: &Upload,
        endpoint: SocketAddr,
        timeouts: &Timeouts,
    ) -> Result<Response<Incoming>, Failure> {
        let began = Instant::now();
        let mut sending = pin!(self.sender.try_send_request(request));
        let outcome = loop {
            let deadline = upload.deadline(began, timeouts);
            match timeout_at(deadline, &mut sending).await {
                Ok(outcome) => break outcome,
                // The upload has got on since.
                Err(_) if upload.deadline(began, timeouts) > deadline => {}
                Err(_) => {
                    let limit = deadline.duration_since(began);
                    return Err(Failure::Other(ProxyError::ResponseTimeout { endpoint, limit }));
                }
            }
        };
        match outcome {
            Ok(response) => {
                // hyper would speak 1.0 to such a replica from now on, which
                // knows no chunked bodies.
                self.reusable = response.version() == Version::HTTP_11;
                Ok(response)
            }
            Err(failed) => Err(self.failure(failed, upload, endpoint)),
        }
    }

    fn failure(
        &self,
        mut failed: TrySendError<Request<RequestBody>>,
        upload: &Upload,
        endpoint: SocketAddr,
    ) -> Failure {
        let request = failed.take_message();
        let source = failed.into_error();
        if upload.is_broken() {
            return Failure::Other(ProxyError::ClientBroke(None));
        }
        let closed = is_close(&source);
        let error = ProxyError::Reset { endpoint, source };
        match request {
            Some(request) => Failure::NeverSent { request: Box::new(request), error },
            None if self.reused && closed => Failure::ReusedClosed(error),
            None => Failure::Broken(error),
        }
    }

    /// Gives the connection back, its answer having been read to the end. Where
    /// the request is still being sent it is closed instead.
    pub(super) fn release(self, upload: &Upload, vitals: &Arc<Vitals>, idle: &Idle) {
        if self.reusable && upload.has_ended() && !self.sender.is_closed() {
            idle.put(self.sender, vitals, Instant::now());
        }
    }
}

/// Whether the connection just ended, rather than carried something wrong.
fn is_close(error: &hyper::Error) -> bool {
    let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_io
}

/// For the task of a connection to see the end of an answer that has been read.
const READY_MAX: Duration = Duration::from_millis(100);
