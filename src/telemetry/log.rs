//! The log: what happens to the balancer, for the person who runs it.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::filter::{EnvFilter, ParseError};

/// Why a string does not say what to log.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` is not a log filter")]
pub struct InvalidFilter {
    given: String,
    #[source]
    source: ParseError,
}

/// Shows an error followed by all of its sources: `outer: inner: innermost`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

/// Writes the log to stderr from now on, one line an event, with colours only
/// on a terminal and only unless `NO_COLOR` is set.
///
/// `filter` is a level, or levels by module: `info,evenkeel=debug`. The first
/// call decides for the life of the process; later ones only check `filter`.
pub fn start(filter: &str) -> Result<(), InvalidFilter> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| InvalidFilter { given: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(OneLine::stderr);
    let started = if io::stderr().is_terminal() {
        // The library's own default looks at NO_COLOR.
        tracing::subscriber::set_global_default(builder.finish())
    } else {
        tracing::subscriber::set_global_default(builder.with_ansi(false).finish())
    };
    drop(started);
    Ok(())
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

/// Keeps an event on its line: what a container's name or a daemon's answer
/// brings in must not look like an event of its own.
#[derive(Debug)]
struct OneLine<W>(W);

impl OneLine<io::Stderr> {
    fn stderr() -> Self {
        Self(io::stderr())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes one whole event, which is how events arrive.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let mut line = Vec::with_capacity(event.len() + 16);
            for &byte in text {
                match byte {
                    b'\n' => line.extend_from_slice(b"\\n"),
                    b'\r' => line.extend_from_slice(b"\\r"),
                    _ => line.push(byte),
                }
            }
            line.push(b'\n');
            self.0.write_all(&line)?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_its_sources() {
        let refused = start("evenkeel=loud").unwrap_err();
        let shown = Chain(&refused).to_string();
        assert!(shown.starts_with(&format!("{refused}: ")), "{shown}");
    }

    #[test]
    fn an_event_with_line_breaks_in_it_stays_one_line() {
        let mut written = Vec::new();
        let event = b"INFO name=a\r\nINFO b\n";
        assert_eq!(OneLine(&mut written).write(event).unwrap(), event.len());
        assert_eq!(written, b"INFO name=a\\r\\nINFO b\n");
    }
}
