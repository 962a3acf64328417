//! How long a replica takes to answer, for the pools that balance by it.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::pool::{PENALTY, Vitals};
use crate::proxy::error::ProxyError;
use crate::proxy::request::attempt::Answered;
use crate::proxy::shortage::is_shortage;

/// Runs from the beginning of an attempt to the first byte of its answer.
///
/// When it is dropped before it was stopped the client has left: an answer would
/// have taken no less.
pub(super) struct Stopwatch<'a> {
    vitals: &'a Vitals,
    started: Instant,
    stopped: bool,
}

/// What is made of the time that has passed.
enum Finding {
    Answered,
    Failed,
    /// It says nothing of the replica but that it takes no less.
    GivenUp,
    /// It says nothing of the replica.
    None,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(vitals: &'a Vitals) -> Self {
        Self { vitals, started: Instant::now(), stopped: false }
    }

    pub(super) fn stop(mut self, outcome: Result<&Answered, &ProxyError>) {
        self.stopped = true;
        self.note(&match outcome {
            Ok(answered) if answered.status().is_server_error() => Finding::Failed,
            Ok(_) => Finding::Answered,
            Err(error) => finding(error),
        });
    }

    fn note(&self, finding: &Finding) {
        let now = Instant::now();
        let (took, now): (Duration, _) = (now - self.started, now.into_std());
        let latency = &self.vitals.latency;
        match finding {
            Finding::Answered => latency.record(took, now),
            Finding::Failed => latency.record(took.max(PENALTY), now),
            Finding::GivenUp => latency.record_at_least(took, now),
            Finding::None => {}
        }
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        if !self.stopped {
            self.note(&Finding::GivenUp);
        }
    }
}

fn finding(error: &ProxyError) -> Finding {
    match error {
        // We have no port or descriptor left: no fault of the replica.
        ProxyError::Connect { source, .. } if is_shortage(source) => Finding::None,
        ProxyError::Connect { .. }
        | ProxyError::Reset { .. }
        | ProxyError::BadSwitch { .. }
        | ProxyError::ResponseTimeout { .. } => Finding::Failed,
        ProxyError::Left { .. }
        | ProxyError::ClientBroke(_)
        | ProxyError::Refused(_)
        | ProxyError::AmbiguousPath
        | ProxyError::NoRoute
        | ProxyError::Closed
        | ProxyError::Forbidden
        | ProxyError::RateLimited { .. }
        | ProxyError::Unauthorized
        | ProxyError::AuthUnavailable(_)
        | ProxyError::BodyTooLarge { .. }
        | ProxyError::HoldTimeout { .. }
        | ProxyError::QueueFull
        | ProxyError::QueueTimeout { .. } => Finding::GivenUp,
    }
}
