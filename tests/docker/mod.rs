//! Docker as a source: against a daemon that we script, and against a real one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it fails and says what it skips"
)]

mod engine;
mod failures;
pub(crate) mod false_daemon;
mod real;
mod scripted;
mod served;
mod transports;
mod watched;
