//! The clock on the wall, by which certificates hold.

use std::time::{Duration, SystemTime};

/// The moment by which certificates are judged. Whoever judges is given it, so
/// that tests can choose another.
#[expect(clippy::disallowed_methods, reason = "certificates hold by the clock on the wall")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// As in `2026-12-01T10:00:00Z`.
pub fn date(time: SystemTime) -> String {
    // The formatter knows the years from 1970 to 9999.
    let time = time.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + YEARS);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Almost 8000 years.
const YEARS: Duration = Duration::from_secs(250_000_000_000);
