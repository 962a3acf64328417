//! What the tests on a real Docker Engine and those under load share.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![expect(clippy::disallowed_methods, reason = "these tests wait for real processes")]

pub(crate) mod believing;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod curl;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod stack;
pub(crate) mod wait;
