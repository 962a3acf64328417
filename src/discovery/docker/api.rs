//! The calls we make, each with a time-out and a limit on what is answered.
//!
//! bollard's client has neither and never speaks the version that it negotiated,
//! so that only its types are used, where they hold.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bollard::models::SystemVersion;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::inspect::Inspected;
use super::transport::{Transport, TransportError};
use super::wire::{self, List};
use crate::config::DockerAddress;

/// A daemon that has answered, and the version of its API that is spoken.
pub(super) struct Api {
    transport: Transport,
    version: ApiVersion,
    peer: String,
}

/// A version of the Engine API, such as `1.41`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ApiVersion {
    major: u32,
    minor: u32,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("{call} was not answered within {}", humantime::format_duration(*after))]
    TimedOut { call: &'static str, after: Duration },
    #[error("{call} was answered {status}: {message}")]
    Status { call: &'static str, status: u16, message: String },
    #[error("the answer to {call} broke off")]
    Broken { call: &'static str, source: Box<dyn Error + Send + Sync> },
    #[error("the answer to {call} cannot be read: {fault}")]
    Unreadable { call: &'static str, fault: String },
    #[error("{peer} is too old: the newest API it speaks is {newest}, and {OLDEST} is needed")]
    TooOld { peer: String, newest: ApiVersion },
    #[error(
        "{peer} is too new: the oldest API it speaks is {oldest}, and {NEWEST} is the newest known here"
    )]
    TooNew { peer: String, oldest: ApiVersion },
}

impl Api {
    /// Finds out who answers at `address` and which version both can speak.
    pub(super) async fn negotiate(address: &DockerAddress) -> Result<Self, ApiError> {
        let transport = Transport::prepare(address).await?;
        // Only unversioned are these two answered by every daemon.
        ask(&transport, "GET /_ping", "/_ping", SMALL).await?;
        let call = "GET /version";
        let text = ask(&transport, call, "/version", SMALL).await?;
        let about: SystemVersion = serde_json::from_slice(&text)
            .map_err(|error| ApiError::Unreadable { call, fault: error.to_string() })?;

        let written = about.api_version.unwrap_or_default();
        let newest: ApiVersion = written.parse().map_err(|InvalidVersion| {
            ApiError::Unreadable { call, fault: format!("`{written}` is not an API version") }
        })?;
        let oldest = about.min_api_version.and_then(|written| written.parse().ok());
        let components = about.components.unwrap_or_default();
        let podman = components.iter().any(|component| component.name.contains("Podman"));
        let product = if podman { "Podman" } else { "Docker" };
        let peer =
            format!("{product} {}", about.version.as_deref().unwrap_or("of unknown version"));
        let version = common(newest, oldest, &peer)?;
        Ok(Self { transport, version, peer: format!("{peer}, API {version}") })
    }

    /// What answers, such as `Docker 28.5.2, API 1.51`.
    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    /// Whether the daemon still answers.
    pub(super) async fn ping(&self) -> Result<(), ApiError> {
        ask(&self.transport, "GET /_ping", "/_ping", SMALL).await?;
        Ok(())
    }

    /// Every container, running or not.
    pub(super) async fn list(&self) -> Result<List, ApiError> {
        let call = "GET /containers/json";
        let path = format!("/v{}/containers/json?all=true", self.version);
        let text = ask(&self.transport, call, &path, LIST).await?;
        wire::list(&text).map_err(|error| ApiError::Unreadable { call, fault: error.to_string() })
    }

    /// More about one container; none if it is gone.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Inspected>, ApiError> {
        let call = "GET /containers/{id}/json";
        let path = format!("/v{}/containers/{id}/json", self.version);
        match ask(&self.transport, call, &path, SMALL).await {
            Ok(text) => Inspected::read(&text)
                .map(Some)
                .map_err(|error| ApiError::Unreadable { call, fault: error.to_string() }),
            Err(ApiError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the stream of events from `since` on, in nanoseconds since the
    /// epoch. It waits without a limit: some proxies in front of a daemon hold
    /// the head back until the first event.
    pub(super) async fn events(&self, since: i64) -> Result<Incoming, ApiError> {
        let call = "GET /events";
        let (seconds, nanos) = (since.div_euclid(NANOS), since.rem_euclid(NANOS));
        let filters = percent_encoded(EVENT_FILTERS);
        let path =
            format!("/v{}/events?since={seconds}.{nanos:09}&filters={filters}", self.version);
        let response = self.transport.get(&path).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        timed(call, SMALL.time, read(call, response, SMALL.bytes)).await?;
        Err(ApiError::Unreadable { call, fault: "it is not a stream".to_owned() })
    }
}

/// What an answer may cost.
#[derive(Clone, Copy)]
struct Limits {
    /// For head and body.
    time: Duration,
    bytes: usize,
}

/// Sends one GET and reads its answer, within `limits`.
async fn ask(
    transport: &Transport,
    call: &'static str,
    path: &str,
    limits: Limits,
) -> Result<Bytes, ApiError> {
    let answer = async { read(call, transport.get(path).await?, limits.bytes).await };
    timed(call, limits.time, answer).await
}

async fn read(
    call: &'static str,
    response: Response<Incoming>,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    let text = body.map_err(|source| ApiError::Broken { call, source })?.to_bytes();
    if status.is_success() {
        return Ok(text);
    }
    Err(ApiError::Status { call, status: status.as_u16(), message: told(&text) })
}

async fn timed<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::TimedOut { call, after: limit }),
    }
}

