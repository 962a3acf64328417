//! HTTP/2 to replicas: connections that the requests of a worker share.

mod head;
mod incoming;
mod session;
mod shared;
mod stream;
mod tunnel;

pub(super) use incoming::Http2Body;
pub(super) use session::{Place, Session};
pub(super) use shared::{Shared, Turn, Use};
pub(super) use stream::{Stream, Unanswered};
pub(super) use tunnel::Http2Tunnel;
