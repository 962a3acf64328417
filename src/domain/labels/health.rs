//! Values of the labels `health.*`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::http::{host, statuses};
use crate::domain::labels::path::InvalidPath;
use crate::domain::labels::value::InvalidValue;
use crate::domain::lifecycle::Question;

/// What is asked for: a path as it is to be sent, perhaps with a query, or
/// `grpc`, perhaps with the name of a service.
pub(super) fn path(written: &str) -> Result<Arc<str>, InvalidValue> {
    let written = written.trim();
    let odd = |letter: &char| !letter.is_ascii_graphic() || "#<>`".contains(*letter);
    let fault = match written.chars().find(odd) {
        _ if written.is_empty() => return Err(InvalidValue::Empty),
        _ if written.len() > PATH_BYTES_MAX => return Err(InvalidValue::TooLong),
        _ if is_grpc(written) => None,
        _ if !written.starts_with('/') => Some(InvalidPath::Relative),
        Some('#') => Some(InvalidPath::Fragment),
        Some(letter) if letter.is_ascii_control() || letter == ' ' => Some(InvalidPath::Blank),
        Some(letter) => Some(InvalidPath::Letter(letter)),
        None => None,
    };
    match fault {
        Some(fault) => Err(InvalidValue::Path { entry: written.to_owned(), fault }),
        None => Ok(written.into()),
    }
}

/// Whether it asks by the gRPC health protocol. A service has a full name, such
/// as `shop.v1.Cart`.
fn is_grpc(written: &str) -> bool {
    let usual = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    match written.split_once(':') {
        Some((protocol, service)) => protocol == "grpc" && service.chars().all(usual),
        None => written == "grpc",
    }
}

/// What a value that was taken for a path asks.
pub(super) fn asks(path: &Arc<str>) -> Question {
    match path.strip_prefix("grpc") {
        Some(service) => Question::Grpc(service.trim_start_matches(':').into()),
        None => Question::Path(Arc::clone(path)),
    }
}

/// Statuses and ranges of them: `200`, `200-299`, `2xx`.
pub(super) fn statuses(written: &str) -> Result<Vec<RangeInclusive<u16>>, InvalidValue> {
    let mut entries = written.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let mut ranges = Vec::new();
    for entry in entries.by_ref().take(STATUSES_MAX) {
        let range = statuses_entry(entry);
        ranges.push(range.ok_or_else(|| InvalidValue::Status { entry: entry.to_owned() })?);
    }
    if entries.next().is_some() {
        return Err(InvalidValue::TooManyStatuses);
    }
    ranges.sort_unstable_by_key(|range| (*range.start(), *range.end()));
    ranges.dedup();
    if ranges.is_empty() { Err(InvalidValue::Empty) } else { Ok(ranges) }
}

/// Statuses that speak of a failure, as [`statuses`].
pub(super) fn failures(written: &str) -> Result<Vec<RangeInclusive<u16>>, InvalidValue> {
    let ranges = statuses(written)?;
    let is_low = ranges.iter().any(|range| *range.start() < FAILURES_FROM);
    if is_low { Err(InvalidValue::Range) } else { Ok(ranges) }
}

/// One of them that can end an answer.
fn statuses_entry(entry: &str) -> Option<RangeInclusive<u16>> {
    statuses::range(entry).filter(|range| *range.start() >= STATUSES_FROM)
}

/// What the `Host` field of a check says.
pub(super) fn host(written: &str) -> Result<Arc<str>, InvalidValue> {
    let written = written.trim();
    if written.is_empty() {
        return Err(InvalidValue::Empty);
    }
    let fault = |_| InvalidValue::Host {
        entry: written.to_owned(),
        remedy: "write the name, perhaps with a port, without scheme or path",
    };
    host::split(written.as_bytes()).map_err(fault)?;
    if written.len() > HOST_BYTES_MAX { Err(InvalidValue::TooLong) } else { Ok(written.into()) }
}

/// Those below it do not end an answer.
const STATUSES_FROM: u16 = 200;

/// Below it an answer is none that another replica could better.
const FAILURES_FROM: u16 = 400;

/// More say nothing that ranges do not.
const STATUSES_MAX: usize = 32;