/// The newest version that both speak.
fn common(
    newest: ApiVersion,
    oldest: Option<ApiVersion>,
    peer: &str,
) -> Result<ApiVersion, ApiError> {
    let version = newest.min(NEWEST);
    if version < OLDEST {
        return Err(ApiError::TooOld { peer: peer.to_owned(), newest });
    }
    match oldest {
        Some(oldest) if oldest > version => Err(ApiError::TooNew { peer: peer.to_owned(), oldest }),
        Some(_) | None => Ok(version),
    }
}

/// What an error's body says: JSON with a `message`, or plain text.
fn told(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| body.get("message")?.as_str().map(str::to_owned));
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[derive(Debug)]
pub(super) struct InvalidVersion;

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let (major, minor) = written.split_once('.').ok_or(InvalidVersion)?;
        let number = |digits: &str| digits.parse().map_err(|_| InvalidVersion);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Docker 20.10.
const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// Docker 29.0. A newer daemon speaks it too, as long as it says so.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 52 };

/// For all that concerns one container, or none. The longest inspects, of
/// containers with hundreds of mounts, have some 100 KiB.
const SMALL: Limits = Limits { time: Duration::from_secs(10), bytes: 4 << 20 };

/// A busy daemon with many containers takes its time for a list. Events tell
/// meanwhile what stops, and pings whether anybody is there at all. There is
/// room for some twenty thousand containers.
const LIST: Limits = Limits { time: Duration::from_secs(30), bytes: 64 << 20 };

const MESSAGE_CHARS_MAX: usize = 500;

const NANOS: i64 = 1_000_000_000;

/// Filtered by the daemon: a HEALTHCHECK alone makes three exec events a probe.
/// A `label` filter would also drop all network events.
const EVENT_FILTERS: &str = concat!(
    r#"{"type":["container","network"],"event":["create","start","health_status","rename","#,
    r#""pause","unpause","kill","die","stop","destroy","connect","disconnect"]}"#,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_speak_the_newest_version_that_both_know() {
        let table = [
            ("1.41", Some("1.12"), Ok("1.41")),
            ("1.51", Some("1.24"), Ok("1.51")),
            ("1.53", Some("1.44"), Ok("1.52")),
            ("1.41", None, Ok("1.41")),
            ("1.40", Some("1.12"), Err("Docker is too old")),
            ("1.60", Some("1.53"), Err("Docker is too new")),
            ("2.0", Some("2.0"), Err("Docker is too new")),
        ];
        for (newest, oldest, expected) in table {
            let oldest = oldest.map(|oldest| oldest.parse().unwrap());
            match (common(newest.parse().unwrap(), oldest, "Docker"), expected) {
                (Ok(version), Ok(expected)) => assert_eq!(version.to_string(), expected),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().starts_with(expected), "{error}");
                }
                (outcome, _) => panic!("{newest}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let version = |written: &str| written.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.41"));
        for written in ["", "1", "1.x", "v1.41"] {
            assert!(written.parse::<ApiVersion>().is_err(), "{written}");
        }
    }

    #[test]
    fn an_error_is_told_as_json_or_as_plain_text() {
        assert_eq!(told(br#"{"message":"no such container"}"#), "no such container");
        assert_eq!(told(b"client is too old\n"), "client is too old");
    }

    #[test]
    fn the_filters_survive_the_way_into_a_query() {
        let encoded = percent_encoded(EVENT_FILTERS);
        assert!(encoded.starts_with("%7B%22type%22%3A%5B%22container%22"), "{encoded}");
        assert!(serde_json::from_str::<serde_json::Value>(EVENT_FILTERS).is_ok());
    }
}
