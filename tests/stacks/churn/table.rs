//! The table: for the terminal, and for `docs/CHURN.md`.

use std::fmt::Write;
use std::time::Duration;

use super::goals::median;
use super::leaving::Lag;
use super::row::Row;
use super::site::Balancer;

/// A table of Markdown; with two balancers one's columns follow the other's.
pub(super) fn table(columns: &[(Balancer, Vec<Row>)]) -> String {
    let mut text = String::from("| scenario | on SIGTERM |");
    for (balancer, _) in columns {
        for head in ["sent", "ok", "failed", "p99 ms", "longest ms", "last request, ms"] {
            let _ = write!(text, " {balancer:?}: {head} |");
        }
    }
    text.push_str("\n|---|---|");
    for _ in columns {
        text.push_str("--:|--:|---|--:|--:|--:|");
    }
    text.push('\n');
    let Some((_, first)) = columns.first() else { return text };
    for (index, row) in first.iter().enumerate() {
        let _ = write!(text, "| {} | {} |", row.scenario.name, row.mode);
        for row in columns.iter().filter_map(|(_, rows)| rows.get(index)) {
            text.push_str(&cells(row));
        }
        text.push('\n');
    }
    text
}

/// What there is to tell of one balancer.
pub(super) fn cells(row: &Row) -> String {
    let failed: usize = row.failed.values().sum();
    let kinds: Vec<_> =
        row.failed.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let kinds = if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") };
    format!(
        " {} | {} | {kinds} | {} | {} | {} |",
        row.sent,
        row.sent - failed,
        millis(row.p99),
        millis(row.longest),
        lag(row),
    )
}

fn millis(span: Duration) -> String {
    format!("{:.0}", span.as_secs_f64() * 1e3)
}

/// `median / max (replicas)`.
fn lag(row: &Row) -> String {
    match (median(row.lags.clone()), row.lags.last()) {
        (Some(median), Some(most)) => {
            let millis = |lag: &Lag| lag.time as f64 / 1e3;
            format!("{:.1} / {:.1} ({})", millis(&median), millis(most), row.lags.len())
        }
        (None, _) | (_, None) => "–".to_owned(),
    }
}
