//! The `Date` of answers that came without one (RFC 9110 §6.6.1).

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::time::Instant;

/// The time of day, written once a second and thread.
pub(super) fn now() -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(Instant, HeaderValue)>> = const { RefCell::new(None) };
    }
    let now = Instant::now();
    LAST.with_borrow_mut(|last| match last {
        Some((written, date)) if now.duration_since(*written) < RESOLUTION => date.clone(),
        _ => {
            let date = HeaderValue::try_from(httpdate::fmt_http_date(wall_clock()))
                .unwrap_or(HeaderValue::from_static(""));
            *last = Some((now, date.clone()));
            date
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "an answer tells the time of day")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Half of what a date can tell, so that it is never more than a second late.
const RESOLUTION: Duration = Duration::from_millis(500);
