//! Values of labels, as people write them.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::auth::InvalidUser;
use crate::domain::files::InvalidFilePath;
use crate::domain::labels::path::{self, InvalidPath};
use crate::domain::labels::unknown::near;
use crate::domain::middleware::{InvalidAuthUrl, InvalidTarget};
use crate::domain::names::{HostPattern, PoolName};
use crate::domain::proxy_protocol::Version;
use crate::domain::units::{self, InvalidUnit};
use crate::domain::upstream::{InvalidAuthorities, Scheme};

/// Why a value cannot be used. `Display` continues "…, which", said of the
/// whole value or of its entry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidValue {
    #[error("is empty")]
    Empty,
    #[error("is neither `true` nor `false`")]
    Boolean,
    #[error("is not a port")]
    Port,
    #[error("is not a weight")]
    Weight,
    #[error("is not a whole number")]
    Number,
    #[error("is out of range")]
    Range,
    #[error("is not a duration")]
    Duration,
    #[error("is longer than allowed")]
    TooLong,
    #[error("is shorter than allowed")]
    TooShort,
    #[error("is not a pool name")]
    PoolName,
    #[error("is not a host name")]
    Host { entry: String, remedy: &'static str },
    #[error("{fault}")]
    Path { entry: String, fault: InvalidPath },
    #[error("is no status of an answer")]
    Status { entry: String },
    #[error("has more entries than there are kinds of answers")]
    TooManyStatuses,
    #[error("has more than {LIST_MAX} entries")]
    TooMany,
    #[error("is not one of its values")]
    Word { meant: Option<&'static str> },
    #[error("hashes nothing that we know")]
    HashKey,
    #[error("names no header")]
    HeaderName,
    #[error("names no cookie")]
    CookieName,
    #[error("may not be set")]
    Header { entry: String },
    #[error("is no value of a header field")]
    HeaderValue,
    #[error("is no name of a header or cookie")]
    FieldName { entry: String },
    #[error("is not a number in a time")]
    Rate,
    #[error("is not a size")]
    Size,
    #[error("{fault}")]
    User { entry: String, fault: InvalidUser },
    #[error("has no users in it")]
    NoUsers { entry: String },
    #[error("is not a text in base 64")]
    Base64 { entry: String },
    #[error("{fault}")]
    AuthUrl { entry: String, fault: InvalidAuthUrl },
    #[error("{fault}")]
    FilePath { entry: String, fault: InvalidFilePath },
    #[error("cannot be read: {fault}")]
    File { entry: String, fault: Arc<str> },
    /// It will be as soon as somebody has looked.
    #[error("has not been read yet")]
    Unread,
    #[error("is not a text in UTF-8")]
    NoText { entry: String },
    #[error("{fault}")]
    Authorities { entry: String, fault: InvalidAuthorities },
    #[error("is no status of a failure")]
    NoFailure { entry: String },
    #[error("is no entry point of the balancer")]
    EntryPoint { entry: String, meant: Option<String> },
    #[error("is no coding of content")]
    Coding { entry: String },
    #[error("is no media type")]
    MediaType { entry: String },
    #[error("{0}")]
    Target(InvalidTarget),
    #[error("{fault}")]
    Other { entry: Option<String>, fault: &'static str, remedy: Option<&'static str> },
}

impl InvalidValue {
    /// `fault` is said of an entry of the value.
    pub(super) fn entry_that(entry: &str, fault: &'static str) -> Self {
        Self::Other { entry: Some(entry.to_owned()), fault, remedy: None }
    }

    /// `fault` is said of the header or parameter that the label names.
    pub(super) fn name_that(name: &str, fault: &'static str) -> Self {
        Self::Other { entry: Some(name.to_owned()), fault, remedy: Some("name another one") }
    }

    /// `fault` is said of the whole value.
    pub(super) fn that(fault: &'static str) -> Self {
        Self::Other { entry: None, fault, remedy: None }
    }

    /// The entry of a list that is at fault; none if the whole value is.
    pub fn entry(&self) -> Option<&str> {
        match self {
            Self::Host { entry, .. }
            | Self::Path { entry, .. }
            | Self::Status { entry }
            | Self::FieldName { entry }
            | Self::User { entry, .. }
            | Self::NoUsers { entry }
            | Self::Base64 { entry }
            | Self::AuthUrl { entry, .. }
            | Self::FilePath { entry, .. }
            | Self::File { entry, .. }
            | Self::NoText { entry }
            | Self::Authorities { entry, .. }
            | Self::NoFailure { entry }
            | Self::Header { entry }
            | Self::EntryPoint { entry, .. }
            | Self::Coding { entry }
            | Self::MediaType { entry } => Some(entry),
            Self::Other { entry, .. } => entry.as_deref(),
            Self::Empty
            | Self::Boolean
            | Self::Port
            | Self::Weight
            | Self::Number
            | Self::Range
            | Self::Duration
            | Self::TooLong
            | Self::TooShort
            | Self::PoolName
            | Self::TooMany
            | Self::TooManyStatuses
            | Self::Word { .. }
            | Self::HashKey
            | Self::HeaderName
            | Self::CookieName
            | Self::HeaderValue
            | Self::Rate
            | Self::Size
            | Self::Target(_)
            | Self::Unread => None,
        }
    }

    /// What to do that is particular to this fault.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Host { remedy, .. } => Some((*remedy).to_owned()),
            Self::Path { fault, .. } => Some(fault.remedy().to_owned()),
            Self::Other { remedy: Some(remedy), .. } => Some((*remedy).to_owned()),
            Self::EntryPoint { meant: Some(meant), .. } => Some(format!("did you mean `{meant}`?")),
            Self::Word { meant: Some(meant) } => Some(format!("did you mean `{meant}`?")),
            Self::User { fault, .. } => Some(fault.remedy().to_owned()),
            Self::AuthUrl { fault, .. } => fault.remedy().map(str::to_owned),
            Self::FilePath { .. } => Some(
                "put it beneath `--label-files DIR` and write its path there, without `..`"
                    .to_owned(),
            ),
            Self::NoUsers { .. } => {
                Some("add those who may pass, as `htpasswd -nB USER` prints them".to_owned())
            }
            Self::File { .. } => Some(
                "put a file there, of at most 1 MiB and no link, that the balancer may read"
                    .to_owned(),
            ),
            Self::HashKey => {
                Some("write `hash:header:X-User`, `hash:cookie:session` or `hash:uri`".to_owned())
            }
            Self::Empty
            | Self::Boolean
            | Self::Port
            | Self::Weight
            | Self::Number
            | Self::Range
            | Self::Duration
            | Self::TooLong
            | Self::TooShort
            | Self::PoolName
            | Self::Status { .. }
            | Self::TooMany
            | Self::TooManyStatuses
            | Self::Word { meant: None }
            | Self::HeaderName
            | Self::CookieName
            | Self::Header { .. }
            | Self::HeaderValue
            | Self::FieldName { .. }
            | Self::Rate
            | Self::Size
            | Self::Base64 { .. }
            | Self::Unread
            | Self::NoText { .. }
            | Self::Authorities { .. }
            | Self::NoFailure { .. }
            | Self::EntryPoint { meant: None, .. }
            | Self::Coding { .. }
            | Self::MediaType { .. }
            | Self::Target(_)
            | Self::Other { remedy: None, .. } => None,
        }
    }
}

