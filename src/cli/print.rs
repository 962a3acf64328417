//! The one place that prints.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// A line on stdout: what was asked for.
///
/// A reader that has gone away (`evenkeel status | head -1`) wants no more.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// What is wrong and what to do, as a command that failed says it.
pub(super) fn refuse(message: &str, hint: &str) -> ExitCode {
    complain(format_args!("error: {}", clean(message)));
    if !hint.is_empty() {
        complain(format_args!("  hint: {}", clean(hint)));
    }
    ExitCode::FAILURE
}

/// Names come from containers: no control character of theirs reaches a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A line on stderr: what went wrong.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
