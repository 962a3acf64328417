//! What a pool does to requests and answers beside forwarding them.

mod compress;
mod headers;

pub use compress::{Asked, Coding, Compression, MediaType, MediaTypes};
pub use headers::HeaderEdits;

/// One of them, with its settings. A request meets them in the order of the
/// variants, since labels have none; an answer in the reverse order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Middleware {
    /// `compress`: the last to see an answer, as all of its head matters.
    Compress(Compression),
    /// `headers.request.<Name>`
    RequestHeaders(HeaderEdits),
    /// `headers.response.<Name>`
    ResponseHeaders(HeaderEdits),
}
