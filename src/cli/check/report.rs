//! How findings are told: to people, to programs, and to GitHub.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::Serialize;

use crate::cli::finding::{self, Finding, Severity};
use crate::cli::print;
use crate::config::Place;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Format {
    /// A line and a hint for each finding.
    Text,
    /// One object with all findings.
    Json,
    /// Annotations of lines, as GitHub's workflows take them.
    Github,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json, Self::Github]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Github => "github",
        }))
    }
}

/// Tells the findings on `what`.
pub(super) fn tell(format: Format, what: &str, findings: &[Finding]) {
    let summary = finding::summary(findings);
    match format {
        Format::Text => {
            findings.iter().for_each(print::say);
            print::say(format_args!("{what}: {summary}"));
        }
        // Texts and numbers can always be written.
        Format::Json => {
            print::say(serde_json::to_string(&Report::of(findings)).unwrap_or_default())
        }
        Format::Github => {
            findings.iter().for_each(|finding| print::say(annotation(finding)));
            print::say(format_args!("{what}: {summary}"));
        }
    }
}

/// What `--json` prints. Fields may come, none goes.
#[derive(Serialize)]
struct Report<'a> {
    findings: Vec<Told<'a>>,
    errors: usize,
    warnings: usize,
}

#[derive(Serialize)]
struct Told<'a> {
    severity: &'static str,
    /// As it stands before the message in text; null for what stands nowhere.
    place: Option<String>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    hint: &'a str,
}

impl<'a> Report<'a> {
    fn of(findings: &'a [Finding]) -> Self {
        let warnings = findings.iter().filter(|it| it.severity == Severity::Warning).count();
        let errors = findings.len() - warnings;
        Self { findings: findings.iter().map(Told::of).collect(), errors, warnings }
    }
}

impl<'a> Told<'a> {
    fn of(finding: &'a Finding) -> Self {
        let (file, line, column) = parts(finding);
        Self {
            severity: finding.severity.word(),
            place: finding.place.as_ref().map(ToString::to_string),
            file,
            line,
            column,
            message: &finding.message,
            hint: &finding.hint,
        }
    }
}

fn parts(finding: &Finding) -> (Option<String>, Option<usize>, Option<usize>) {
    match &finding.place {
        Some(Place::Line { file, line, column }) => {
            (Some(file.display().to_string()), Some(*line), Some(*column))
        }
        Some(Place::File(file)) => (Some(file.display().to_string()), None, None),
        Some(Place::Variable(_) | Place::Flag(_)) | None => (None, None, None),
    }
}

/// <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>
fn annotation(finding: &Finding) -> String {
    let (file, line, column) = parts(finding);
    let file = file.map(|file| escaped(&file).replace(':', "%3A").replace(',', "%2C"));
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let properties = [("file", file), ("line", number(line)), ("col", number(column))];
    let properties =
        properties.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let properties = properties.collect::<Vec<_>>().join(",");
    let space = if properties.is_empty() { "" } else { " " };
    let hint = if finding.hint.is_empty() { "" } else { "\n" };
    let message = escaped(&format!("{}{hint}{}", finding.message, finding.hint));
    format!("::{}{space}{properties}::{message}", finding.severity.word())
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_keeps_to_one_line() {
        let finding = Finding {
            place: Some(Place::Line { file: "a,b.yml".into(), line: 3, column: 7 }),
            severity: Severity::Error,
            message: "100% wrong".to_owned(),
            hint: "mend it".to_owned(),
        };
        let line = "::error file=a%2Cb.yml,line=3,col=7::100%25 wrong%0Amend it";
        assert_eq!(annotation(&finding), line);
        let nowhere = Finding { place: None, hint: String::new(), ..finding };
        assert_eq!(annotation(&nowhere), "::error::100%25 wrong");
    }
}
