//! Values that carry their unit.

use std::time::Duration;

/// Why a value with a unit cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUnit {
    #[error("is not a duration: write a number with its unit, such as `500ms`, `10s` or `1m30s`")]
    Duration,
    #[error("is longer than the largest duration allowed here, {}", humantime::format_duration(*.0))]
    TooLong(Duration),
    #[error("is not a size: write a number with its unit, such as `512B`, `64KiB` or `10MiB`")]
    Size,
}

/// A duration such as `500ms` or `1m30s`, of `most` at the most. A bare number
/// other than `0` is refused, since nobody can know its unit.
pub fn duration(written: &str, most: Duration) -> Result<Duration, InvalidUnit> {
    if written.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let read = humantime::parse_duration(written.trim()).map_err(|_| InvalidUnit::Duration)?;
    if read > most { Err(InvalidUnit::TooLong(most)) } else { Ok(read) }
}

/// A size in bytes such as `64KiB` or `10MB`; the largest is what `u64` holds.
pub fn size(written: &str) -> Result<u64, InvalidUnit> {
    let written = written.trim();
    let end = written.find(|c: char| !c.is_ascii_digit()).unwrap_or(written.len());
    let (digits, unit) = written.split_at_checked(end).ok_or(InvalidUnit::Size)?;
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
    let number: u64 = digits.parse().map_err(|_| InvalidUnit::Size)?;
    let &(_, factor) = factor.ok_or(InvalidUnit::Size)?;
    number.checked_mul(factor).ok_or(InvalidUnit::Size)
}

const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_their_unit() {
        let hour = Duration::from_secs(3600);
        assert_eq!(duration("1m30s", hour), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0", hour), Ok(Duration::ZERO));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10 MB"), Ok(10_000_000));
    }

    #[test]
    fn a_bare_number_is_refused() {
        assert_eq!(duration("10", Duration::MAX), Err(InvalidUnit::Duration));
        assert_eq!(size("64"), Err(InvalidUnit::Size));
        assert_eq!(size("99999999999GiB"), Err(InvalidUnit::Size));
    }

    #[test]
    fn a_duration_beyond_its_maximum_names_the_maximum() {
        let refused = duration("2h", Duration::from_secs(3600)).unwrap_err();
        assert!(refused.to_string().ends_with("allowed here, 1h"), "{refused}");
    }
}
