//! Values of labels of the limit of requests in a time.

use std::num::NonZeroU32;

use crate::domain::labels::guards::header;
use crate::domain::labels::value::{self, InvalidValue};
use crate::domain::middleware::RateBy;

/// So many requests in so many nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    count: NonZeroU32,
    period: u64,
}

impl Pace {
    pub(super) fn nanoseconds(self) -> u64 {
        (self.period / u64::from(self.count.get())).max(1)
    }

    /// What comes in one second, at least one.
    pub(super) fn second(self) -> NonZeroU32 {
        let count = u64::from(self.count.get()) * NANOSECONDS / self.period;
        u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

/// `10/s`, `600/m` or `1000/h`.
pub(super) fn pace(written: &str) -> Result<Pace, InvalidValue> {
    let (count, unit) = written.trim().split_once('/').ok_or(InvalidValue::Rate)?;
    let count: u32 = count.trim().parse().map_err(|_| InvalidValue::Rate)?;
    let seconds = match unit.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3600,
        _ => return Err(InvalidValue::Rate),
    };
    match NonZeroU32::new(count) {
        Some(count) if count.get() <= RATE_MAX => Ok(Pace { count, period: seconds * NANOSECONDS }),
        Some(_) | None => Err(InvalidValue::Range),
    }
}

/// 1 to a million.
pub(super) fn burst(written: &str) -> Result<NonZeroU32, InvalidValue> {
    let count = value::count(written, &(1..=RATE_MAX))?;
    NonZeroU32::new(count).ok_or(InvalidValue::Range)
}

/// `client`, `header:NAME` or `cookie:NAME`.
pub(super) fn by(written: &str) -> Result<RateBy, InvalidValue> {
    let written = written.trim();
    let (kind, name) = written.split_once(':').unwrap_or((written, ""));
    let name = name.trim();
    match kind.trim().to_ascii_lowercase().as_str() {
        "client" if name.is_empty() => Ok(RateBy::Client),
        "header" => header(name).map(RateBy::Header),
        // A cookie's name is a token, as that of a header is (RFC 6265).
        "cookie" => header(name).map(|_| RateBy::Cookie(name.into())),
        _ => Err(InvalidValue::Word { meant: None }),
    }
}

const NANOSECONDS: u64 = 1_000_000_000;

/// Requests in one period, and at once.
const RATE_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    #[test]
    fn a_rate_is_a_number_in_a_time_and_lends_a_second_of_it() {
        for (written, nanoseconds, second) in [
            ("10/s", 100_000_000, 10),
            (" 600 / m", 100_000_000, 10),
            ("1000/h", 3_600_000_000, 1),
            ("1/min", 60_000_000_000, 1),
            ("1000000/s", 1000, 1_000_000),
        ] {
            let pace = pace(written).unwrap();
            assert_eq!(
                (pace.nanoseconds(), pace.second().get()),
                (nanoseconds, second),
                "{written}"
            );
        }
        for written in ["10", "/s", "10/", "10/d", "-1/s", "1.5/s", "ten/s"] {
            assert_eq!(pace(written), Err(InvalidValue::Rate), "{written}");
        }
        for written in ["0/s", "1000001/s"] {
            assert_eq!(pace(written), Err(InvalidValue::Range), "{written}");
        }
    }

    #[test]
    fn a_bucket_is_named_by_the_client_a_header_or_a_cookie() {
        assert_eq!(by("Client"), Ok(RateBy::Client));
        assert_eq!(by("header:X-Key"), Ok(RateBy::Header(HeaderName::from_static("x-key"))));
        assert_eq!(by("cookie: Session"), Ok(RateBy::Cookie("Session".into())));
        assert_eq!(by("header:"), Err(InvalidValue::FieldName { entry: String::new() }));
        assert_eq!(by("ip"), Err(InvalidValue::Word { meant: None }));
    }
}
