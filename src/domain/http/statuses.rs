//! Statuses as people write them.

use std::ops::RangeInclusive;

/// `204`, `200-299`, `2xx` or `2xx-3xx`.
pub fn range(written: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = written.split_once(['-', '–']).unwrap_or((written, written));
    let range = *bounds(first.trim())?.start()..=*bounds(last.trim())?.end();
    (!range.is_empty()).then_some(range)
}

/// `204` is itself, `2xx` from 200 to 299.
fn bounds(written: &str) -> Option<RangeInclusive<u16>> {
    let lower = written.to_ascii_lowercase();
    let range = match lower.strip_suffix("xx") {
        Some(class) => {
            let first = class.parse::<u16>().ok()?.checked_mul(100)?;
            first..=first.checked_add(99)?
        }
        None => {
            let status = lower.parse().ok()?;
            status..=status
        }
    };
    (ALL.contains(range.start()) && ALL.contains(range.end())).then_some(range)
}

const ALL: RangeInclusive<u16> = 100..=599;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_ranges_and_classes() {
        for (written, expected) in [
            ("200", 200..=200),
            ("200-299", 200..=299),
            ("1xx", 100..=199),
            ("3XX", 300..=399),
            ("2xx-3xx", 200..=399),
            ("200 – 399", 200..=399),
        ] {
            assert_eq!(range(written), Some(expected), "{written}");
        }
        for written in
            ["", "299-200", "2x", "xx", "99", "0xx", "600", "6xx", "ok", "200-", "-1", "200-299-3"]
        {
            assert_eq!(range(written), None, "{written}");
        }
    }
}
