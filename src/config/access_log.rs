//! What is logged of requests, and of which.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::mistake::Fault;
use crate::domain::http::statuses;
use crate::domain::{suggest, units};

/// The access log, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessLogSettings {
    pub format: AccessLogFormat,
    pub query: AccessLogQuery,
    /// Parameters of queries whose values are masked, besides the usual ones.
    pub redact: Vec<String>,
    /// Statuses of which every request is logged.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Every request is logged that takes so long, or longer.
    pub slow: Option<Duration>,
    /// The share that is logged of all others, from 0 to 1; none: all of them,
    /// unless `statuses` or `slow` choose.
    pub sample: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessLogFormat {
    /// Apache's combined format with our fields after it.
    #[default]
    Combined,
    Json,
    Logfmt,
    Off,
}

/// What is logged of the queries of targets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessLogQuery {
    Full,
    /// Without the values that look like credentials.
    #[default]
    Redacted,
    Off,
}

pub(super) fn format(written: &str) -> Result<AccessLogFormat, Fault> {
    one_of(written, &FORMATS, "is not an access log format")
}

pub(super) fn query(written: &str) -> Result<AccessLogQuery, Fault> {
    one_of(written, &QUERIES, "is no choice for queries")
}

/// The name of a parameter, in lower case.
pub(super) fn parameter(written: &str) -> Result<String, Fault> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"&;=?#%[]".contains(&byte);
    if written.len() > PARAMETER_BYTES_MAX || !written.bytes().all(is_plain) {
        let hint = "write it as in a URL, such as `session_id`: at most 64 letters of ASCII, and \
                    of `a[b]` only `b`";
        return Err(Fault::new("is not the name of a parameter", hint));
    }
    Ok(written.to_ascii_lowercase())
}

/// At most so many of them, since every query is looked through for all.
pub(super) fn parameters(names: Vec<String>) -> Result<Vec<String>, Fault> {
    if names.len() > PARAMETERS_MAX {
        let what = format!("has {} names, more than {PARAMETERS_MAX}", names.len());
        return Err(Fault::new(what, "have no query logged at all: `access_log_query = \"off\"`"));
    }
    Ok(names)
}

pub(super) fn status(written: &str) -> Result<RangeInclusive<u16>, Fault> {
    statuses::range(written).ok_or_else(|| {
        Fault::new("is not a status", "write `404`, a range `502-504` or a class `5xx`")
    })
}

pub(super) fn slow(written: &str) -> Result<Duration, Fault> {
    units::duration(written, SLOW_MAX).map_err(|error| {
        Fault::new(error.to_string(), "write a duration with its unit, such as `500ms`")
    })
}

pub(super) fn sample(written: &str) -> Result<f64, Fault> {
    let share = written.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| {
        Fault::new("is not a share", "write a number from `0` to `1`: `0.01` is one in a hundred")
    })
}

fn one_of<T: Copy>(written: &str, all: &[(&str, T)], what: &str) -> Result<T, Fault> {
    let found = all.iter().find(|(name, _)| *name == written);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names = || all.iter().map(|(name, _)| *name);
        let hint = suggest::nearest(written, names()).map_or_else(
            || {
                let names: Vec<_> = names().map(|name| format!("`{name}`")).collect();
                format!("write one of {}", names.join(", "))
            },
            |near| format!("did you mean `{near}`?"),
        );
        Fault::new(what, hint)
    })
}

const FORMATS: [(&str, AccessLogFormat); 4] = [
    ("combined", AccessLogFormat::Combined),
    ("json", AccessLogFormat::Json),
    ("logfmt", AccessLogFormat::Logfmt),
    ("off", AccessLogFormat::Off),
];

const QUERIES: [(&str, AccessLogQuery); 3] = [
    ("full", AccessLogQuery::Full),
    ("redacted", AccessLogQuery::Redacted),
    ("off", AccessLogQuery::Off),
];

/// What is slower is no request but a mistake.
const SLOW_MAX: Duration = Duration::from_secs(86_400);

/// No name that is looked for is longer.
pub const PARAMETER_BYTES_MAX: usize = 64;

const PARAMETERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_log_is_one_of_four() {
        assert_eq!(format("logfmt").unwrap(), AccessLogFormat::Logfmt);
        assert_eq!(format("jsn").unwrap_err().hint, "did you mean `json`?");
        let hint = "write one of `combined`, `json`, `logfmt`, `off`";
        assert_eq!(format("yes").unwrap_err().hint, hint);
        assert_eq!(query("off").unwrap(), AccessLogQuery::Off);
        assert_eq!(query("ful").unwrap_err().hint, "did you mean `full`?");
    }

    #[test]
    fn a_parameter_is_named_as_in_a_url_in_any_case() {
        assert_eq!(parameter("X-Session").unwrap(), "x-session");
        let long = "x".repeat(PARAMETER_BYTES_MAX);
        assert!(parameter(&long).is_ok());
        for written in [&format!("{long}x"), "a b", "a=b", "a[b]", "%61", "ä"] {
            assert!(parameter(written).is_err(), "`{written}`");
        }
        assert!(parameters(vec![String::new(); PARAMETERS_MAX]).is_ok());
        assert!(parameters(vec![String::new(); PARAMETERS_MAX + 1]).is_err());
    }

    #[test]
    fn a_share_is_from_none_to_all() {
        for (written, expected) in [("0", 0.0), ("0.25", 0.25), ("1", 1.0), ("1e-3", 0.001)] {
            assert!((sample(written).unwrap() - expected).abs() < f64::EPSILON, "{written}");
        }
        for written in ["", "-0.1", "1.01", "10%", "NaN", "inf"] {
            assert!(sample(written).is_err(), "`{written}`");
        }
    }

    #[test]
    fn what_is_slow_has_a_unit() {
        assert_eq!(slow("500ms").unwrap(), Duration::from_millis(500));
        for written in ["500", "1d1s", "soon"] {
            assert!(slow(written).is_err(), "`{written}`");
        }
        assert_eq!(status("5xx").unwrap(), 500..=599);
        assert_eq!(
            status("6xx").unwrap_err().hint,
            "write `404`, a range `502-504` or a class `5xx`"
        );
    }
}
