//! The one place where a failed request becomes an answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

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
    #[error("{endpoint} closed the connection before it answered")]
    Reset {
        endpoint: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    #[error("{endpoint} stopped before it answered")]
    Left { endpoint: SocketAddr },
    #[error("{endpoint} switched to a protocol that was not asked for")]
    BadSwitch { endpoint: SocketAddr },
    #[error("the client broke off its request")]
    ClientBroke(Option<Fault>),
    #[error("{endpoint} sent no answer within {limit:?}")]
    ResponseTimeout { endpoint: SocketAddr, limit: Duration },
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
            Self::Closed
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. } => StatusCode::BAD_GATEWAY,
            Self::ResponseTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
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
            | Self::HoldTimeout { .. }
            | Self::QueueFull
            | Self::QueueTimeout { .. }
            | Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. }
            | Self::ResponseTimeout { .. } => self.reason(),
        }
    }

    /// The name in the access log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::AmbiguousPath => "ambiguous_path",
            Self::NoRoute => "no_route",
            Self::Closed => "guard_unreadable",
            Self::HoldTimeout { after, .. } => {
                after.as_ref().map_or("no_endpoint", |after| after.reason())
            }
            Self::QueueFull => "queue_full",
            Self::QueueTimeout { .. } => "queue_timeout",
            Self::Connect { .. } => "connect_failed",
            Self::Reset { .. } => "upstream_reset",
            Self::Left { .. } => "upstream_gone",
            Self::BadSwitch { .. } => "bad_switch",
            Self::ClientBroke(fault) => fault.map_or("client_closed", Fault::reason),
            Self::ResponseTimeout { .. } => "response_timeout",
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
            Self::HoldTimeout { .. } | Self::QueueFull | Self::QueueTimeout { .. } => {
                "The service is not ready. Please try again in a moment."
            }
            Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. } => "The service could not be reached.",
            Self::ResponseTimeout { .. } => "The service did not answer in time.",
        }
    }

    /// Seconds after which it makes sense to try again.
    pub(super) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::HoldTimeout { .. } | Self::QueueFull | Self::QueueTimeout { .. } => Some(1),
            Self::Refused(_)
            | Self::AmbiguousPath
            | Self::NoRoute
            | Self::Closed
            | Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Left { .. }
            | Self::BadSwitch { .. }
            | Self::ClientBroke(_)
            | Self::ResponseTimeout { .. } => None,
        }
    }

    /// Whether the connection must end, since what follows on it cannot be
    /// trusted to be where it seems.
    pub(super) fn closes(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::ClientBroke(_))
    }
}

/// The names of answers of our own, as metrics count them. Refusals of the
/// gate are one there; the access log tells them apart.
pub const REASONS: &[&str] = &[
    "refused",
    "ambiguous_path",
    "no_route",
    "guard_unreadable",
    "no_endpoint",
    "queue_full",
    "queue_timeout",
    "connect_failed",
    "upstream_reset",
    "upstream_gone",
    "bad_switch",
    "client_closed",
    "response_timeout",
];