pub fn boolean(written: &str) -> Result<bool, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(InvalidValue::Boolean),
    }
}

/// 1 to 65535.
pub fn port(written: &str) -> Result<u16, InvalidValue> {
    match written.trim().parse() {
        Ok(0) | Err(_) => Err(InvalidValue::Port),
        Ok(port) => Ok(port),
    }
}

/// 0 to 256.
pub fn weight(written: &str) -> Result<u16, InvalidValue> {
    let weight = written.trim().parse().map_err(|_| InvalidValue::Weight)?;
    if weight > WEIGHT_MAX { Err(InvalidValue::Weight) } else { Ok(weight) }
}

pub fn priority(written: &str) -> Result<i32, InvalidValue> {
    written.trim().parse().map_err(|_| InvalidValue::Number)
}

/// A number within `range`.
pub fn count(written: &str, range: &RangeInclusive<u32>) -> Result<u32, InvalidValue> {
    let count = written.trim().parse().map_err(|_| InvalidValue::Number)?;
    if range.contains(&count) { Ok(count) } else { Err(InvalidValue::Range) }
}

/// A duration within `range`.
pub fn duration(written: &str, range: &RangeInclusive<Duration>) -> Result<Duration, InvalidValue> {
    let read = units::duration(written, *range.end()).map_err(|fault| match fault {
        InvalidUnit::TooLong(_) => InvalidValue::TooLong,
        InvalidUnit::Duration | InvalidUnit::Size => InvalidValue::Duration,
    })?;
    if read < *range.start() { Err(InvalidValue::TooShort) } else { Ok(read) }
}

