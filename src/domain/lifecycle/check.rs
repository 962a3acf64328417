//! Asking a replica over HTTP whether it can serve (`lb.health.*`).

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::lifecycle::Probe;
use crate::domain::proxy_protocol::Version;
use crate::domain::upstream::Tls;

/// What a replica is asked, how often, and what counts as a pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    pub asks: Question,
    pub interval: Duration,
    pub timeout: Duration,
    /// Passes in a row until it serves.
    pub rise: u32,
    /// Failures in a row until it serves no more.
    pub fall: u32,
    /// Statuses that pass.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// The one that takes requests, unless another is asked.
    pub port: Option<u16>,
    /// The `Host` field; its address, if none is known.
    pub host: Option<Arc<str>>,
    /// It begins with a PROXY header that speaks of no client, as the pool's
    /// connections do; not at a port of its own.
    pub proxy_protocol: Option<Version>,
    /// How a replica that is spoken to by TLS proves who it is.
    pub tls: Option<Arc<Tls>>,
}

/// What a replica is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// By HTTP, for this path from the root, perhaps with a query.
    Path(Arc<str>),
    /// By the gRPC health protocol, of this service; empty: of the whole server.
    Grpc(Arc<str>),
}

/// Why a check did not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    Status(u16),
    Refused,
    /// Nobody is there to refuse it.
    Unreachable,
    TimedOut,
    Closed,
    NotHttp,
    /// It did not prove who it is, or does not speak TLS.
    Tls,
    /// It does not speak HTTP/2.
    NotHttp2,
    /// Its gRPC answer ended with this status, which is not 0.
    Grpc(u8),
    /// It says of itself that it does not serve.
    NotServing,
}

/// Outcomes in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streak {
    passes: u32,
    failures: u32,
}

impl HealthCheck {
    /// Whether an answer with this status passes.
    pub fn accepts(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            asks: Question::Path("/".into()),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 3,
            statuses: vec![200..=399],
            port: None,
            host: None,
            proxy_protocol: None,
            tls: None,
        }
    }
}

impl Streak {
    /// What to hold of a replica after one more outcome, of which `before` was
    /// held. One that does not serve yet does not fall: it is only not there.
    pub fn record(
        &mut self,
        passed: bool,
        before: Probe,
        serves: bool,
        check: &HealthCheck,
    ) -> Probe {
        if passed {
            *self = Self { passes: self.passes.saturating_add(1), failures: 0 };
            return if self.passes >= check.rise { Probe::Passed } else { before };
        }
        *self = Self { passes: 0, failures: self.failures.saturating_add(1) };
        match before {
            Probe::Untried if !serves => before,
            _ if self.failures >= check.fall => Probe::Unfit,
            Probe::Untried | Probe::Passed | Probe::Failed | Probe::Unfit => before,
        }
    }
}

impl Fault {
    /// As a number: a status is itself, 0 is none.
    pub fn to_code(fault: Option<Self>) -> u16 {
        match fault {
            None => 0,
            Some(Self::Refused) => 1,
            Some(Self::TimedOut) => 2,
            Some(Self::Closed) => 3,
            Some(Self::NotHttp) => 4,
            Some(Self::Unreachable) => 5,
            Some(Self::Tls) => 6,
            Some(Self::NotHttp2) => 7,
            Some(Self::NotServing) => 8,
            Some(Self::Grpc(status)) => GRPC_CODES + u16::from(status.min(GRPC_STATUS_MAX)),
            Some(Self::Status(status)) => status,
        }
    }

    pub fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Refused,
            2 => Self::TimedOut,
            3 => Self::Closed,
            4 => Self::NotHttp,
            5 => Self::Unreachable,
            6 => Self::Tls,
            7 => Self::NotHttp2,
            8 => Self::NotServing,
            GRPC_CODES..=GRPC_CODE_MAX => {
                Self::Grpc(u8::try_from(code - GRPC_CODES).unwrap_or(GRPC_STATUS_MAX))
            }
            status => Self::Status(status),
        })
    }
}

