//! Logging each problem once.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::domain::problem::{Problem, Subject};

/// The problems that stand and have been told.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeSet<Problem>);

impl Known {
    /// Logs the problems that were not there before, and those that are mended.
    pub(super) fn log_news(&mut self, problems: &[Problem]) {
        let now: BTreeSet<_> = problems.iter().cloned().collect();
        for problem in now.difference(&self.0) {
            if problem.hint.is_empty() {
                warn!("{problem}");
            } else {
                warn!(hint = %problem.hint, "{problem}");
            }
        }
        for problem in self.0.difference(&now) {
            // What fails in another way now is not mended.
            let fails_on = matches!(problem.subject, Subject::Source(_) | Subject::Certificate(_))
                && now.iter().any(|it| it.subject == problem.subject);
            if !fails_on {
                info!("Mended: {problem}");
            }
        }
        self.0 = now;
    }
}