/// A name that is not empty.
pub fn name(written: &str) -> Result<Arc<str>, InvalidValue> {
    let name = written.trim();
    if name.is_empty() { Err(InvalidValue::Empty) } else { Ok(name.into()) }
}

/// The name of a pool, without its project.
pub fn pool(written: &str) -> Result<Arc<str>, InvalidValue> {
    match PoolName::new(None, written.trim()) {
        Ok(pool) => Ok(pool.name),
        Err(_) => Err(InvalidValue::PoolName),
    }
}

/// What can be read of a list, sorted, and the first fault in it.
///
/// The readable rest tells which requests a faulty rule closes.
pub fn hosts(written: &str) -> (Vec<HostPattern>, Option<InvalidValue>) {
    list(written, |entry| match entry {
        "*" => Err(InvalidValue::Host {
            entry: entry.to_owned(),
            remedy: "leave the label out to take every host",
        }),
        _ => entry.parse::<HostPattern>().map_err(|invalid| InvalidValue::Host {
            entry: entry.to_owned(),
            remedy: invalid.fault(),
        }),
    })
}

/// Prefixes of whole segments, as [`hosts`].
pub fn prefixes(written: &str) -> (Vec<Arc<str>>, Option<InvalidValue>) {
    list(written, |entry| path(entry, path::prefix))
}

/// Whole paths, as [`hosts`].
pub fn paths(written: &str) -> (Vec<Arc<str>>, Option<InvalidValue>) {
    list(written, |entry| path(entry, path::exact))
}

/// Whether HEALTHCHECK's verdict is waited for in any case.
pub fn ready_strict(written: &str) -> Result<bool, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "strict" => Ok(true),
        "auto" => Ok(false),
        other => Err(InvalidValue::Word { meant: near(other, ["auto", "strict"].into_iter()) }),
    }
}

pub fn scheme(written: &str) -> Result<Scheme, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        "h2c" => Ok(Scheme::H2c),
        other => {
            Err(InvalidValue::Word { meant: near(other, ["http", "https", "h2c"].into_iter()) })
        }
    }
}

pub fn proxy_protocol(written: &str) -> Result<Version, InvalidValue> {
    match written.trim().to_ascii_lowercase().as_str() {
        "v1" => Ok(Version::V1),
        "v2" => Ok(Version::V2),
        "1" => Err(InvalidValue::Word { meant: Some("v1") }),
        "2" => Err(InvalidValue::Word { meant: Some("v2") }),
        _ => Err(InvalidValue::Word { meant: None }),
    }
}

