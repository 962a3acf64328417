//! Certificates as the API and the metrics show them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::admin::view;
use crate::telemetry::metrics;
use crate::tls::{Origin, Standing, date};

/// For the API, at `today`.
pub(super) fn shown(standings: &[Standing], today: SystemTime) -> Vec<view::Certificate> {
    standings.iter().map(|standing| certificate(standing, today)).collect()
}

fn certificate(standing: &Standing, today: SystemTime) -> view::Certificate {
    let Standing { validity, renews_at, .. } = *standing;
    let file = match &standing.origin {
        Origin::File(path) => Some(path.display().to_string()),
        Origin::Acme | Origin::SelfSigned => None,
    };
    view::Certificate {
        names: standing.names.clone(),
        origin: origin(&standing.origin).to_owned(),
        file,
        default: standing.is_default,
        not_before: validity.map(|(from, _)| date(from)),
        not_after: validity.map(|(_, until)| date(until)),
        days_left: validity.map(|(_, until)| days(today, until)),
        renews_at: renews_at.map(date),
        problem: standing.fault.as_deref().map(str::to_owned),
    }
}

/// For the metrics: those that are there, by their first name. Of several from
/// one origin for one name, that which is good for the longest is shown to
/// clients.
pub(super) fn measured(standings: &[Standing]) -> Vec<metrics::Certificate> {
    let mut latest: BTreeMap<(String, &'static str), SystemTime> = BTreeMap::new();
    for standing in standings {
        let Some((_, until)) = standing.validity else { continue };
        let name = standing.names.first().cloned().unwrap_or_default();
        let known = latest.entry((name, origin(&standing.origin))).or_insert(until);
        *known = until.max(*known);
    }
    let measured = latest.into_iter().map(|((name, origin), expires_at)| metrics::Certificate {
        name,
        origin,
        expires_at,
    });
    measured.collect()
}

fn origin(origin: &Origin) -> &'static str {
    match origin {
        Origin::File(_) => "file",
        Origin::Acme => "acme",
        Origin::SelfSigned => "self-signed",
    }
}

/// Whole days from `today` until then; negative when that is over.
fn days(today: SystemTime, until: SystemTime) -> i64 {
    let whole = |seconds: u64| i64::try_from(seconds / DAY).unwrap_or(i64::MAX);
    match until.duration_since(today) {
        Ok(left) => whole(left.as_secs()),
        Err(over) => -whole(over.duration().as_secs() + DAY - 1),
    }
}

/// In seconds.
const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(days * DAY)
    }

    fn standing(name: &str, origin: Origin, until: u64) -> Standing {
        Standing {
            names: vec![name.to_owned()],
            origin,
            is_default: false,
            validity: Some((at(1), at(until))),
            renews_at: None,
            fault: None,
        }
    }

    #[test]
    fn a_certificate_is_shown_with_its_dates_its_file_and_what_is_wrong() {
        let file = Origin::File(Path::new("/certs/a.crt").into());
        let mut of_file = standing("a.example", file, 31);
        of_file.fault = Some("it is bad".into());
        let awaited =
            Standing { validity: None, renews_at: Some(at(12)), ..standing("b", Origin::Acme, 0) };
        let [of_file, awaited] = &shown(&[of_file, awaited], at(11))[..] else { panic!() };
        assert_eq!(of_file.origin, "file");
        assert_eq!(of_file.file.as_deref(), Some("/certs/a.crt"));
        assert_eq!(of_file.not_before.as_deref(), Some("1970-01-02T00:00:00Z"));
        assert_eq!(of_file.not_after.as_deref(), Some("1970-02-01T00:00:00Z"));
        assert_eq!(of_file.days_left, Some(20));
        assert_eq!(of_file.problem.as_deref(), Some("it is bad"));
        assert_eq!((awaited.origin.as_str(), awaited.days_left), ("acme", None));
        assert_eq!(awaited.renews_at.as_deref(), Some("1970-01-13T00:00:00Z"));
    }

    #[test]
    fn days_are_whole_and_those_since_the_end_are_negative() {
        let second = Duration::from_secs(1);
        for (until, expected) in [
            (at(12), 2),
            (at(12) - second, 1),
            (at(10), 0),
            (at(10) - second, -1),
            (at(9), -1),
            (at(9) - second, -2),
        ] {
            assert_eq!(days(at(10), until), expected);
        }
    }

    #[test]
    fn one_name_of_one_origin_is_one_sample() {
        let file = |path: &str| Origin::File(Path::new(path).into());
        let measured = measured(&[
            standing("a", file("x"), 5),
            standing("a", file("y"), 9),
            standing("a", file("z"), 7),
            standing("a", Origin::Acme, 3),
            Standing { validity: None, ..standing("b", Origin::Acme, 0) },
        ]);
        let measured: Vec<_> =
            measured.iter().map(|it| (it.name.as_str(), it.origin, it.expires_at)).collect();
        assert_eq!(measured, [("a", "acme", at(3)), ("a", "file", at(9))]);
    }
}
