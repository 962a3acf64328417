//! gRPC over HTTP: what a call is, how long it may take, and how it fails
//! ("gRPC over HTTP2", the protocol's own document).

use std::fmt::{self, Write};
use std::time::Duration;

/// How a call that we answer ourselves has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    Cancelled = 1,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The `grpc-timeout` of a call: how long its client waits for all of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timeout(Duration);

/// Text as the field `grpc-message` carries it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a>(pub &'a str);

/// Whether a request with this `Content-Type` is a call. gRPC-Web is not: its
/// clients read HTTP.
pub fn is_call(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(CONTENT_TYPE.len()) else {
        return false;
    };
    kind.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

impl Code {
    /// The value of `grpc-status`.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl Timeout {
    /// From one to eight digits and a unit; none if `value` is anything else,
    /// which is left to the replica to judge.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (&unit, digits) = value.split_last()?;
        if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        // Eight digits of hours are 11 thousand years, which fit.
        let timeout = match unit {
            b'H' => Duration::from_secs(count * 3600),
            b'M' => Duration::from_secs(count * 60),
            b'S' => Duration::from_secs(count),
            b'm' => Duration::from_millis(count),
            b'u' => Duration::from_micros(count),
            b'n' => Duration::from_nanos(count),
            _ => return None,
        };
        Some(Self(timeout))
    }

    /// How long we wait for the head of an answer on its account.
    pub fn patience(self) -> Duration {
        self.0.min(PATIENCE_MAX)
    }

    /// What is left of it.
    #[must_use]
    pub fn after(self, passed: Duration) -> Self {
        Self(self.0.saturating_sub(passed))
    }
}

impl fmt::Display for Timeout {
    /// In the finest unit whose digits suffice, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(left) = self;
        let units = [
            (left.as_nanos(), 'n'),
            (left.as_micros(), 'u'),
            (left.as_millis(), 'm'),
            (left.as_secs().into(), 'S'),
            ((left.as_secs() / 60).into(), 'M'),
        ];
        match units.into_iter().find(|&(count, _)| count <= COUNT_MAX) {
            Some((count, unit)) => write!(f, "{count}{unit}"),
            None => write!(f, "{}H", left.as_secs() / 3600),
        }
    }
}

impl fmt::Display for Message<'_> {
    /// Printable ASCII but `%` is written as it is, each other byte as `%XX`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b' '..=b'~' if byte != b'%' => f.write_char(char::from(byte)),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

/// The `Content-Type` of every answer of our own to a call.
pub const CONTENT_TYPE: &str = "application/grpc";

const DIGITS_MAX: usize = 8;
const COUNT_MAX: u128 = 99_999_999;

/// No label allows a replica longer for an answer either: whoever asks for more
/// time waits in vain more likely than not.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_call(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn a_timeout_is_a_count_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0n", Some(Duration::ZERO)),
            ("00000001S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1 S", None),
            ("1.5S", None),
        ] {
            assert_eq!(Timeout::parse(value.as_bytes()), expected.map(Timeout), "{value}");
        }
    }

    #[test]
    fn what_is_left_is_told_as_finely_as_eight_digits_can() {
        for (before, passed, after) in [
            ("1S", Duration::from_millis(950), "50000000n"),
            ("1S", Duration::from_millis(1), "999000u"),
            ("100S", Duration::ZERO, "100000m"),
            ("99999999S", Duration::ZERO, "99999999S"),
            ("99999999M", Duration::ZERO, "99999999M"),
            ("99999999H", Duration::ZERO, "99999999H"),
            ("1S", Duration::from_secs(2), "0n"),
        ] {
            let left = Timeout::parse(before.as_bytes()).unwrap().after(passed);
            assert_eq!(left.to_string(), after, "{before}");
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_an_hour() {
        let patience = |value: &[u8]| Timeout::parse(value).unwrap().patience();
        assert_eq!(patience(b"3600S"), Duration::from_secs(3600));
        assert_eq!(patience(b"61M"), Duration::from_secs(3600));
        assert_eq!(patience(b"59M"), Duration::from_secs(59 * 60));
    }

    #[test]
    fn a_message_has_no_byte_that_a_field_may_not_have() {
        assert_eq!(Message("plain, text.").to_string(), "plain, text.");
        assert_eq!(Message("100%\r\né~\u{7f}").to_string(), "100%25%0D%0A%C3%A9~%7F");
    }

    proptest! {
        /// Telling what is left loses less than one part in a million, and never
        /// gives a replica more time than the client has.
        #[test]
        fn a_timeout_is_told_as_what_it_is(count in 0..=99_999_999_u64, unit in "[HMSmun]") {
            let timeout = Timeout::parse(format!("{count}{unit}").as_bytes()).unwrap();
            let told = timeout.to_string();
            prop_assert!(told.len() <= DIGITS_MAX + 1, "{}", told);
            let read = Timeout::parse(told.as_bytes()).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout.0 - read.0 <= timeout.0 / 1_000_000, "{}", told);
        }

        #[test]
        fn whatever_a_timeout_holds_does_no_harm(value in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(timeout) = Timeout::parse(&value) {
                prop_assert!(timeout.patience() <= PATIENCE_MAX);
            }
        }
    }
}
