//! What the rows are held to.

use std::time::Duration;

use super::client::Failure;
use super::clock::{Micros, micros};
use super::leaving::Lag;
use super::load::Asking;
use super::row::Row;

/// Which goals these rows miss, each with its row.
pub(super) fn missed(rows: &[Row]) -> Vec<String> {
    let of_row = |row: &Row| {
        let head = format!("{} ({})", row.scenario.name, row.mode);
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
    let mut misses = row.examples.clone();
    misses.extend(row.unsettled.as_ref().map(|why| format!("not healed: {why}")));
    if row.events == 0 {
        misses.push("nothing has happened".to_owned());
    }
    for (failure, count) in &row.failed {
        // A replica died with a body that must not be sent again: told so.
        let is_clear = matches!(failure, Failure::Status(502 | 503));
        if row.scenario.asking == Asking::Get || !is_clear {
            misses.push(format!("{count} failed: {failure}"));
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
