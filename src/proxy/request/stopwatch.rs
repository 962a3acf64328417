//! How long a replica takes to answer, for the pools that balance by it.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::domain::pool::{PENALTY, Vitals};
use crate::proxy::error::ProxyError;
use crate::proxy::shortage::is_shortage;
use crate::proxy::upstream::Upload;

/// Runs from the beginning of an attempt, or from when the request's body last
/// got on, to the first byte of the answer: how long a client takes to send says
/// nothing of the replica.
///
/// When it is dropped before it was stopped the client has left: an answer would
/// have taken no less.
pub(super) struct Stopwatch<'a> {
    vitals: &'a Vitals,
    upload: &'a Upload,
    started: Instant,
    /// All of the request was there from the beginning, so that the answer has
    /// been due ever since.
    due: bool,
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
    pub(super) fn start(vitals: &'a Vitals, upload: &'a Upload) -> Self {
        let due = upload.is_empty();
        if due {
            vitals.latency.asked();
        }
        Self { vitals, upload, started: Instant::now(), due, stopped: false }
    }

    pub(super) fn stop(mut self, outcome: Result<StatusCode, &ProxyError>) {
        self.stopped = true;
        self.note(&match outcome {
            Ok(status) if status.is_server_error() => Finding::Failed,
            Ok(_) => Finding::Answered,
            Err(error) => finding(error),
        });
    }

    fn note(&self, finding: &Finding) {
        let now = Instant::now();
        let since = self.upload.moved_since(self.started);
        let (took, now): (Duration, _) = (now.duration_since(since), now.into_std());
        let latency = &self.vitals.latency;
        match finding {
            Finding::Answered => latency.record(took, now),
            Finding::Failed => latency.record(took.max(PENALTY), now),
            Finding::GivenUp if self.upload.has_ended() => latency.record_at_least(took, now),
            // Perhaps the client was waited for.
            Finding::GivenUp | Finding::None => {}
        }
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        if !self.stopped {
            self.note(&Finding::GivenUp);
        }
        if self.due {
            self.vitals.latency.told();
        }
    }
}

fn finding(error: &ProxyError) -> Finding {
    match error {
        // We have no port or descriptor left: no fault of the replica.
        ProxyError::Connect { source, .. } if is_shortage(source) => Finding::None,
        ProxyError::Connect { .. }
        | ProxyError::Untrusted { .. }
        | ProxyError::Reset { .. }
        | ProxyError::BadSwitch { .. }
        | ProxyError::ResponseTimeout { .. } => Finding::Failed,
        ProxyError::Left { .. } | ProxyError::DeadlineExceeded => Finding::GivenUp,
        ProxyError::NoUpgrade { .. }
        | ProxyError::ClientBroke(_)
        | ProxyError::BodyTooLarge { .. }
        | ProxyError::Refused(_)
        | ProxyError::AmbiguousPath
        | ProxyError::NoRoute
        | ProxyError::Closed
        | ProxyError::Forbidden
        | ProxyError::Misdirected
        | ProxyError::NoClientCertificate
        | ProxyError::Overloaded
        | ProxyError::RateLimited { .. }
        | ProxyError::Unauthorized
        | ProxyError::AuthUnavailable(_)
        | ProxyError::HoldTimeout { .. }
        | ProxyError::QueueFull
        | ProxyError::QueueTimeout { .. } => Finding::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_upload_is_the_clients() {
        let (vitals, upload) = (Vitals::new(1), Upload::sending());
        let stopwatch = Stopwatch::start(&vitals, &upload);
        advance(Duration::from_secs(9)).await;
        upload.end();
        advance(Duration::from_millis(20)).await;
        stopwatch.note(&Finding::Answered);
        assert_eq!(expected_us(&vitals), Some(20_000));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_within_an_upload_says_nothing_of_the_replica() {
        for (ends, expected) in [(false, 10_000), (true, 9_000_000)] {
            let (vitals, upload) = (Vitals::new(1), Upload::sending());
            vitals.latency.record(Duration::from_millis(10), Instant::now().into_std());
            let stopwatch = Stopwatch::start(&vitals, &upload);
            if ends {
                upload.end();
            }
            advance(Duration::from_secs(9)).await;
            drop(stopwatch);
            // As it was, but for its age.
            let known = expected_us(&vitals).unwrap();
            assert_eq!(known > 10_000, expected > 10_000, "{known}");
        }
    }

    #[test]
    fn what_a_client_does_wrong_says_nothing_of_the_replica() {
        for error in [ProxyError::ClientBroke(None), ProxyError::BodyTooLarge { limit: 1 }] {
            assert!(matches!(finding(&error), Finding::None));
        }
    }

    fn expected_us(vitals: &Vitals) -> Option<u32> {
        vitals.latency.expected_us(Instant::now().into_std())
    }
}
