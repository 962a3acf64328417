//! What is wrong in the settings, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// One mistake in one setting.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mistake {
    pub place: Place,
    /// A sentence without its full stop, naming setting and value.
    pub message: String,
    /// What to do; empty when there is nothing to add.
    pub hint: String,
}

/// Where something was written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The whole file.
    File(PathBuf),
    /// Line and column, in characters, count from 1.
    Line {
        file: PathBuf,
        line: usize,
        column: usize,
    },
    Variable(String),
    /// The flag without its dashes.
    Flag(String),
}

/// Why a value cannot be what it should: completes "`http` is `80a`, which …".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) hint: String,
}

impl Mistake {
    pub fn new(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: hint.into() }
    }

    /// The mistake that `fault` is, in the setting `name` that holds `value`.
    pub(super) fn of(place: Place, name: &str, value: &str, fault: Fault) -> Self {
        let message = format!("`{name}` is `{}`, which {}", shown(value), fault.what);
        Self { place, message, hint: fault.hint }
    }
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl Place {
    /// The place of the byte `offset` in `text`, which is what `file` holds.
    pub fn at(file: impl Into<PathBuf>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |rest| rest.chars().count()) + 1;
        Self::Line { file: file.into(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Line { file, line, column } => {
                write!(f, "{}:{line}:{column}", file.display())
            }
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A value as it is shown: on one line and not longer than one.
pub(super) fn shown(value: &str) -> String {
    let mut shown: String =
        value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect();
    if value.chars().count() > SHOWN_MAX {
        shown.push('…');
    }
    shown
}

/// In characters; what is longer is no setting but a pasted accident.
const SHOWN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a\nüb = 1\n";
        let place = |offset| Place::at("x.toml", text, offset).to_string();
        assert_eq!(place(0), "x.toml:1:1");
        assert_eq!(place(text.find('b').unwrap()), "x.toml:2:2");
        assert_eq!(place(999), "x.toml:3:1");
    }

    #[test]
    fn a_long_value_is_shortened() {
        assert_eq!(shown("a\nb"), "a b");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 81);
    }
}
