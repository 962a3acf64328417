//! The rules of HTTP/2 (RFC 9113) that the parser behind it leaves to us.

mod head;
pub mod websocket;

pub use head::{Head, cookie, judge};
