//! Rules over HTTP heads: what is refused, what ends here, what is passed on.

pub mod cache;
pub mod chunked;
pub mod cookie;
pub mod forwarded;
pub mod framing;
pub mod grpc;
pub mod hop_by_hop;
pub mod host;
pub mod http2;
pub mod own;
pub mod refusal;
pub mod statuses;
pub mod target;
pub(in crate::domain) mod token;
pub mod trace_context;
pub mod trailers;
pub mod upgrade;
pub mod websocket;
