//! Asks again what failed for a while, so that it does not cost the whole order:
//! new orders count against the limits of an authority.

use std::time::Duration;

use instant_acme::Error;
use tokio::time::{Instant, sleep};

use crate::tls::acme::client::{BAD_NONCE, Trouble};
use crate::tls::acme::failure::Failure;

/// The tries of one step of an order.
#[derive(Debug)]
pub(super) struct Tries {
    until: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + TRIES_MAX, pause: PAUSE_MIN }
    }

    /// After `error`, returns when the step may be asked again, for whoever may
    /// ask whatever became of it.
    ///
    /// # Errors
    /// Where asking again is no use, or has been for too long.
    pub(super) async fn again(&mut self, error: Error) -> Result<(), Failure> {
        let wait = if is_unread(&error) { Some(Duration::ZERO) } else { passes_in(&error) };
        self.pause(wait, error).await
    }

    /// As [`Self::again`], where the authority must have done nothing by now.
    ///
    /// # Errors
    /// As [`Self::again`], and where it may have done what it was asked for.
    pub(super) async fn again_if_unread(&mut self, error: Error) -> Result<(), Failure> {
        let wait = is_unread(&error).then_some(Duration::ZERO);
        self.pause(wait, error).await
    }

    /// `wait` is what the authority wants at least.
    async fn pause(&mut self, wait: Option<Duration>, error: Error) -> Result<(), Failure> {
        let pause = wait.map(|wait| wait.max(self.pause));
        let left = self.until.saturating_duration_since(Instant::now());
        let Some(pause) = pause.filter(|pause| *pause <= left) else { return Err(error.into()) };
        sleep(pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// It does not know the number any more that makes a request unique (RFC 8555,
/// section 6.5), as one that runs in several places. Our library has asked three
/// times at once by then.
pub(super) fn is_unread(error: &Error) -> bool {
    matches!(error, Error::Api(said) if said.r#type.as_deref() == Some(BAD_NONCE))
}

/// It did not answer, or only that it cannot now.
fn passes_in(error: &Error) -> Option<Duration> {
    let Error::Other(source) = error else { return None };
    source.downcast_ref().and_then(Trouble::passes_in)
}

/// As long as an authority is given to decide; the bound of the order is above it.
const TRIES_MAX: Duration = Duration::from_secs(120);

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::io;

    use http::StatusCode;

    use super::*;

    fn unread() -> Error {
        let said = format!(r#"{{"type":"{BAD_NONCE}"}}"#);
        Error::Api(serde_json::from_str(&said).unwrap())
    }

    fn broken() -> Error {
        let source = io::ErrorKind::ConnectionRefused.into();
        of(Trouble::Connect { authority: "acme.example".to_owned(), source })
    }

    fn refused(status: StatusCode, retry_after: Option<Duration>) -> Error {
        let words = "because".to_owned();
        of(Trouble::Refused { status, kind: None, words, retry_after })
    }

    fn of(trouble: Trouble) -> Error {
        Error::Other(Box::new(trouble))
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_again_ever_more_rarely_and_not_for_ever() {
        let (began, mut tries, mut pauses) = (Instant::now(), Tries::new(), Vec::new());
        loop {
            let before = Instant::now();
            if tries.again(broken()).await.is_err() {
                break;
            }
            pauses.push(before.elapsed().as_millis());
        }
        assert_eq!(pauses[..7], [250, 500, 1000, 2000, 4000, 8000, 15_000]);
        assert!(pauses[7..].iter().all(|&pause| pause == 15_000), "{pauses:?}");
        assert!(began.elapsed() <= TRIES_MAX && began.elapsed() + PAUSE_MAX > TRIES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_passes_is_asked_again() {
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE] {
            assert!(Tries::new().again(refused(status, None)).await.is_ok(), "{status}");
        }
        for status in [StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS] {
            assert!(Tries::new().again(refused(status, None)).await.is_err(), "{status}");
        }
        let nobody = || of(Trouble::Url("ftp://acme.example".to_owned()));
        assert!(Tries::new().again(nobody()).await.is_err());
        assert!(Tries::new().again(Error::Timeout(None)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_is_given_the_time_that_it_wants_within_the_bound() {
        let busy = |wants| refused(StatusCode::SERVICE_UNAVAILABLE, Some(wants));
        let began = Instant::now();
        assert!(Tries::new().again(busy(TRIES_MAX)).await.is_ok());
        assert_eq!(began.elapsed(), TRIES_MAX);
        let more = TRIES_MAX + Duration::from_millis(1);
        assert!(Tries::new().again(busy(more)).await.is_err());
        assert_eq!(began.elapsed(), TRIES_MAX, "there is no wait in vain");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_not_asked_for_twice() {
        assert!(Tries::new().again_if_unread(unread()).await.is_ok());
        assert!(Tries::new().again_if_unread(broken()).await.is_err());
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert!(Tries::new().again_if_unread(refused(status, None)).await.is_err());
    }
}
