//! Whether we are ready, and what is wrong with each source.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::view;
use crate::control::{Overview, SourceOverview};
use crate::domain::world::SourceHealth;

/// We are ready once all that every source sees has been applied, and stay so
/// while a source is away: what it saw last still stands.
pub(super) fn readiness(overview: &Overview, now: Instant) -> view::Readiness {
    view::Readiness {
        ready: overview.has_first_world() && !overview.stopping,
        stopping: overview.stopping,
        sources: sources(overview, now),
    }
}

pub(super) fn sources(overview: &Overview, now: Instant) -> Vec<view::Source> {
    overview.sources.iter().map(|it| source(it, now)).collect()
}

fn source(source: &SourceOverview, now: Instant) -> view::Source {
    let (connected, detail, hint) = match &source.health {
        Some(SourceHealth::Connected { peer }) => (true, peer.clone(), String::new()),
        Some(SourceHealth::Away { message, hint, .. }) => (false, message.clone(), hint.clone()),
        None => (false, "it has not been reached yet".to_owned(), String::new()),
    };
    view::Source {
        name: source.name.to_string(),
        connected,
        detail,
        hint,
        age_seconds: source.seen_at.map(|at| now.duration_since(at).as_secs_f64()),
    }
}

/// For a person: the verdict, then a line for each source that is told of.
pub(super) fn text(readiness: &view::Readiness) -> String {
    let mut text = match readiness {
        view::Readiness { stopping: true, .. } => "not ready: stopping\n".to_owned(),
        view::Readiness { ready: true, .. } => "ready\n".to_owned(),
        view::Readiness { .. } => "not ready: starting\n".to_owned(),
    };
    for source in &readiness.sources {
        let view::Source { name, connected, detail, hint, .. } = source;
        let standing = if *connected { "connected" } else { "away" };
        let age = match source.age_seconds {
            Some(age) => format!("last seen {} ago", whole_seconds(age)),
            None => "never seen".to_owned(),
        };
        // Writing to memory does not fail.
        let _ = writeln!(text, "{name}: {standing}, {age}: {detail}");
        if !hint.is_empty() {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

fn whole_seconds(seconds: f64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(seconds.max(0.0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::SourceName;

    #[tokio::test(start_paused = true)]
    async fn we_are_ready_once_every_source_was_seen_and_while_it_is_away_later() {
        let now = Instant::now();
        let connected = Some(SourceHealth::Connected { peer: "Docker 28.5.2".to_owned() });
        let table = [
            (vec![(None, None)], false, false),
            (vec![(away(), None)], false, false),
            (vec![(connected.clone(), None)], false, false),
            (vec![(connected.clone(), Some(now))], false, true),
            (vec![(away(), Some(now))], false, true),
            (vec![(connected.clone(), Some(now)), (away(), None)], false, false),
            (vec![(connected, Some(now))], true, false),
        ];
        for (sources, stopping, expected) in table {
            let overview = overview(sources, stopping);
            assert_eq!(readiness(&overview, now).ready, expected, "{overview:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_names_each_source_with_its_age_what_is_wrong_and_what_to_do() {
        let now = Instant::now();
        let mut overview = overview(vec![(away(), Some(now)), (None, None)], false);
        overview.sources[1].name = SourceName::settings();
        let readiness = readiness(&overview, now + Duration::from_millis(72_900));
        assert_eq!(
            text(&readiness),
            "not ready: starting\n\
             docker: away, last seen 1m 12s ago: cannot open /var/run/docker.sock\n\
             \x20 hint: mount it\n\
             settings: away, never seen: it has not been reached yet\n"
        );
    }

    fn away() -> Option<SourceHealth> {
        Some(SourceHealth::Away {
            message: "cannot open /var/run/docker.sock".to_owned(),
            hint: "mount it".to_owned(),
            retry_in: Duration::from_secs(1),
        })
    }

    fn overview(sources: Vec<(Option<SourceHealth>, Option<Instant>)>, stopping: bool) -> Overview {
        let name = SourceName::docker();
        let sources = sources
            .into_iter()
            .map(|(health, seen_at)| SourceOverview { name: name.clone(), health, seen_at })
            .collect();
        Overview { sources, stopping, ..Overview::default() }
    }
}
