//! What operators see: the log, the access log, metrics.

pub mod access_log;
pub mod log;
pub mod metrics;
