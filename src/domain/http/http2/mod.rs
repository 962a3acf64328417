//! The rules of HTTP/2 (RFC 9113) that the parser behind it leaves to us.

pub mod frames;
mod head;
pub mod ledger;
pub mod websocket;

pub use head::{Head, cookie, fields_bytes, judge};
