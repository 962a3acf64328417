//! What the rows are held to.

use std::time::Duration;

use super::clock::{Micros, micros};
use super::leaving::Lag;
use super::load::Asking;
use super::row::Row;
use crate::support::client::Failure;

/// Which goals these rows miss, each with its row.
pub(super) fn missed(rows: &[Row]) -> Vec<String> {
    let of_row = |row: &Row| {
        let pool = row.balancing.as_str();
        let protocol = row.speaks.as_str();
        let head = format!("{} ({}, {pool}, {protocol})", row.scenario.name, row.mode);
        misses(row).into_iter().map(move |miss| format!("{head}: {miss}"))
    };
    let mut missed: Vec<_> = rows.iter().flat_map(of_row).collect();
    let lags: Vec<_> = rows.iter().flat_map(|row| row.lags.iter().cloned()).collect();
    if let Some(Lag { time, .. }) = median(lags)
        && time > LAG_MEDIAN_MAX
    {
        missed.push(format!("the median of the last requests came {time} µs after the event"));
    }
    missed
}

/// Which goals one row misses.
pub(super) fn misses(row: &Row) -> Vec<String> {
    // A replica died with a body that must not be sent again: told so.
    let is_allowed = |failure: &Failure| {
        row.scenario.asking != Asking::Get && matches!(failure, Failure::Status(502 | 503))
    };
    let mut misses = Vec::new();
    if !row.failed.keys().all(is_allowed) {
        misses.extend(row.examples.iter().cloned());
    }
    misses.extend(row.unsettled.as_ref().map(|why| format!("not healed: {why}")));
    if row.events == 0 {
        misses.push("nothing has happened".to_owned());
    }
    for (failure, count) in row.failed.iter().filter(|(failure, _)| !is_allowed(failure)) {
        misses.push(format!("{count} failed: {failure}"));
    }
    if let Some(most) = row.balancing.strays_max() {
        if row.bound == 0 {
            misses.push("nobody came back to a replica".to_owned());
        }
        if row.strays * 100 > row.bound * most {
            misses.push(format!("{} of {} met another replica", row.strays, row.bound));
        }
    }
    let wait = if row.scenario.others { SLACK } else { HOLD + SLACK };
    if row.longest > wait + row.noise {
        misses.push(format!("a request took {:?}, more than {wait:?}", row.longest));
    }
    let late = |lag: &&Lag| lag.time > LAG_MAX + micros(row.noise);
    misses.extend(
        row.lags
            .last()
            .filter(late)
            .map(|Lag { time, told, .. }| format!("a last request {time} µs after the {told}")),
    );
    misses
}

/// The middle one; of an even number the later.
pub(super) fn median(mut lags: Vec<Lag>) -> Option<Lag> {
    lags.sort();
    lags.get(lags.len() / 2).cloned()
}

/// `lb.hold` unless it is set.
const HOLD: Duration = Duration::from_secs(10);
/// For what is tried in vain before, and for the answer itself on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
const LAG_MEDIAN_MAX: Micros = 10_000;
const LAG_MAX: Micros = 50_000;

mod tests {
    use std::collections::BTreeMap;

    use super::super::balancing::Balancing;
    use super::super::lines::Speaks;
    use super::super::scenario::{Mode, SCENARIOS, Scenario};
    use super::*;

    #[test]
    fn a_row_without_a_failure_misses_nothing() {
        assert_eq!(missed(&[row()]), [""; 0]);
    }

    #[test]
    fn a_get_may_not_fail_and_a_post_only_clearly() {
        let failed = |asking, failure| {
            let scenario = Scenario { asking, ..row().scenario };
            Row { scenario, failed: BTreeMap::from([(failure, 1)]), ..row() }
        };
        assert_eq!(misses(&failed(Asking::Get, Failure::Status(502))), ["1 failed: 502"]);
        assert_eq!(misses(&failed(Asking::Post(1), Failure::Status(502))), [""; 0]);
        for failure in [Failure::Twice, Failure::Timeout, Failure::Closed, Failure::Status(504)] {
            assert_eq!(misses(&failed(Asking::Post(1), failure)).len(), 1, "{failure}");
        }
    }

    #[test]
    fn waits_and_last_requests_are_bounded_but_for_the_noise() {
        let late = |noise| Row {
            longest: Duration::from_millis(1_040),
            lags: vec![lag(-3_000), lag(-1_000), lag(60_000)],
            noise: Duration::from_millis(noise),
            ..row()
        };
        assert_eq!(missed(&[late(5)]).len(), 2);
        assert_eq!(missed(&[late(40)]), [""; 0]);
    }

    #[test]
    fn the_median_of_all_rows_is_bounded_and_knows_no_noise() {
        let soon = |time| Row { lags: vec![lag(time)], ..row() };
        assert_eq!(missed(&[soon(-1_000), soon(9_000), soon(40_000)]), [""; 0]);
        assert_eq!(missed(&[soon(-1_000), soon(11_000), soon(40_000)]).len(), 1);
    }

    #[test]
    fn who_belongs_to_a_replica_meets_no_other_without_a_reason() {
        let row = |balancing, bound, strays| Row { balancing, bound, strays, ..row() };
        assert_eq!(missed(&[row(Balancing::LeastRequest, 0, 0)]), [""; 0]);
        assert_eq!(missed(&[row(Balancing::Sticky, 100, 0)]), [""; 0]);
        for (balancing, bound, strays) in
            [(Balancing::Sticky, 0, 0), (Balancing::Pin, 100, 1), (Balancing::IpHash, 100, 3)]
        {
            assert_eq!(missed(&[row(balancing, bound, strays)]).len(), 1, "{balancing:?}");
        }
    }

    #[test]
    fn a_row_in_which_nothing_happened_proves_nothing() {
        assert_eq!(misses(&Row { events: 0, ..row() }), ["nothing has happened"]);
    }

    fn lag(time: Micros) -> Lag {
        Lag { time, target: String::new(), told: String::new() }
    }

    fn row() -> Row {
        Row {
            scenario: *SCENARIOS.iter().find(|scenario| scenario.others).unwrap(),
            mode: Mode::Exit,
            balancing: Balancing::RoundRobin,
            speaks: Speaks::Http1,
            bound: 0,
            strays: 0,
            sent: 1,
            failed: BTreeMap::new(),
            p99: Duration::ZERO,
            longest: Duration::ZERO,
            lags: Vec::new(),
            events: 1,
            noise: Duration::ZERO,
            examples: Vec::new(),
            unsettled: None,
        }
    }
}