/// To follow "it".
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Refused => f.write_str("refused the connection"),
            Self::Unreachable => f.write_str("cannot be reached"),
            Self::TimedOut => f.write_str("did not answer in time"),
            Self::Closed => f.write_str("closed the connection without an answer"),
            Self::NotHttp => f.write_str("answered in something other than HTTP/1"),
            Self::Tls => f.write_str("did not prove by TLS who it is"),
            Self::NotHttp2 => f.write_str("answered in something other than HTTP/2"),
            Self::Grpc(GRPC_NOT_FOUND) => f.write_str("does not know the service to check"),
            Self::Grpc(GRPC_UNIMPLEMENTED) => {
                f.write_str("does not speak the gRPC health protocol")
            }
            Self::Grpc(status) => write!(f, "answered with gRPC status {status}"),
            Self::NotServing => f.write_str("says that it does not serve"),
        }
    }
}

/// gRPC statuses that say more than that it failed.
const GRPC_NOT_FOUND: u8 = 5;
const GRPC_UNIMPLEMENTED: u8 = 12;

/// The highest gRPC status. A number between those of other faults and those of
/// HTTP stands for each.
const GRPC_STATUS_MAX: u8 = 16;
const GRPC_CODES: u16 = 50;
const GRPC_CODE_MAX: u16 = GRPC_CODES + GRPC_STATUS_MAX as u16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_replica_falls_and_rises_by_outcomes_in_a_row() {
        use Probe::{Failed, Passed, Unfit, Untried};
        let check = HealthCheck { rise: 2, fall: 3, ..HealthCheck::default() };
        // The outcomes, of which 1 is a pass, and what is held after each.
        for (first, serves, outcomes, expected) in [
            (Untried, false, "000011", &[Untried, Untried, Untried, Untried, Untried, Passed][..]),
            (Untried, false, "1011", &[Untried, Untried, Untried, Passed]),
            (Untried, true, "0011", &[Untried, Untried, Untried, Passed]),
            (Untried, true, "000", &[Untried, Untried, Unfit]),
            (Passed, true, "001000", &[Passed, Passed, Passed, Passed, Passed, Unfit]),
            (Failed, false, "011", &[Failed, Failed, Passed]),
            (Failed, false, "000", &[Failed, Failed, Unfit]),
            (Unfit, false, "1011", &[Unfit, Unfit, Unfit, Passed]),
        ] {
            let mut streak = Streak::default();
            let mut held = first;
            for (outcome, &expected) in outcomes.chars().zip(expected) {
                held = streak.record(outcome == '1', held, serves, &check);
                assert_eq!(held, expected, "{first:?} {outcomes}");
            }
        }
    }

    #[test]
    fn a_fault_survives_its_number() {
        use Fault::{
            Closed, Grpc, NotHttp, NotHttp2, NotServing, Refused, Status, TimedOut, Tls,
            Unreachable,
        };
        let named = [Refused, Unreachable, TimedOut, Closed, NotHttp, Tls, NotHttp2, NotServing];
        let numbered = [Status(100), Status(999), Grpc(1), Grpc(GRPC_STATUS_MAX)];
        for fault in named.into_iter().chain(numbered).map(Some) {
            assert_eq!(Fault::from_code(Fault::to_code(fault)), fault);
        }
        assert_eq!(Fault::from_code(Fault::to_code(None)), None);
    }

    proptest! {
        #[test]
        fn a_replica_that_never_passed_is_never_taken_for_one_that_serves(
            rise in 1_u32..5, fall in 1_u32..5, failures in 0_usize..20,
        ) {
            let check = HealthCheck { rise, fall, ..HealthCheck::default() };
            let mut streak = Streak::default();
            for _ in 0..failures {
                prop_assert_eq!(streak.record(false, Probe::Untried, false, &check), Probe::Untried);
            }
        }
    }
}
