//! The wall clock, which the harness shares with the replicas.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
pub(super) type Micros = i64;

pub(super) fn now() -> Micros {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

pub(super) fn micros(span: Duration) -> Micros {
    i64::try_from(span.as_micros()).unwrap()
}
