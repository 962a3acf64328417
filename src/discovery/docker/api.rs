//! The calls we make, each with a time-out.
//!
//! bollard speaks where its types hold (negotiation, inspect), over our own
//! transport, which puts the negotiated version into the path: bollard itself
//! never does.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::{Method, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::inspect::Inspected;
use super::transport::{Transport, TransportError};
use super::wire::{self, Listed};
use crate::config::DockerAddress;

/// A daemon that has answered, and the version of its API that is spoken.
pub(super) struct Api {
    transport: Transport,
    version: ApiVersion,
    engine: Docker,
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
        let unversioned = engine(&transport, "GET /_ping", None)?;
        called("GET /_ping", unversioned.ping()).await?;
        let about = called("GET /version", unversioned.version()).await?;

        let written = about.api_version.unwrap_or_default();
        let newest: ApiVersion =
            written.parse().map_err(|InvalidVersion| ApiError::Unreadable {
                call: "GET /version",
                fault: format!("`{written}` is not an API version"),
            })?;
        let oldest = about.min_api_version.and_then(|written| written.parse().ok());
        let components = about.components.unwrap_or_default();
        let podman = components.iter().any(|component| component.name.contains("Podman"));
        let product = if podman { "Podman" } else { "Docker" };
        let peer =
            format!("{product} {}", about.version.as_deref().unwrap_or("of unknown version"));
        let version = common(newest, oldest, &peer)?;
        Ok(Self {
            engine: engine(&transport, "GET /containers/{id}/json", Some(version))?,
            transport,
            version,
            peer: format!("{peer}, API {version}"),
        })
    }

    /// What answers, such as `Docker 28.5.2, API 1.51`.
    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    /// Whether the daemon still answers.
    pub(super) async fn ping(&self) -> Result<(), ApiError> {
        let call = "GET /_ping";
        timed(call, async { self.read(call, self.transport.get("/_ping").await?).await }).await?;
        Ok(())
    }

    /// Every container, running or not, and what could not be read of the list.
    pub(super) async fn list(&self) -> Result<(Vec<Listed>, Vec<String>), ApiError> {
        let call = "GET /containers/json";
        let path = format!("/v{}/containers/json?all=true", self.version);
        let text =
            timed(call, async { self.read(call, self.transport.get(&path).await?).await }).await?;
        wire::list(&text).map_err(|error| ApiError::Unreadable { call, fault: error.to_string() })
    }

    /// More about one container; none if it is gone.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<Inspected>, ApiError> {
        let call = "GET /containers/{id}/json";
        match called(call, self.engine.inspect_container(id, None)).await {
            Ok(response) => Ok(Some(Inspected::from(response))),
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
        timed(call, self.read(call, response)).await?;
        Err(ApiError::Unreadable { call, fault: "it is not a stream".to_owned() })
    }

    async fn read(
        &self,
        call: &'static str,
        response: Response<Incoming>,
    ) -> Result<bytes::Bytes, ApiError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let text = body.map_err(|source| ApiError::Broken { call, source })?.to_bytes();
        if status.is_success() {
            return Ok(text);
        }
        Err(ApiError::Status { call, status: status.as_u16(), message: told(&text) })
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

/// A bollard client that speaks through `transport`.
fn engine(
    transport: &Transport,
    call: &'static str,
    version: Option<ApiVersion>,
) -> Result<Docker, ApiError> {
    let transport = transport.clone();
    let prefix = version.map(|version| format!("/v{version}")).unwrap_or_default();
    let send = move |request: BollardRequest| {
        let (transport, prefix) = (transport.clone(), prefix.clone());
        async move {
            if request.method() != Method::GET {
                return Err(io::Error::other("only GET is ever asked of the daemon").into());
            }
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            // bollard's error has room for ours only inside an I/O error.
            transport
                .get(&format!("{prefix}{path}"))
                .await
                .map_err(|it| io::Error::other(it).into())
        }
    };
    let seconds = CALL_TIMEOUT.as_secs();
    Docker::connect_with_custom_transport(send, Some("http://docker"), seconds, API_DEFAULT_VERSION)
        .map_err(|error| ApiError::Broken { call, source: error.into() })
}

/// Runs a call of bollard's, with a limit on the body too, which it lacks.
async fn called<T>(
    call: &'static str,
    answer: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T, ApiError> {
    timed(call, async { answer.await.map_err(|error| ours(call, error)) }).await
}

async fn timed<T>(
    call: &'static str,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match timeout(CALL_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::TimedOut { call, after: CALL_TIMEOUT }),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest of bollard's errors says no more")]
fn ours(call: &'static str, error: bollard::errors::Error) -> ApiError {
    use bollard::errors::Error::{
        DockerResponseServerError, IOError, JsonDataError, RequestTimeoutError,
    };
    match error {
        DockerResponseServerError { status_code, message } => {
            ApiError::Status { call, status: status_code, message }
        }
        JsonDataError { message, .. } => ApiError::Unreadable { call, fault: message },
        RequestTimeoutError => ApiError::TimedOut { call, after: CALL_TIMEOUT },
        IOError { err } => match err.downcast::<TransportError>() {
            Ok(error) => ApiError::Transport(error),
            Err(source) => ApiError::Broken { call, source: source.into() },
        },
        error => ApiError::Broken { call, source: error.into() },
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

/// For the head and the body of every answer but the event stream's.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Some twenty thousand containers.
const ANSWER_BYTES_MAX: usize = 64 << 20;

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
