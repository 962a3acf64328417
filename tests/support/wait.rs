//! Waiting for a state, with a bound.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// Tries until it succeeds; after `bound`, fails with what the last try said.
///
/// # Panics
/// When the bound has passed.
pub(crate) fn eventually<T, E: Display>(
    bound: Duration,
    attempt: impl FnMut() -> Result<T, E>,
) -> T {
    within(bound, attempt).unwrap_or_else(|last| panic!("after {bound:?}: {last}"))
}

/// Tries until it succeeds.
///
/// # Errors
/// What the last try said, when the bound has passed.
pub(crate) fn within<T, E>(
    bound: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + bound;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

const PAUSE: Duration = Duration::from_millis(20);
