//! What the demo backend was told to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{ArgMatches, ValueEnum};
use http::StatusCode;

use crate::cli::surroundings;
use crate::cli::whoami::grpc::GrpcHealth;
use crate::domain::units;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) name: String,
    pub(super) delay: Duration,
    pub(super) status: StatusCode,
    pub(super) body_size: Option<u64>,
    pub(super) grpc_health: GrpcHealth,
    pub(super) health_path: Option<String>,
    pub(super) unhealthy_after: Option<u64>,
    pub(super) flap: Option<Duration>,
    pub(super) crash_path: Option<String>,
    pub(super) request_log: Option<PathBuf>,
    pub(super) on_term: OnTerm,
    pub(super) startup_delay: Duration,
}

/// What SIGTERM does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::cli) enum OnTerm {
    /// At once, whoever is waiting.
    #[default]
    Exit,
    /// Stop accepting, finish what is in flight, then exit.
    Drain,
    Ignore,
}

impl Options {
    /// From checked arguments; the parser has supplied the defaults.
    pub(super) fn read(matches: &ArgMatches) -> Self {
        let duration = |name| matches.get_one::<Duration>(name).copied().unwrap_or_default();
        let number = |name| matches.get_one::<u64>(name).copied();
        let text = |name| matches.get_one::<String>(name).cloned();
        let status = matches.get_one::<u16>("status").copied();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        Self {
            port: matches.get_one::<u16>("port").copied().unwrap_or_default(),
            tls: matches.get_flag("tls"),
            name: text("name").unwrap_or_else(host_name),
            delay: duration("delay"),
            status: status.unwrap_or_default(),
            body_size: number("body-size"),
            grpc_health: matches.get_one("grpc-health").copied().unwrap_or_default(),
            health_path: text("health-path"),
            unhealthy_after: number("unhealthy-after"),
            flap: matches.get_one::<Duration>("flap").copied(),
            crash_path: text("crash-path"),
            request_log: matches.get_one::<PathBuf>("request-log").cloned(),
            on_term: matches.get_one::<OnTerm>("on-term").copied().unwrap_or_default(),
            startup_delay: duration("startup-delay"),
        }
    }
}

impl ValueEnum for OnTerm {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Exit, Self::Drain, Self::Ignore]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Exit => "exit",
            Self::Drain => "drain",
            Self::Ignore => "ignore",
        }))
    }
}

/// A size in bytes, of 1 GiB at the most.
pub(in crate::cli) fn body_size(written: &str) -> Result<u64, String> {
    let size = units::size(written).map_err(|fault| fault.to_string())?;
    if size > BODY_BYTES_MAX { Err("is larger than 1GiB".to_owned()) } else { Ok(size) }
}

fn host_name() -> String {
    let name = surroundings::read_file("/proc/sys/kernel/hostname".as_ref());
    name.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

const BODY_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_a_largest_size() {
        assert_eq!(body_size("10KiB"), Ok(10_240));
        assert_eq!(body_size("1GiB"), Ok(BODY_BYTES_MAX));
        assert!(body_size("2GiB").is_err());
        assert!(body_size("10").is_err());
    }
}
