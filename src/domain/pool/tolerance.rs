//! What a pool puts up with.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::domain::lifecycle::Outliers;

/// How much trouble a pool takes from its replicas, and how much load it keeps
/// from them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tolerance {
    pub outliers: Outliers,
    /// Statuses that are taken for a failure: the request goes to another
    /// replica if that is safe. From 400 to 599.
    pub retry_on: Arc<[RangeInclusive<u16>]>,
    /// How many requests may wait for a place while every ready replica has as
    /// many as it may. 0 to 1000000.
    pub queue: u32,
}

impl Tolerance {
    /// Whether an answer with this status is better asked for elsewhere.
    pub fn retries(&self, status: u16) -> bool {
        self.retry_on.iter().any(|range| range.contains(&status))
    }

    /// Whether it speaks against the replica. What is forbidden or not there is
    /// so on its word, not for its health (as nginx has it).
    pub fn blames(&self, status: u16) -> bool {
        !matches!(status, 403 | 404) && self.retries(status)
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { outliers: Outliers::default(), retry_on: [].into(), queue: 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_failure_only_if_it_is_asked_for_and_speaks_of_health() {
        let asked = Tolerance { retry_on: [404..=404, 500..=599].into(), ..Tolerance::default() };
        for (status, retries, blames) in
            [(200, false, false), (404, true, false), (429, false, false), (503, true, true)]
        {
            assert_eq!(
                (asked.retries(status), asked.blames(status)),
                (retries, blames),
                "{status}"
            );
        }
        assert!((200..=599).all(|status| !Tolerance::default().retries(status)));
    }
}