/// The port to use where none is asked for: the only exposed one, else the
/// only one of those that web servers commonly listen on.
pub fn usual_port(exposed: &[u16]) -> Option<u16> {
    let mut usual = exposed.iter().filter(|port| USUAL_PORTS.contains(port));
    match (exposed, usual.next(), usual.next()) {
        ([only], _, _) | (_, Some(only), None) => Some(*only),
        ([] | [_, _, ..], None | Some(_), _) => None,
    }
}

fn path(
    entry: &str,
    read: fn(&str) -> Result<String, InvalidPath>,
) -> Result<Arc<str>, InvalidValue> {
    match read(entry) {
        Ok(path) => Ok(path.into()),
        Err(fault) => Err(InvalidValue::Path { entry: entry.to_owned(), fault }),
    }
}

/// Empty entries are passed over, since they ask for less and not for more.
pub(super) fn list<T: Ord>(
    written: &str,
    read: impl Fn(&str) -> Result<T, InvalidValue>,
) -> (Vec<T>, Option<InvalidValue>) {
    let mut entries = written.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let (mut good, mut fault) = (Vec::new(), None);
    for entry in entries.by_ref().take(LIST_MAX) {
        match read(entry) {
            Ok(value) => good.push(value),
            Err(invalid) => fault = fault.or(Some(invalid)),
        }
    }
    if entries.next().is_some() {
        fault = fault.or(Some(InvalidValue::TooMany));
    } else if good.is_empty() {
        fault = fault.or(Some(InvalidValue::Empty));
    }
    good.sort_unstable();
    good.dedup();
    (good, fault)
}

const USUAL_PORTS: [u16; 5] = [80, 8080, 3000, 5000, 8000];

const WEIGHT_MAX: u16 = 256;

/// Hosts or paths of one rule.
const LIST_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!(weight("256"), Ok(256));
        assert_eq!(weight("257"), Err(InvalidValue::Weight));
        assert_eq!(port(" 8080 "), Ok(8080));
        for written in ["0", "65536", "80a", "-1", ""] {
            assert_eq!(port(written), Err(InvalidValue::Port), "`{written}`");
        }
        assert_eq!(priority("-10"), Ok(-10));
        assert_eq!(count("11", &(0..=10)), Err(InvalidValue::Range));
    }

    #[test]
    fn a_timeout_has_a_least_and_a_most() {
        let range = Duration::from_millis(1)..=Duration::from_secs(60);
        assert_eq!(duration("1m", &range), Ok(Duration::from_secs(60)));
        assert_eq!(duration("61s", &range), Err(InvalidValue::TooLong));
        assert_eq!(duration("0", &range), Err(InvalidValue::TooShort));
        assert_eq!(duration("10", &range), Err(InvalidValue::Duration));
    }

    #[test]
    fn a_list_keeps_its_readable_entries_beside_the_fault() {
        let (good, fault) = hosts("b.example, A.example,,http://c.example");
        let shown: Vec<_> = good.iter().map(HostPattern::to_string).collect();
        assert_eq!(shown, ["a.example", "b.example"]);
        assert_eq!(fault.unwrap().entry(), Some("http://c.example"));
        assert_eq!(prefixes(" , "), (Vec::new(), Some(InvalidValue::Empty)));
    }

    #[test]
    fn a_list_has_a_bound() {
        let most = vec!["/x"; LIST_MAX].join(",");
        assert_eq!(paths(&most), (vec!["/x".into()], None));
        assert_eq!(paths(&format!("{most},/y")).1, Some(InvalidValue::TooMany));
    }

    #[test]
    fn the_port_is_the_only_exposed_one_or_the_only_usual_one() {
        for (exposed, chosen) in [
            (&[9000][..], Some(9000)),
            (&[9000, 8080], Some(8080)),
            (&[80, 8080], None),
            (&[9000, 9001], None),
            (&[], None),
        ] {
            assert_eq!(usual_port(exposed), chosen, "{exposed:?}");
        }
    }
}
