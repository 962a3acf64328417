//! What operators see: the log, the access log, metrics.

pub mod log;
pub mod metrics;
