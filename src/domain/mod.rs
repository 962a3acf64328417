//! The rules of the balancer, with no I/O, no clock and no runtime.

pub mod auth;
pub mod balance;
pub mod files;
pub mod http;
pub mod labels;
pub mod lifecycle;
pub mod limit;
pub mod middleware;
pub mod names;
pub mod plan;
pub mod pool;
pub mod pressure;
pub mod problem;
pub mod proxy_protocol;
pub mod retry;
pub mod routing;
pub mod rule;
pub mod suggest;
pub mod tls;
pub mod units;
pub mod upstream;
pub mod world;
