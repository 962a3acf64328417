//! What is told to a person who has to mend something.

use std::fmt;
use std::process::ExitCode;

use crate::cli::print;
use crate::config::{Mistake, Place};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Finding {
    /// None for what stands in no file, such as a running container.
    pub(super) place: Option<Place>,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) hint: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Severity {
    Error,
    /// Worth knowing, but nothing is refused for it.
    Warning,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Prints what keeps the settings from being used; the answer is that they are not.
pub(super) fn refuse(mistakes: Vec<Mistake>) -> ExitCode {
    let findings: Vec<Finding> = mistakes.into_iter().map(Finding::from).collect();
    for finding in &findings {
        print::complain(finding);
    }
    print::complain(summary(&findings));
    ExitCode::FAILURE
}

/// `3 errors, 1 warning`.
pub(super) fn summary(findings: &[Finding]) -> String {
    let warnings = findings.iter().filter(|it| it.severity == Severity::Warning).count();
    let errors = findings.len() - warnings;
    match (errors, warnings) {
        (0, 0) => "no mistakes found".to_owned(),
        (_, 0) => counted(errors, "error"),
        (0, _) => counted(warnings, "warning"),
        (_, _) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

/// `1 error`, `2 errors`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

impl From<Mistake> for Finding {
    fn from(mistake: Mistake) -> Self {
        Self {
            place: Some(mistake.place),
            severity: Severity::Error,
            message: mistake.message,
            hint: mistake.hint,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}: ", print::clean(&place.to_string()))?;
        }
        write!(f, "{}: {}", self.severity.word(), self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\n  hint: {}", self.hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, hint: &str) -> Finding {
        let place = Some(Place::Line { file: "a.toml".into(), line: 3, column: 5 });
        Finding { place, severity, message: "it is wrong".to_owned(), hint: hint.to_owned() }
    }

    #[test]
    fn a_finding_is_a_place_a_sentence_and_a_hint() {
        let shown = finding(Severity::Error, "mend it").to_string();
        assert_eq!(shown, "a.toml:3:5: error: it is wrong\n  hint: mend it");
        let without = Finding { place: None, ..finding(Severity::Warning, "") };
        assert_eq!(without.to_string(), "warning: it is wrong");
    }

    #[test]
    fn the_summary_counts_errors_and_warnings() {
        let (error, warning) = (finding(Severity::Error, ""), finding(Severity::Warning, ""));
        assert_eq!(summary(&[]), "no mistakes found");
        assert_eq!(
            summary(&[error.clone(), error.clone(), warning.clone()]),
            "2 errors, 1 warning"
        );
        assert_eq!(summary(&[warning]), "1 warning");
        assert_eq!(summary(&[error]), "1 error");
    }
}
