//! The one place where a failed request becomes an answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::domain::http::grpc::Code;
use crate::domain::http::refusal::Refusal;
use crate::proxy::http1::turn::Fault;

/// Why a request could not be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the request is refused: {}", .0.reason())]
    Refused(Refusal),
    #[error("strict and lenient readers of the path disagree on its route")]
    AmbiguousPath,
    #[error("no route takes this host and path")]
    NoRoute,
    #[error("the pool is closed, since a label that guards it cannot be read")]
    Closed,
    #[error("the client may not use this pool")]
    Forbidden,
    #[error("the connection was made for another host")]
    Misdirected,
    #[error("the client has shown no certificate, which its pool requires")]
    NoClientCertificate,
    #[error("we are short of memory")]
    Overloaded,
    #[error("the client has sent too many requests of late")]
    RateLimited {
        /// How many may come at once.
        limit: u32,
        /// Until one more may come.
        next: Duration,
        /// Until so many may come at once again.
        whole: Duration,
    },
    #[error("no name and password that may pass came with the request")]
    Unauthorized,
    #[error("nobody can tell just now whether the request may pass: {0}")]
    AuthUnavailable(&'static str),
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("no replica became ready in {hold:?}")]
    HoldTimeout {
        hold: Duration,
        /// Why the last attempt before that failed.
        after: Option<Box<Self>>,
    },
    #[error("too many requests wait for the pool")]
    QueueFull,
    #[error("every replica had as many requests as it may for {hold:?}")]
    QueueTimeout { hold: Duration },
    #[error("cannot connect to {endpoint}")]
    Connect {
        endpoint: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{endpoint} does not prove by TLS who it is")]
    Untrusted {
        endpoint: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{endpoint} speaks HTTP/2 and takes no change of protocol there")]
    NoUpgrade { endpoint: SocketAddr },
    #[error("{endpoint} closed the connection before it answered")]
    Reset {
        endpoint: SocketAddr,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{endpoint} stopped before it answered")]
    Left { endpoint: SocketAddr },
    #[error("{endpoint} switched to a protocol that was not asked for")]
    BadSwitch { endpoint: SocketAddr },
    #[error("the client broke off its request")]
    ClientBroke(Option<Fault>),
    #[error("{endpoint} sent no answer within {limit:?}")]
    ResponseTimeout { endpoint: SocketAddr, limit: Duration },
    #[error("the call had no answer within the time that its client gives it")]
    DeadlineExceeded,
}

impl ProxyError {
    /// Where the client broke off, what the gate saw of that.
    pub(super) fn blame(self, fault: Option<Fault>) -> Self {
        if matches!(self, Self::ClientBroke(None)) { Self::ClientBroke(fault) } else { self }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => {
                StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Self::ClientBroke(Some(Fault::BodyTimeout)) => StatusCode::REQUEST_TIMEOUT,
            Self::AmbiguousPath | Self::ClientBroke(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::NoClientCertificate => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Closed
            | Self::AuthUnavailable(_)
            | Self::Overloaded
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect { .. }
            | Self::Untrusted { .. }
            | Self::NoUpgrade { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. } => StatusCode::BAD_GATEWAY,
            Self::ResponseTimeout { .. } | Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the client of a gRPC call is told instead of the status: what it would
    /// make of that itself, or better where we know better.
    pub(super) fn grpc_code(&self) -> Code {
        match self {
            Self::ClientBroke(None) => Code::Cancelled,
            Self::Refused(_) | Self::AmbiguousPath | Self::ClientBroke(Some(_)) => Code::Internal,
            Self::NoRoute => Code::Unimplemented,
            Self::Forbidden | Self::NoClientCertificate => Code::PermissionDenied,
            Self::Unauthorized => Code::Unauthenticated,
            Self::RateLimited { .. } | Self::BodyTooLarge { .. } => Code::ResourceExhausted,
            Self::ResponseTimeout { .. } | Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Closed
            | Self::AuthUnavailable(_)
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. }
            | Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Misdirected
            | Self::Overloaded
            | Self::Untrusted { .. }
            | Self::NoUpgrade { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. } => Code::Unavailable,
        }
    }

    /// The name in metrics: one of [`REASONS`].
    pub(super) fn metric(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::ClientBroke(_) => "client_closed",
            Self::AmbiguousPath
            | Self::NoRoute
            | Self::Closed
            | Self::Forbidden
            | Self::Misdirected
            | Self::NoClientCertificate
            | Self::Overloaded
            | Self::RateLimited { .. }
            | Self::Unauthorized
            | Self::AuthUnavailable(_)
            | Self::BodyTooLarge { .. }
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. }
            | Self::Connect { .. }
            | Self::Untrusted { .. }
            | Self::NoUpgrade { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. }
            | Self::ResponseTimeout { .. }
            | Self::DeadlineExceeded => self.reason(),
        }
    }

    /// The name in the access log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::AmbiguousPath => "ambiguous_path",
            Self::NoRoute => "no_route",
            Self::Closed => "guard_unreadable",
            Self::Forbidden => "forbidden",
            Self::Misdirected => "misdirected",
            Self::NoClientCertificate => "no_client_certificate",
            Self::Overloaded => "overloaded",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::AuthUnavailable(_) => "auth_unavailable",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::HoldTimeout { after, .. } => {
                after.as_ref().map_or("no_endpoint", |after| after.reason())
            }
            Self::QueueFull => "queue_full",
            Self::QueueTimeout { .. } => "queue_timeout",
            Self::Connect { .. } => "connect_failed",
            Self::Untrusted { .. } => "upstream_tls_failed",
            Self::NoUpgrade { .. } => "upgrade_unsupported",
            Self::Reset { .. } => "upstream_reset",
            Self::Left { .. } => "upstream_gone",
            Self::BadSwitch { .. } => "bad_switch",
            Self::ClientBroke(fault) => fault.map_or("client_closed", Fault::reason),
            Self::ResponseTimeout { .. } => "response_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }

    /// What the client is told: nothing of addresses, names or labels.
    pub(super) fn public_message(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::AmbiguousPath | Self::ClientBroke(_) => {
                "The request could not be understood."
            }
            Self::NoRoute => "There is no service at this address.",
            Self::Closed => "This service is not configured correctly.",
            Self::Forbidden => "You may not use this service from where you are.",
            Self::Misdirected => "Please ask for this service by a connection of its own.",
            Self::NoClientCertificate => "This service asks for a certificate of yours.",
            Self::RateLimited { .. } => "Too many requests. Please slow down.",
            Self::Unauthorized => "This service asks for a name and a password.",
            Self::BodyTooLarge { .. } => "The request is too large.",
            Self::AuthUnavailable(_)
            | Self::Overloaded
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. } => {
                "The service is not ready. Please try again in a moment."
            }
            Self::Connect { .. }
            | Self::Untrusted { .. }
            | Self::NoUpgrade { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. } => "The service could not be reached.",
            Self::ResponseTimeout { .. } | Self::DeadlineExceeded => {
                "The service did not answer in time."
            }
        }
    }

    /// After what time it makes sense to try again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { next, .. } => Some(*next),
            Self::AuthUnavailable(_)
            | Self::Overloaded
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. } => Some(MOMENT),
            Self::Refused(_)
            | Self::AmbiguousPath
            | Self::NoRoute
            | Self::Closed
            | Self::Forbidden
            | Self::Misdirected
            | Self::NoClientCertificate
            | Self::Unauthorized
            | Self::BodyTooLarge { .. }
            | Self::Connect { .. }
            | Self::Untrusted { .. }
            | Self::NoUpgrade { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. }
            | Self::ClientBroke(_)
            | Self::ResponseTimeout { .. }
            | Self::DeadlineExceeded => None,
        }
    }

    /// Adds what clients of gRPC expect of such an answer beside its code.
    pub(super) fn describe_call(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.retry_after() {
            let wait_ms = u32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
            headers.insert(GRPC_RETRY_PUSHBACK_MS, HeaderValue::from(wait_ms));
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Adds what clients expect of such an answer beside its status.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        if let Self::Unauthorized = self {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Self::RateLimited { limit, whole, .. } = self {
            headers.insert(RATELIMIT_LIMIT, HeaderValue::from(*limit));
            headers.insert(RATELIMIT_REMAINING, HeaderValue::from(0));
            headers.insert(RATELIMIT_RESET, HeaderValue::from(seconds(*whole)));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether a connection of HTTP/1 must end: what follows on it cannot be
    /// trusted to be where it seems, or only another handshake helps its client.
    /// One of HTTP/2 goes on, where other hosts may be served as they should.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::ClientBroke(_)
                | Self::BodyTooLarge { .. }
                | Self::Overloaded
                | Self::Misdirected
                | Self::NoClientCertificate
        )
    }
}

/// Whole seconds, at least one: who comes back any sooner comes too soon.
fn seconds(wait: Duration) -> u32 {
    let whole = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
    whole.saturating_add(u32::from(wait.subsec_nanos() > 0)).max(1)
}

/// It names no pool, since names are nobody's business before they have passed.
const CHALLENGE: &str = "Basic realm=\"Restricted\", charset=\"UTF-8\"";

/// As in draft-ietf-httpapi-ratelimit-headers-03, which most clients know.
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// How a server has clients of gRPC wait with a retry (gRFC A6).
const GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Replicas come and go within it.
const MOMENT: Duration = Duration::from_secs(1);

/// The names of answers of our own, as metrics count them. Refusals of the
/// gate are one there; the access log tells them apart.
pub const REASONS: &[&str] = &[
    "refused",
    "ambiguous_path",
    "no_route",
    "guard_unreadable",
    "forbidden",
    "misdirected",
    "no_client_certificate",
    "overloaded",
    "rate_limited",
    "unauthorized",
    "auth_unavailable",
    "body_too_large",
    "no_endpoint",
    "queue_full",
    "queue_timeout",
    "connect_failed",
    "upstream_tls_failed",
    "upgrade_unsupported",
    "upstream_reset",
    "upstream_gone",
    "bad_switch",
    "client_closed",
    "response_timeout",
    "deadline_exceeded",
];
