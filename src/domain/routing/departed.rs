//! Replicas that are no longer in the table, for those who add up what they did.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::domain::pool::ReplicaTally;

/// The tallies of replicas that have left, the last one at the end. What a
/// replica did in its last seconds is seen only by who looks after it has gone,
/// and rates over its last minutes want a series that goes on for so long.
#[derive(Clone, Debug, Default)]
pub(super) struct Departed(VecDeque<Departure>);

/// A replica that has left its pool, or whose pool has gone.
#[derive(Clone, Debug)]
pub struct Departure {
    pub pool: Arc<str>,
    pub replica: Arc<str>,
    pub tally: Arc<ReplicaTally>,
    /// When somebody looked at it for the first time: a table has no clock.
    noticed: Arc<OnceLock<Instant>>,
}

impl Departed {
    pub(super) fn add(&mut self, pool: &Arc<str>, replica: &Arc<str>, tally: &Arc<ReplicaTally>) {
        if self.0.len() >= DEPARTED_MAX {
            self.0.pop_front();
        }
        let (pool, replica) = (Arc::clone(pool), Arc::clone(replica));
        let (tally, noticed) = (Arc::clone(tally), Arc::default());
        self.0.push_back(Departure { pool, replica, tally, noticed });
    }

    /// The tally of one that comes back and counts on.
    pub(super) fn take(&mut self, pool: &str, replica: &str) -> Option<Arc<ReplicaTally>> {
        let at = self.0.iter().position(|it| *it.pool == *pool && *it.replica == *replica)?;
        self.0.remove(at).map(|it| it.tally)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Departure> {
        self.0.iter()
    }
}

impl Departure {
    /// Whether it is still to be shown to who looks at `now`.
    pub fn is_shown(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.noticed.get_or_init(|| now)) < SHOWN_FOR
    }
}

/// With some 500 bytes each they cost half a MiB at the most.
const DEPARTED_MAX: usize = 1_000;

/// Rates are commonly taken over five minutes.
const SHOWN_FOR: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_who_left_first_is_forgotten() {
        let mut departed = Departed::default();
        for at in 0..=DEPARTED_MAX {
            departed.add(&"web".into(), &at.to_string().into(), &Arc::default());
        }
        assert_eq!(departed.iter().count(), DEPARTED_MAX);
        assert!(departed.take("web", "0").is_none());
        assert!(departed.take("web", "1").is_some() && departed.take("web", "1").is_none());
    }

    #[test]
    fn one_that_left_is_shown_for_five_minutes_after_it_was_noticed() {
        let mut departed = Departed::default();
        departed.add(&"web".into(), &"web-1".into(), &Arc::default());
        let (one, start) = (departed.iter().next().unwrap(), start());
        assert!(one.is_shown(start) && one.is_shown(start + SHOWN_FOR - Duration::from_millis(1)));
        assert!(!one.is_shown(start + SHOWN_FOR));
        // Tables are built on it meanwhile.
        assert!(!departed.clone().iter().next().unwrap().is_shown(start + SHOWN_FOR));
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn start() -> Instant {
        Instant::now()
    }
}