const PATH_BYTES_MAX: usize = 1024;

/// A name of 253 bytes, its dot and a port.
const HOST_BYTES_MAX: usize = 260;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_ranges_and_classes() {
        for (written, expected) in [
            ("200", vec![200..=200]),
            ("204, 200-299", vec![200..=299, 204..=204]),
            ("2xx,3XX", vec![200..=299, 300..=399]),
            ("2xx-3xx", vec![200..=399]),
            ("200–399,,401", vec![200..=399, 401..=401]),
        ] {
            assert_eq!(statuses(written), Ok(expected), "{written}");
        }
        for written in ["299-200", "2x", "xx", "199", "600", "6xx", "ok", "200-", "-1", "200-299-3"]
        {
            let refused = InvalidValue::Status { entry: written.to_owned() };
            assert_eq!(statuses(written), Err(refused), "{written}");
        }
        assert_eq!(statuses(" , "), Err(InvalidValue::Empty));
    }

    #[test]
    fn what_is_no_failure_is_not_retried() {
        assert_eq!(failures("502,504, 5xx"), Ok(vec![500..=599, 502..=502, 504..=504]));
        for written in ["200", "2xx,503", "399-499"] {
            assert_eq!(failures(written), Err(InvalidValue::Range), "{written}");
        }
    }

    #[test]
    fn the_list_of_statuses_has_a_bound() {
        let most = vec!["200"; STATUSES_MAX].join(",");
        assert_eq!(statuses(&most), Ok(vec![200..=200]));
        assert_eq!(statuses(&format!("{most},201")), Err(InvalidValue::TooManyStatuses));
    }

    #[test]
    fn a_path_is_sent_as_it_is_written() {
        for written in ["/", "/healthz", "/up?deep=1&x=%20", "/a//b/../c"] {
            assert_eq!(path(written).as_deref(), Ok(written));
        }
        assert_eq!(path(" /up "), Ok("/up".into()));
        assert_eq!(path(""), Err(InvalidValue::Empty));
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        assert!(path(&long[..PATH_BYTES_MAX]).is_ok());
        assert_eq!(path(&long), Err(InvalidValue::TooLong));
        for (written, fault) in [
            ("healthz", InvalidPath::Relative),
            ("http://x/up", InvalidPath::Relative),
            ("/up#top", InvalidPath::Fragment),
            ("/a b", InvalidPath::Blank),
            ("/a\r\nX: y", InvalidPath::Blank),
            ("/é", InvalidPath::Letter('é')),
            ("/<id>", InvalidPath::Letter('<')),
        ] {
            let refused = InvalidValue::Path { entry: written.to_owned(), fault };
            assert_eq!(path(written), Err(refused), "{written}");
        }
    }

    #[test]
    fn grpc_is_asked_of_the_whole_server_or_of_a_service() {
        for (written, service) in
            [("grpc", ""), ("grpc:", ""), (" grpc:shop.v1.Cart", "shop.v1.Cart")]
        {
            assert_eq!(asks(&path(written).unwrap()), Question::Grpc(service.into()));
        }
        assert_eq!(asks(&path("/grpc").unwrap()), Question::Path("/grpc".into()));
        for written in ["GRPC", "grpc/x", "grpc:a b", "grpcs", "grpc:a:b"] {
            assert!(path(written).is_err(), "{written}");
        }
    }

    #[test]
    fn what_is_taken_for_a_path_can_be_sent() {
        for byte in 0..=u8::MAX {
            let written = format!("/a{}b", char::from(byte));
            let sendable = written.parse::<http::uri::PathAndQuery>();
            let sent = sendable.as_ref().map(http::uri::PathAndQuery::as_str);
            assert!(path(&written).is_err() || sent.is_ok_and(|it| it == written), "{written:?}");
        }
    }

    #[test]
    fn a_host_may_carry_a_port_and_nothing_else() {
        for written in ["shop.example", "shop.example:8443", "[::1]:80"] {
            assert_eq!(host(written).as_deref(), Ok(written));
        }
        for written in ["http://shop.example", "a b", "x\r\ny", "shop.example/up"] {
            assert!(matches!(host(written), Err(InvalidValue::Host { .. })), "{written}");
        }
    }
}
