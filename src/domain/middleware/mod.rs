//! What a pool does to requests and answers beside forwarding them.

mod clients;
mod compress;
mod cors;
mod error_page;
mod forward_auth;
mod headers;
mod rate;
mod redirect;
mod rewrite;
mod security;

use std::sync::Arc;

use http::HeaderValue;

pub use clients::Clients;
pub use compress::{Asked, Coding, Compression, MediaType, MediaTypes, forget_plain_form};
pub use cors::{Cors, METHODS, Origin, Origins};
pub use error_page::{ErrorPage, Page, Template};
pub use forward_auth::{AuthUrl, ForwardAuth, InvalidAuthUrl};
pub use headers::HeaderEdits;
pub use rate::{RateBy, RateKey, RateLimit};
pub use redirect::{InvalidTarget, Redirect, Target, Url, to_https};
pub use rewrite::{Rewrite, Rewritten};
pub use security::{HSTS, insist_on_https, secure};

use crate::domain::auth::Users;

/// One of them, with its settings. A request meets them in the order of the
/// variants, since labels have none; an answer in the reverse order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Middleware {
    /// `compress`: the last to see an answer, as all of its head matters.
    Compress(Compression),
    /// `redirect_https`
    RedirectHttps,
    /// `allow`, `deny`
    Clients(Clients),
    /// `rate`
    Rate(RateLimit),
    /// `cors`
    Cors(Cors),
    /// `auth.basic`
    BasicAuth(Arc<Users>),
    /// `auth.forward`
    ForwardAuth(Arc<ForwardAuth>),
    /// `body_limit`, in bytes.
    BodyLimit(u64),
    /// `redirect`
    Redirect(Redirect),
    /// `strip_prefix`, `add_prefix`
    Rewrite(Rewrite),
    /// `headers.request.<Name>`
    RequestHeaders(HeaderEdits),
    /// `headers.response.<Name>`: of an answer the last word but for `cors`.
    ResponseHeaders(HeaderEdits),
    /// `hsts`
    Hsts(HeaderValue),
    /// `security_headers`
    SecurityHeaders,
    /// `error_page`: the last, so that others see what it gives.
    ErrorPage(Arc<ErrorPage>),
}

impl Middleware {
    /// Whether it says who may pass: without it a door would stand open.
    pub fn is_guard(&self) -> bool {
        match self {
            Self::RedirectHttps
            | Self::Clients(_)
            | Self::Rate(_)
            | Self::BasicAuth(_)
            | Self::ForwardAuth(_)
            | Self::BodyLimit(_) => true,
            Self::Compress(_)
            | Self::Cors(_)
            | Self::Redirect(_)
            | Self::Rewrite(_)
            | Self::RequestHeaders(_)
            | Self::ResponseHeaders(_)
            | Self::Hsts(_)
            | Self::SecurityHeaders
            | Self::ErrorPage(_) => false,
        }
    }
}
