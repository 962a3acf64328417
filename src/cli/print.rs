//! The one place that prints.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on stdout: what was asked for.
///
/// A reader that has gone away (`evenkeel status | head -1`) wants no more.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line on stderr: what went wrong.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
