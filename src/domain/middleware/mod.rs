//! What a pool does to requests and answers beside forwarding them.

mod compress;
mod error_page;
mod forward_auth;
mod headers;
mod rate;

use std::sync::Arc;

pub use compress::{Asked, Coding, Compression, MediaType, MediaTypes};
pub use error_page::{ErrorPage, Page, Template};
pub use forward_auth::{AuthUrl, ForwardAuth, InvalidAuthUrl};
pub use headers::HeaderEdits;
pub use rate::{RateBy, RateKey, RateLimit};

use crate::domain::auth::Users;

/// One of them, with its settings. A request meets them in the order of the
/// variants, since labels have none; an answer in the reverse order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Middleware {
    /// `compress`: the last to see an answer, as all of its head matters.
    Compress(Compression),
    /// `rate`
    Rate(RateLimit),
    /// `auth.basic`
    BasicAuth(Arc<Users>),
    /// `auth.forward`
    ForwardAuth(Arc<ForwardAuth>),
    /// `body_limit`, in bytes.
    BodyLimit(u64),
    /// `headers.request.<Name>`
    RequestHeaders(HeaderEdits),
    /// `headers.response.<Name>`
    ResponseHeaders(HeaderEdits),
    /// `error_page`: the last, so that others see what it gives.
    ErrorPage(Arc<ErrorPage>),
}
