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
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + bound;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if Instant::now() >= deadline => panic!("after {bound:?}: {last}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

const PAUSE: Duration = Duration::from_millis(20);
